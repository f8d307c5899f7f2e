"""What a delivery needs, loaded while it can be: a deployment may remove the release under its process."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from .. import buffers, digest
from ..capture.captured import CapturedRecord
from ..forks import forks
from .connection import message


def preload() -> None:
    """Make a mail that goes nowhere: it imports and compiles all that the first real one would.

    That takes about 30 ms. What fails here fails again, and is told, when there is a mail to send.
    """
    with buffers.muted():
        # A child would wait for ever for a module that another thread of its parent was importing.
        with forks.put_off(), suppress(Exception):
            _make_mail()
        for handler in buffers.configured().values():
            with suppress(Exception):
                handler.target.get_connection()


def _make_mail() -> None:
    now = datetime.now(UTC)
    value: CapturedRecord = {"time": now.timestamp(), "level": 40, "logger": "", "message": "é", "full": True}
    report = digest.summarize([value, value], buffer="", reason="", now=now)
    mail = message(digest.render(report), digest.headers(report), sender="", recipients=[])
    mail.message().as_bytes()
