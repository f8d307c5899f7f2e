"""What a delivery needs, loaded while it can be: a deployment may remove the release under its process."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import UTC, datetime

from .. import buffers, digest
from ..capture.captured import CapturedRecord
from .connection import message

# A fork that comes meanwhile waits so long at the most, once in a process.
FORK_SECONDS = 1.0

_is_done = threading.Event()
_is_done.set()


def _after_fork_in_child() -> None:
    _is_done.__init__()  # type: ignore[misc]  # the parent's lock may have been held
    _is_done.set()


if hasattr(os, "register_at_fork"):
    # A child would wait for ever for a module that another thread of its parent was importing.
    os.register_at_fork(before=lambda: _is_done.wait(FORK_SECONDS), after_in_child=_after_fork_in_child)


def preload() -> None:
    """Make a mail that goes nowhere: it imports and compiles all that the first real one would.

    That takes about 30 ms. What fails here fails again, and is told, when there is a mail to send.
    """
    with buffers.muted():
        _is_done.clear()
        try:
            with suppress(Exception):
                _make_mail()
        finally:
            _is_done.set()
        for handler in buffers.configured().values():
            with suppress(Exception):
                handler.target.get_connection()


def _make_mail() -> None:
    now = datetime.now(UTC)
    value: CapturedRecord = {"time": now.timestamp(), "level": 40, "logger": "", "message": "é", "full": True}
    report = digest.summarize([value, value], buffer="", reason="", now=now)
    mail = message(digest.render(report), digest.headers(report), sender="", recipients=[])
    mail.message().as_bytes()
