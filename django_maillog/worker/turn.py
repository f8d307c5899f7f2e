"""Whose turn it is to mail without the database: one process of a host has it, for all of them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from django.core.exceptions import ImproperlyConfigured

from ..spool.files import open_locked, pread
from ..spool.folder import private_folder, spool_folder

NAME = "outage"
# A time further ahead means that the clock was set back.
FURTHEST_SECONDS = 86_400.0


class Turn:
    """When the host may mail next, kept in a file of the spool folder; without one, in this process."""

    def __init__(self) -> None:
        self._next_at = 0.0
        self._fd = -1

    @contextlib.contextmanager
    def taken(self) -> Iterator[bool]:
        """Held while this process mails; whether it is its turn, and time for it."""
        with contextlib.ExitStack() as stack:
            try:
                path = private_folder(spool_folder()) / NAME
                self._fd, is_locked = stack.enter_context(open_locked(path, os.O_RDWR | os.O_CREAT))
            except (OSError, ImproperlyConfigured):  # no folder: this process has nobody to agree with
                yield self._has_come()
                return
            try:
                if is_locked:
                    self._next_at = _parse(pread(self._fd, 40, 0))
                yield is_locked and self._has_come()
            finally:
                self._fd = -1

    def wait(self, seconds: float) -> None:
        """Nobody mails for so long; to be said while it is taken."""
        self._next_at = time.time() + seconds
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # a full disk: at worst another process mails, too
                os.ftruncate(self._fd, 0)
                os.lseek(self._fd, 0, os.SEEK_SET)
                os.write(self._fd, f"{self._next_at:.3f}".encode())

    def _has_come(self) -> bool:
        return not 0 < self._next_at - time.time() < FURTHEST_SECONDS


def _parse(data: bytes) -> float:
    try:
        return float(data)
    except ValueError:  # nothing yet, or cut off
        return 0.0
