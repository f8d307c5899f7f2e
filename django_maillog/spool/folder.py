"""The spool folder: private to one user or group, made by who writes, and listed."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from .. import conf
from .files import group
from .places import default_folder, folder_in, is_writable

# After that time a file that its process left half made is rubbish.
STALE_SECONDS = 3600.0


class UnsafeFolder(OSError):
    """The spool folder can't be used, or isn't private to this user or its group."""


def spool_folder() -> Path:
    """The folder of this project's segments; while tests run, one that goes with the process.

    Raises ImproperlyConfigured where the setting is wrong, UnsafeFolder where there is no place for one.
    """
    try:
        if conf.testing() and not conf.is_overridden("MAILLOG_SPOOL_DIR"):
            return _testing_folder(os.getpid())
        named = conf.spool_dir()
        return folder_in(named) if named is not None else default_folder()
    except OSError as error:  # no folder for temporary files
        raise UnsafeFolder(f"there is no place for it: {error}") from error


def private_folder(folder: Path) -> Path:
    """Make the folder if it is missing; raise UnsafeFolder unless nobody else can enter it."""
    try:
        if folder != conf.spool_dir():
            _make_private(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _share(folder)
    except OSError as error:
        raise UnsafeFolder(f"{folder} can't be made: {error}") from error
    verify(folder)
    return folder


def _make_private(folder: Path) -> None:
    """Make a folder that no setting names, and those above it, for this user alone, whatever the umask."""
    if folder.is_dir():
        return
    _make_private(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        folder.chmod(0o700)


def verify(folder: Path) -> None:
    """Raise UnsafeFolder unless the folder is there, and is ours or our group's alone."""
    try:
        found = folder.lstat()
    except OSError as error:
        raise UnsafeFolder(f"{folder} can't be read: {error}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeFolder(f"{folder} is a symbolic link or a file, not a folder.")
    if os.name != "nt":
        _verify_owner(folder, found)
    if not is_writable(folder):
        raise UnsafeFolder(f"{folder} can't be written.")


def verify_unmade(folder: Path) -> None:
    """The same for a folder that needn't be there yet: then it must be possible to make it."""
    if os.path.lexists(folder):
        verify(folder)
        return
    nearest = next(parent for parent in folder.parents if os.path.lexists(parent))
    if not (nearest.is_dir() and is_writable(nearest)):
        raise UnsafeFolder(f"{folder} can't be made in {nearest}.")


def segment_paths(folder: Path | None = None) -> list[Path]:
    """The segment files in a folder, else in the spool folder, oldest first; none where it can't be used."""
    if folder is None:
        try:
            folder = spool_folder()
            verify(folder)
        except (OSError, ImproperlyConfigured):
            return []
    found = sorted((status.st_mtime, path) for path, status in _files(folder, ".jsonl"))
    return [Path(path) for _mtime, path in found]


def folder_bytes(folder: Path, *, without: Path) -> int:
    """What the segments in a folder take, in bytes, without one of them; logging calls wait for it."""
    return sum(status.st_size for path, status in _files(folder, ".jsonl") if path != str(without))


def sweep(folder: Path) -> None:
    """Delete what processes left half made; logging calls wait for it."""
    for name, status in _files(folder, ".tmp", ".reported"):
        path = Path(name)
        is_stale = time.time() - status.st_mtime > STALE_SECONDS
        if is_stale and not path.with_suffix(".jsonl").exists():
            with contextlib.suppress(OSError):
                path.unlink()


def _files(folder: Path, *suffixes: str) -> Iterator[tuple[str, os.stat_result]]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(suffixes):
                with contextlib.suppress(OSError):
                    yield entry.path, entry.stat(follow_symlinks=False)


def _share(folder: Path) -> None:
    """Give our own folder to the group of MAILLOG_SPOOL_GROUP, whatever the umask; its files inherit that."""
    gid = group()
    if gid is None:
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(fd)
        is_shared = found.st_gid == gid and stat.S_IMODE(found.st_mode) == 0o2770
        if found.st_uid == os.geteuid() and not is_shared:
            os.fchown(fd, -1, gid)
            os.fchmod(fd, 0o2770)
    finally:
        os.close(fd)


def _verify_owner(folder: Path, found: os.stat_result) -> None:
    mode, gid = stat.S_IMODE(found.st_mode), group()
    if gid is not None:
        # Only a member of the group, or root, can have given a folder to it.
        if found.st_gid != gid or mode != 0o2770:
            raise UnsafeFolder(
                f"{folder} isn't shared by group {gid} alone (group {found.st_gid}, mode {mode:04o}): "
                f"chgrp {gid} it, then chmod 2770 it."
            )
    elif found.st_uid != os.geteuid():
        raise UnsafeFolder(
            f"{folder} belongs to user {found.st_uid}, not to this process's user {os.geteuid()}."
        )
    elif mode & 0o077:
        raise UnsafeFolder(f"{folder} is open to other users (mode {mode:04o}): chmod 700 it.")


# By process number.
_testing_folders: dict[int, Path] = {}


def _testing_folder(pid: int) -> Path:
    """A process's folder of a test run; within its parent's, as a child is seldom asked to tidy up."""
    found = _testing_folders.get(pid)
    if found is None:
        parent = next((each for each in reversed(_testing_folders.values()) if each.is_dir()), None)
        found = Path(tempfile.mkdtemp(prefix="django_maillog-tests-", dir=parent))
        _testing_folders[pid] = found
        # Among the first things at exit: runners may kill their workers soon.
        atexit.register(_remove_testing_folder)
    return found


def _before_fork() -> None:
    if conf.testing():
        with contextlib.suppress(OSError):
            _testing_folder(os.getpid())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)


def _remove_testing_folder() -> None:
    # A forked child's end is not the end of its parent.
    if found := _testing_folders.get(os.getpid()):
        shutil.rmtree(found, ignore_errors=True)


# Among the last, too: other exit functions may have logged. From the handlers' own on no record is kept.
atexit.register(_remove_testing_folder)
