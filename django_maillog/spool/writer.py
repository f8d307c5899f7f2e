"""The owner's end of a segment file: a locked descriptor that lines are appended to.

A logging call must not give up the interpreter in the middle, as ``os.write`` and ``os.fstat`` do: a thread
that is busy in Python may keep it for ``sys.getswitchinterval()``, 5 ms, each time. The C library's own
functions are called here, which keep it; into the page cache they take a microsecond.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .folder import lock
from .segment import FORMAT, HOST

VERIFIED_FOR = 0.001  # seconds in which only the position is asked for, at a third of the price
SLOW = 0.01  # seconds of a write after which other threads may run meanwhile
PATIENT_FOR = 60.0  # seconds in which they may then: the disk is slow, or the memory for its pages full


class Calls(NamedTuple):
    """System calls on a descriptor."""

    identify: Callable[[int], object]  # tells files apart, and one that was deleted
    position: Callable[[int, int, int], int]
    write: Callable[[int, bytes, int], int]


def system_calls() -> Calls:
    """The C library's, if they can be had; else Python's, which give up the interpreter."""
    try:
        import ctypes

        libc = ctypes.PyDLL(None)
        fstat, lseek, write = libc.fstat, libc.lseek, libc.write
    except (ImportError, TypeError, OSError, AttributeError):  # Windows; a glibc before 2.33 has no fstat
        return Calls(_identify, os.lseek, lambda fd, line, _length: os.write(fd, line))
    buffer_type = ctypes.c_char * 512  # no system's "struct stat" is larger

    def identify(fd: int) -> object:
        # Wherever this C library is found, device, inode and number of links are the first that it says.
        buffer = buffer_type()
        return None if fstat(fd, buffer) else buffer[:24]

    return Calls(identify, lseek, write)


def _identify(fd: int) -> object:
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_nlink or os.name == "nt"


class Writer:
    """Appends to a new segment in a folder; for one thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Make the segment, with its header; raise OSError if that can't be."""
        self.id = uuid.uuid4().hex
        self.path = folder / f"{self.id}.jsonl"
        self.opened_at = time.monotonic()
        self.size = 0  # bytes; nobody else writes there
        self.configured: set[str] = set()  # buffers whose handlers are described in it
        self._calls = system_calls()
        self._patient_until = self._verified_at = 0.0
        # Locked before it gets its name: nobody sees it without its owner. Windows can't rename an open file.
        first = self.path if os.name == "nt" else folder / f".{self.id}.tmp"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._fd = os.open(first, flags, 0o600)
        self._found = os.fstat(self._fd)
        self._identity = self._calls.identify(self._fd)
        try:
            lock(self._fd)
            header = {
                "maillog": FORMAT,
                "id": self.id,
                "host": HOST,
                "process": os.getpid(),
                "time": time.time(),
            }
            self.append(json.dumps(header).encode() + b"\n")
            if first != self.path:
                first.rename(self.path)
        except BaseException:
            self.close()
            with contextlib.suppress(OSError):
                first.unlink()
            raise

    def append(self, line: bytes) -> None:
        """One write(2); a line that the disk takes only in part is taken back, and OSError raised.

        OSError, too, if the segment was deleted, or its descriptor closed (daemons do that) and another's.
        """
        began = time.monotonic()
        if not self._is_ours(began):
            raise OSError(errno.EBADF, "the segment was taken away")
        written = -1 if began < self._patient_until else self._calls.write(self._fd, line, len(line))
        if written < 0:  # once more by Python's own function, which says what is wrong
            written = os.write(self._fd, line)
        if time.monotonic() - began > SLOW:
            self._patient_until = began + PATIENT_FOR
        if written < len(line):
            os.ftruncate(self._fd, self.size)
            os.lseek(self._fd, self.size, os.SEEK_SET)
            raise OSError(errno.ENOSPC, f"the disk took {written} of {len(line)} bytes")
        self.size += written

    def _is_ours(self, now: float) -> bool:
        if now - self._verified_at < VERIFIED_FOR:
            return self._calls.position(self._fd, 0, os.SEEK_CUR) == self.size
        self._verified_at = now
        return self._calls.identify(self._fd) == self._identity

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
