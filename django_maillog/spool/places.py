"""Where a project's spool folder is, and where it may have been before."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .. import conf
from .files import group

FOLDER = "django_maillog"


def default_folder() -> Path:
    """The folder where MAILLOG_SPOOL_DIR names none; raises OSError if there is no place for one."""
    state = os.environ.get("XDG_STATE_HOME") or ""
    home = home_folder()
    if os.path.isabs(state):
        return Path(state) / FOLDER / folder_name()
    if os.path.isabs(home) and is_writable(home):
        return _in_home(home) / folder_name()
    # No folders between it and the shared one: somebody else may have made them.
    return Path(tempfile.gettempdir()) / _own_name()


def folder_in(named: Path) -> Path:
    """The folder that MAILLOG_SPOOL_DIR names; our own within it, where others can enter the named one.

    A container's volume is often made so. Only a named folder that is ours or root's is taken, and none that
    a group shares: in one that passes its group on, strangers can make folders that look like the group's.
    """
    try:
        found = named.lstat()
    except OSError:  # it is made, or refused where it is to be used
        return named
    is_private = os.name == "nt" or not found.st_mode & 0o077
    if is_private or not stat.S_ISDIR(found.st_mode) or group() is not None:
        return named
    return named / _own_name() if found.st_uid in (0, os.geteuid()) else named


def folder_name() -> str:
    """The project's name as a file name; a digest keeps names apart that look alike then."""
    name = conf.project()
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100].lstrip(".") or "_"
    if plain == name:
        return plain
    return f"{plain}~{hashlib.blake2b(name.encode(errors='replace'), digest_size=4).hexdigest()}"


def home_folder() -> str:
    """The user's home as the system knows it: HOME is another under cron, sudo and supervisors."""
    try:
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_dir
    except (ImportError, KeyError):  # Windows; a container's user without a name
        return os.path.expanduser("~")


def is_writable(folder: str | Path) -> bool:
    """Whether this process may make files in a folder, as the user that it is now."""
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def other_folders() -> Iterator[Path]:
    """Where this project's segments may lie besides: another HOME or TMPDIR, names of older versions."""
    name = folder_name()
    if named := conf.spool_dir():
        yield named / _own_name()
    # Versions before this one named the folder by the module's first part and a digest of the database.
    module = os.environ.get("DJANGO_SETTINGS_MODULE", "").partition(".")[0]
    old = f"{re.sub(r'[^A-Za-z0-9_-]', '_', module)}-{'[0-9a-f]' * 12}"
    states = [os.environ.get("XDG_STATE_HOME") or ""]
    homes = {home_folder(), os.path.expanduser("~")}
    for base in {Path(state) / FOLDER for state in states if state} | {_in_home(home) for home in homes}:
        yield base / name
        yield from base.glob(old)
    for base in {Path(folder) for folder in (os.environ.get("TMPDIR") or "/tmp", "/tmp", "/var/tmp")}:
        yield base / _own_name()
        yield from base.glob(f"{FOLDER}-{_user()}-{old}")


def _in_home(home: str) -> Path:
    return Path(home) / ".local" / "state" / FOLDER


def _own_name() -> str:
    """Of a folder in one that others use, too."""
    return f"{FOLDER}-{_user()}-{folder_name()}"


def _user() -> str:
    return os.environ.get("USERNAME", "user") if os.name == "nt" else str(os.geteuid())
