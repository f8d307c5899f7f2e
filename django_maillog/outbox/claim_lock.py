"""A claim ends with its process: it names a file in the spool folder that the process keeps locked.

The lock can be had again as soon as the process has ended, however it did; the claim's lease would run on. A
file that is missing proves nothing: containers may share a host's name, and have spool folders of their own.
In the file stands what was sent, as soon as it was: a process that is killed before it has told the database,
or can't tell it, doesn't have its mail repeated.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from ..models import Attempt, Batch, Status
from ..spool.files import lock, open_private, pread
from ..spool.folder import private_folder, spool_folder, verify
from .claims import settle
from .groups import mark_mailed
from .verdicts import Verdict

SUFFIX = ".claim"
MAX_BYTES = 1_000_000

# Locked by this process. A child of a fork would keep the locks of a parent that is killed.
_files: set[int] = set()


def _close_files() -> None:
    for fd in _files:
        with contextlib.suppress(OSError):
            os.close(fd)
    _files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_files)


class ClaimLock:
    """What the claims of one delivery are made with; its file is made for the first of them."""

    def __init__(self) -> None:
        self._token = ""
        self._path: Path | None = None
        self._fd = -1

    @property
    def token(self) -> str:
        """What a claim says of who made it; where no file can be made and locked, its lease alone ends it."""
        if not self._token:
            self._token = uuid.uuid4().hex
            with contextlib.suppress(OSError, ImproperlyConfigured):
                self._path = private_folder(spool_folder()) / f"{self._token}{SUFFIX}"
                self._fd = open_private(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
                _files.add(self._fd)
                lock(self._fd)
        return self._token

    def note_sent(self, batch: Batch) -> None:
        """Write down that a batch's mail is out, before the database is told."""
        if self._fd in _files:
            with contextlib.suppress(OSError):  # a full disk: the database will be told
                os.write(self._fd, b"%d\n" % batch.pk)

    def release(self, *, keep: bool) -> None:
        """Remove the file: nothing is claimed any more; or ``keep`` it for as long as the process lives."""
        if self._fd in _files and not keep:  # not in a child of a fork
            _files.remove(self._fd)
            with contextlib.suppress(OSError):
                os.close(self._fd)
            if self._path is not None:
                with contextlib.suppress(OSError):
                    self._path.unlink()
            self._fd = -1


def end_abandoned(now: datetime) -> None:
    """End the claims whose process has ended, as far as their files lie in this process's spool folder."""
    for path in _paths():
        with contextlib.suppress(FileNotFoundError, PermissionError):
            fd = open_private(path, os.O_RDWR)
            try:
                if lock(fd):
                    _end(path.stem, _sent(pread(fd, MAX_BYTES, 0)), now)
                    path.unlink()
            finally:
                os.close(fd)


def _end(token: str, sent: set[int], now: datetime) -> None:
    """End the claims of this token: what was sent is recorded, the rest is anybody's."""
    claimed = Batch.objects.filter(status=Status.SENDING, claimed_by=token)
    for batch in claimed.filter(pk__in=sent).defer("text", "html"):
        attempt = Attempt.objects.filter(batch=batch).latest("pk")
        verdict = Verdict(sent=True, error="Recorded by another process: its own ended before it could.")
        settle(batch, attempt, verdict, now)
        mark_mailed(batch, now)
    claimed.update(claimed_until=now)


def _sent(content: bytes) -> set[int]:
    """The keys of batches in a file; the last line may be cut off."""
    return {int(line) for line in content.split(b"\n")[:-1] if line.isdigit()}


def _paths() -> Iterator[Path]:
    try:
        folder = spool_folder()
        verify(folder)
        names = os.listdir(folder)
    except (OSError, ImproperlyConfigured):  # no folder, or none that can be trusted
        return
    yield from (folder / name for name in names if re.fullmatch(r"[0-9a-f]{32}\.claim", name))
