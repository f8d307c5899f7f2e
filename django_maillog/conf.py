"""Settings, read at each use and never written back."""

from __future__ import annotations

import atexit
import getpass
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import UserSettingsHolder, settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured

WORKERS = ("thread", "inline", "none")
DELIVERIES = ("worker", "command", "task")
DEFAULTS: dict[str, Any] = {
    "MAILLOG_SPOOL_DIR": None,
    "MAILLOG_SPOOL_MAX_BYTES": 256 * 1024 * 1024,
    "MAILLOG_WORKER": "thread",
    "MAILLOG_DELIVERY": "worker",
    "MAILLOG_RETENTION_DAYS": 30,
    "MAILLOG_SITE_URL": "",
    "MAILLOG_OUTAGE_WAIT": 30,
}


def get(name: str) -> Any:
    """The setting's value, or its default."""
    return getattr(settings, name, DEFAULTS[name])


def spool_dir() -> Path:
    """The folder of this project's segments; while tests run, one that goes with the process."""
    if testing() and not _is_overridden("MAILLOG_SPOOL_DIR"):
        return _testing_spool_dir(os.getpid())
    configured = get("MAILLOG_SPOOL_DIR")
    if configured is None:
        return _default_spool_dir(_project_name())
    if not isinstance(configured, (str, os.PathLike)) or not configured:
        raise ImproperlyConfigured(f"MAILLOG_SPOOL_DIR must be a path, not {configured!r}.")
    return Path(configured)


def spool_max_bytes() -> int:
    """The most that all segments on this host may take, in bytes."""
    return int(_number("MAILLOG_SPOOL_MAX_BYTES"))


def worker() -> str:
    """Who imports: ``"thread"``, ``"inline"`` or ``"none"``."""
    return _choice("MAILLOG_WORKER", WORKERS)


def delivery() -> str:
    """Who sends: ``"worker"``, ``"command"`` or ``"task"``."""
    return _choice("MAILLOG_DELIVERY", DELIVERIES)


def retention_days() -> float:
    """How long sent batches and their records are kept, in days."""
    return _number("MAILLOG_RETENTION_DAYS")


def site_url() -> str:
    """Where the admin is reached from outside, without a trailing slash; empty if unknown."""
    value = get("MAILLOG_SITE_URL") or ""
    if not isinstance(value, str) or (value and not re.match(r"https?://[^/\s]+", value)):
        raise ImproperlyConfigured(
            f'MAILLOG_SITE_URL must be a URL such as "https://example.com", not {value!r}.'
        )
    return value.rstrip("/")


def outage_wait() -> float:
    """How long the database may be away before a digest is mailed straight from the spool, in seconds."""
    return _number("MAILLOG_OUTAGE_WAIT")


def _is_overridden(name: str) -> bool:
    """Whether a test has given the setting with ``override_settings``."""
    holder = settings._wrapped  # type: ignore[misc]  # the stubs miss it
    while isinstance(holder, UserSettingsHolder):
        if name in vars(holder):
            return True
        holder = holder.default_settings
    return False


_tested = False


def testing() -> bool:
    """Whether ``setup_test_environment`` is in force; it is what gives ``django.core.mail`` its outbox."""
    global _tested  # noqa: PLW0603  # once true it stays true
    if "outbox" in vars(mail):  # hasattr() would go through the module's own __getattr__
        _tested = True
        return True
    return False


def tested() -> bool:
    """Whether this process has run tests: nothing that it recorded is for a real database or mail server."""
    return _tested


def problems() -> Iterator[tuple[str, str]]:
    """The settings with a wrong or unknown name or value, each with what is wrong."""
    for reader in (spool_dir, spool_max_bytes, worker, delivery, retention_days, site_url, outage_wait):
        try:
            reader()
        except ImproperlyConfigured as error:
            yield f"MAILLOG_{reader.__name__.upper()}", str(error)
    for name in dir(settings):
        if name.startswith("MAILLOG_") and name not in DEFAULTS:
            yield name, f"Unknown setting {name}."


def _number(name: str) -> float:
    value = get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ImproperlyConfigured(f"{name} must be a positive number, not {value!r}.")
    return value


def _choice(name: str, choices: tuple[str, ...]) -> str:
    value = get(name)
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}.")
    return str(value)


def _default_spool_dir(project: str) -> Path:
    state = os.environ.get("XDG_STATE_HOME") or ""
    home = os.path.expanduser("~")
    if os.path.isabs(state):
        return Path(state) / "django_maillog" / project
    if os.path.isabs(home) and os.access(home, os.W_OK):
        return Path(home) / ".local" / "state" / "django_maillog" / project
    user = getpass.getuser() if os.name == "nt" else os.getuid()
    # No folders between it and the shared one: somebody else may have made them.
    return Path(tempfile.gettempdir()) / f"django_maillog-{user}-{project}"


def _project_name() -> str:
    """The settings module, and which database it uses: that is where the segments' offsets live."""
    database = settings.DATABASES.get("default", {})
    name = str(database.get("NAME", ""))
    if "sqlite" in database.get("ENGINE", "") and ":memory:" not in name:
        name = os.path.abspath(name)
    identity = "\0".join([str(database.get(key, "")) for key in ("ENGINE", "HOST", "PORT")] + [name])
    module = os.environ.get("DJANGO_SETTINGS_MODULE", "") or settings.ROOT_URLCONF or "project"
    digest = hashlib.blake2b(identity.encode(), digest_size=6).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', module.split('.')[0])}-{digest}"


@cache
def _testing_spool_dir(pid: int) -> Path:
    folder = tempfile.mkdtemp(prefix="django_maillog-tests-")
    atexit.register(_remove, folder, pid)
    return Path(folder)


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # a forked child's end is not the end of its parent
        shutil.rmtree(folder, ignore_errors=True)
