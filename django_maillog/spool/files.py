"""Files of the spool: opened without surprises, locked, and never another user's to touch."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from .. import conf

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("django_maillog")


def group() -> int | None:
    """The group that shares the spool; a wrong one shares nothing, and a system check reports it."""
    return conf.or_default(conf.spool_group)


def is_ours(found: os.stat_result) -> bool:
    """Whether a file belongs to this process's user, or to the group that shares the spool."""
    if os.name == "nt" or found.st_uid == os.geteuid():
        return True
    gid = group()
    return gid is not None and found.st_gid == gid


def set_aside(path: Path, why: str) -> None:
    """Rename a file so that no import looks at it again; a person may."""
    try:
        if is_ours(path.lstat()):
            path.rename(path.with_suffix(".bad"))
            log.warning("segment set aside: path=%s error=%s", path, why)
            return
    except FileNotFoundError:  # another process was faster
        return
    except OSError as error:
        why = f"{why}; it can't be renamed: {error}"
    leave_alone(path, why)


def leave_alone(path: Path, why: object) -> None:
    """Say once that a file is not imported by this process."""
    warn_once("segment left alone: path=%s error=%s", path, why)


def warn_once(message: str, path: Path, why: object) -> None:
    """Log a message about a file, unless it was logged before."""
    if (message, path) not in _warned:
        _warned.add((message, path))
        log.warning(message, path, why)


_warned: set[tuple[str, Path]] = set()


def lock(fd: int) -> bool:
    """Take the lock of a file; whether it was free."""
    try:
        _set_lock(fd, take=True)
    except OSError:
        return False
    return True


def unlock(fd: int) -> None:
    """Give the lock of a file back."""
    _set_lock(fd, take=False)


def _set_lock(fd: int, *, take: bool) -> None:
    if fcntl is not None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB if take else fcntl.LOCK_UN)
        return
    import msvcrt  # Windows only

    # One byte far behind the end, since its locks would keep readers out.
    position = os.lseek(fd, 0, os.SEEK_CUR)
    os.lseek(fd, 0x7FFF0000, os.SEEK_SET)
    msvcrt.locking(fd, msvcrt.LK_NBLCK if take else msvcrt.LK_UNLCK, 1)
    os.lseek(fd, position, os.SEEK_SET)


@contextlib.contextmanager
def open_locked(path: Path, flags: int, *, seconds: float = 0) -> Iterator[tuple[int, bool]]:
    """The descriptor of a private file, and whether its lock could be had within this time."""
    fd = open_private(path, flags)
    give_up_at = time.monotonic() + seconds
    is_locked = False
    try:
        while not (is_locked := lock(fd)) and time.monotonic() < give_up_at:
            time.sleep(0.02)
        yield fd, is_locked
    finally:
        if is_locked:
            unlock(fd)  # a child that was forked meanwhile has the file open, too
        os.close(fd)


def open_private(path: Path, flags: int) -> int:
    """A file descriptor, never through a symbolic link; what it creates is for our user or group only."""
    # O_NONBLOCK: a pipe in the folder must not hold us up.
    extra = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    fd = os.open(path, flags | extra, 0o600)
    if flags & os.O_CREAT and group() is not None:
        # The umask must not keep the group out. Who didn't create the file may not change its mode.
        with contextlib.suppress(PermissionError):
            os.fchmod(fd, 0o660)
    return fd


def append_private(path: Path, line: bytes) -> None:
    """Append a line to a file, which is created if need be."""
    with open(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab", buffering=0) as file:
        if file.write(line) < len(line):
            raise OSError(errno.ENOSPC, "the disk took only a part")


def pread(fd: int, length: int, offset: int) -> bytes:
    """At most so many bytes from an offset."""
    if hasattr(os, "pread"):
        return os.pread(fd, length, offset)
    os.lseek(fd, offset, os.SEEK_SET)  # Windows; only one thread reads through a SegmentFile
    return os.read(fd, length)
