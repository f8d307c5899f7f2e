"""The owner's end of a segment file: a locked descriptor that lines are appended to."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from pathlib import Path

from .. import conf
from .files import lock, open_private
from .lines import Header
from .segment import HOST

# In between nobody asks the system whether the segment was deleted, which costs as much as the write.
VERIFIED_SECONDS = 0.01
# Beside a thread that computes without pause each system call takes 5 ms: at most a tenth is for asking.
VERIFIED_SHARE = 10


# The user, and whether tests run.
Owner = tuple[int, bool]
_user = getattr(os, "geteuid", int)  # Windows has one user a process


def owner_now() -> Owner:
    """Whose segment this process needs: another when it gives up root, or begins to run tests."""
    return _user(), conf.testing()


class Writer:
    """Appends to a new segment in a folder; for one thread at a time."""

    def __init__(self, path: Path, fd: int, found: os.stat_result, owner: Owner) -> None:
        self.path = path
        self.id = path.stem
        self.owner = owner
        self.opened_at = time.monotonic()
        self.size = 0  # bytes; nobody else writes there
        self.configured: set[str] = set()  # buffers whose handlers are described in it
        self._fd = fd
        self._found = found
        self._verified_until = 0.0

    @classmethod
    def create(cls, folder: Path, owner: Owner) -> Writer:
        """Make a segment, with its header; raise OSError if that can't be."""
        path = folder / f"{uuid.uuid4().hex}.jsonl"
        # Locked before it gets its name: nobody sees it without its owner. Windows can't rename an open file.
        first = path if os.name == "nt" else folder / f".{path.stem}.tmp"
        fd = open_private(first, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        writer = cls(path, fd, os.fstat(fd), owner)
        try:
            lock(writer._fd)
            writer.append(Header(path.stem, HOST, os.getpid()).line())
            if first != path:
                first.rename(path)
        except BaseException:
            writer.close()
            with contextlib.suppress(OSError):
                first.unlink()
            raise
        return writer

    def append(self, line: bytes) -> None:
        """One write(2); a line that the disk takes only in part is taken back, and OSError raised.

        OSError, too, if the segment was deleted, or its descriptor closed (daemons do that) and another's.
        """
        if not self._is_ours():
            raise OSError(errno.EBADF, "the segment was taken away")
        written = os.write(self._fd, line)
        if written < len(line):
            os.ftruncate(self._fd, self.size)
            raise OSError(errno.ENOSPC, f"the disk took {written} of {len(line)} bytes")
        self.size += written

    def _is_ours(self) -> bool:
        # O_NONBLOCK means nothing to a file, so it marks ours: what takes over the descriptor hardly has
        # it. To ask for it is the one call here that does not give up the interpreter.
        if os.name != "nt" and os.get_blocking(self._fd):
            return False
        now = time.monotonic()
        if now < self._verified_until:
            return True
        found = os.fstat(self._fd)
        lasted = time.monotonic() - now
        self._verified_until = now + max(VERIFIED_SECONDS, VERIFIED_SHARE * lasted)
        return os.path.samestat(found, self._found) and (found.st_nlink > 0 or os.name == "nt")

    def is_in_place(self) -> bool:
        """Whether the segment still is where imports look for it."""
        try:
            return os.path.samestat(os.stat(self.path), self._found)
        except OSError:
            return False

    def close(self) -> None:
        """Give the segment up, unless its descriptor is no longer ours to close."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._fd), self._found):
                os.close(self._fd)
