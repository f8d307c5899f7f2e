"""The spool folder: private to one user, its files listed, opened without surprises and locked."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from .. import conf

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

STALE = 3600.0  # seconds after which a file that its process left half made is rubbish

log = logging.getLogger("django_maillog")


class UnsafeFolder(OSError):
    """The spool folder can't be used, or isn't private to this user."""


def private_folder(folder: Path) -> Path:
    """Make the folder if it is missing; raise UnsafeFolder unless it is ours alone (0700, no symlink)."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UnsafeFolder(f"{folder} can't be made: {error}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeFolder(f"{folder} is a symbolic link or a file, not a folder.")
    if os.name != "nt" and found.st_uid != os.geteuid():
        raise UnsafeFolder(
            f"{folder} belongs to user {found.st_uid}, not to this process's user {os.geteuid()}."
        )
    if os.name != "nt" and found.st_mode & 0o077:
        raise UnsafeFolder(
            f"{folder} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}): chmod 700 it."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnsafeFolder(f"{folder} can't be written.")
    return folder


def set_aside(path: Path, why: str) -> None:
    """Rename a file so that no import looks at it again; a person may."""
    log.warning("segment set aside: path=%s error=%s", path, why)
    with contextlib.suppress(OSError):
        path.rename(path.with_suffix(".bad"))


def segment_paths(folder: Path | None = None) -> list[Path]:
    """The segment files in the spool folder, oldest first; sweeps out what processes left half made."""
    found = []
    try:
        with os.scandir(folder or private_folder(conf.spool_dir())) as entries:
            for entry in entries:
                if entry.name.endswith(".jsonl"):
                    with contextlib.suppress(OSError):
                        found.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
                elif entry.name.endswith((".tmp", ".reported")):
                    _sweep(Path(entry.path))
    except (OSError, ImproperlyConfigured):
        return []
    return [Path(path) for _mtime, path in sorted(found)]


def folder_bytes(folder: Path, *, without: str) -> int:
    """What the segments in a folder take, in bytes, without one of them; logging calls wait for it."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".jsonl") and entry.name != without:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def lock(fd: int) -> bool:
    """Take the lock of a file; whether it was free."""
    try:
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            _lock_far_byte(fd, take=True)
    except OSError:
        return False
    return True


def unlock(fd: int) -> None:
    """Give the lock of a file back."""
    if fcntl is not None:
        fcntl.flock(fd, fcntl.LOCK_UN)
    else:
        _lock_far_byte(fd, take=False)


def _lock_far_byte(fd: int, *, take: bool) -> None:
    """Windows: lock one byte far behind the end, since its locks would keep readers out."""
    import msvcrt  # only there

    position = os.lseek(fd, 0, os.SEEK_CUR)
    os.lseek(fd, 0x7FFF0000, os.SEEK_SET)
    msvcrt.locking(fd, msvcrt.LK_NBLCK if take else msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
    os.lseek(fd, position, os.SEEK_SET)


def open_private(path: Path, flags: int) -> int:
    """A file descriptor; never through a symbolic link."""
    # O_NONBLOCK: a pipe in the folder must not hold us up.
    extra = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    return os.open(path, flags | extra, 0o600)


def append_private(path: Path, line: bytes) -> None:
    """Append to a file that only this user may read."""
    fd = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        if os.write(fd, line) < len(line):
            raise OSError(errno.ENOSPC, "the disk took only a part")
    finally:
        os.close(fd)


def _sweep(path: Path) -> None:
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > STALE and not path.with_suffix(".jsonl").exists():
            path.unlink()


def pread(fd: int, length: int, offset: int) -> bytes:
    """At most so many bytes from an offset."""
    if hasattr(os, "pread"):
        return os.pread(fd, length, offset)
    os.lseek(fd, offset, os.SEEK_SET)  # Windows; only one thread reads through a SegmentFile
    return os.read(fd, length)
