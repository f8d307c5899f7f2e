"""Settings, read at each use and never written back."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from django.conf import ENVIRONMENT_VARIABLE, UserSettingsHolder, settings
from django.core.exceptions import ImproperlyConfigured

WORKERS = ("thread", "inline", "none")
DELIVERIES = ("worker", "command", "task")
DEFAULTS: dict[str, Any] = {
    "MAILLOG_PROJECT": None,
    "MAILLOG_SPOOL_DIR": None,
    "MAILLOG_SPOOL_GROUP": None,
    "MAILLOG_SPOOL_MAX_BYTES": 256 * 1024 * 1024,
    "MAILLOG_WORKER": "thread",
    "MAILLOG_DELIVERY": "worker",
    "MAILLOG_RETENTION_DAYS": 30,
    "MAILLOG_SITE_URL": "",
    "MAILLOG_OUTAGE_WAIT": 30,
    "MAILLOG_PERSONAL_DATA": True,
    "MAILLOG_RELEASE": None,
}
# Further back no database's times go: the same limit has prune_maillogs --days.
MOST_DAYS = 100_000
MOST_SECONDS = 10**9
PROJECT_CHARACTERS = 200
RELEASE_CHARACTERS = 200

T = TypeVar("T")


def get(name: str) -> Any:
    return getattr(settings, name, DEFAULTS[name])


def or_default(reader: Callable[[], T]) -> T:
    """What a reader says, or the setting's default where its value is wrong.

    A system check reports a wrong value, which servers don't run: records and mails come first.
    """
    try:
        return reader()
    except ImproperlyConfigured:
        return cast("T", DEFAULTS[_name_of(reader)])


def project() -> str:
    """The name of this project: its settings module, where MAILLOG_PROJECT says nothing else."""
    value = get("MAILLOG_PROJECT")
    if value is None:
        module = os.environ.get(ENVIRONMENT_VARIABLE, "") or getattr(settings, "ROOT_URLCONF", "")
        return str(module or "project")[:PROJECT_CHARACTERS]
    if not isinstance(value, str) or not value.strip() or len(value) > PROJECT_CHARACTERS:
        raise _wrong("MAILLOG_PROJECT", f"a name of up to {PROJECT_CHARACTERS} characters")
    return value


def spool_dir() -> Path | None:
    """The folder of this project's segments, if the settings name one."""
    value = get("MAILLOG_SPOOL_DIR")
    if value is None:
        return None
    is_path = isinstance(value, (str, os.PathLike)) and os.path.isabs(value)
    if not is_path or "\0" in os.fsdecode(value):
        # A relative path is another folder in each process, and nobody expands "~" here.
        raise _wrong("MAILLOG_SPOOL_DIR", 'an absolute path, without "~"')
    return Path(os.fsdecode(value))


def spool_group() -> int | None:
    """The id of the group whose members share the spool; None if it is one user's own."""
    value = get("MAILLOG_SPOOL_GROUP")
    if value is None:
        return None
    found = _group_id(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
    if found is None:
        raise _wrong("MAILLOG_SPOOL_GROUP", "a group of this host")
    if get("MAILLOG_SPOOL_DIR") is None:
        raise ImproperlyConfigured(
            f"MAILLOG_SPOOL_GROUP = {value!r} needs MAILLOG_SPOOL_DIR: the default folder is one user's own."
        )
    return found


def spool_max_bytes() -> int:
    """The most that all segments on this host may take, in bytes."""
    value = int(_number("MAILLOG_SPOOL_MAX_BYTES"))
    if not value:
        raise _wrong("MAILLOG_SPOOL_MAX_BYTES", "at least 1")
    return value


def worker() -> str:
    """Who imports: ``"thread"``, ``"inline"`` or ``"none"``."""
    return _choice("MAILLOG_WORKER", WORKERS)


def delivery() -> str:
    """Who sends: ``"worker"``, ``"command"`` or ``"task"``."""
    return _choice("MAILLOG_DELIVERY", DELIVERIES)


def retention_days() -> float:
    """How long sent batches and their records are kept, in days."""
    return _number("MAILLOG_RETENTION_DAYS", below=MOST_DAYS)


def site_url() -> str:
    """Where the admin is reached from outside, without a trailing slash; empty if unknown."""
    value = get("MAILLOG_SITE_URL") or ""
    if not isinstance(value, str) or (value and not _is_url(value)):
        raise _wrong("MAILLOG_SITE_URL", 'a URL such as "https://example.com"')
    return value.rstrip("/")


def outage_wait() -> float:
    """How long the database may be away before a digest is mailed straight from the spool, in seconds."""
    return _number("MAILLOG_OUTAGE_WAIT", below=MOST_SECONDS)


def personal_data() -> bool:
    """Whether user, IP address, parameters and headers of requests are stored and mailed."""
    value = get("MAILLOG_PERSONAL_DATA")
    if not isinstance(value, bool):
        raise _wrong("MAILLOG_PERSONAL_DATA", "True or False")
    return value


def release() -> str:
    """What is deployed; empty if MAILLOG_RELEASE says nothing. A callable is asked once a process."""
    value = get("MAILLOG_RELEASE")
    if callable(value):
        value = _asked(value)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ImproperlyConfigured(
            f"MAILLOG_RELEASE must be a string, or a callable that returns one, not {value!r}."
        )
    return value[:RELEASE_CHARACTERS].strip()


READERS = (
    project,
    spool_dir,
    spool_group,
    spool_max_bytes,
    worker,
    delivery,
    retention_days,
    site_url,
    outage_wait,
    personal_data,
    release,
)


def problems() -> Iterator[tuple[str, str]]:
    """The settings with a wrong or unknown name or value, each with what is wrong."""
    for reader in READERS:
        try:
            reader()
        except ImproperlyConfigured as error:
            yield _name_of(reader), str(error)
    for name in dir(settings):
        if name.startswith("MAILLOG_") and name not in DEFAULTS:
            yield name, f"Unknown setting {name}."


def is_overridden(name: str) -> bool:
    """Whether a test has given the setting with ``override_settings``."""
    holder = settings._wrapped  # type: ignore[misc]  # the stubs miss it
    while isinstance(holder, UserSettingsHolder):
        if name in vars(holder):
            return True
        holder = holder.default_settings
    return False


_tested = False


def testing() -> bool:
    """Whether this process runs tests, or has: nothing that it records is for a real database or mail server.

    It knows of a run in which it was asked once.
    """
    global _tested  # noqa: PLW0603  # once true it stays true
    _tested = _tested or _is_test_environment()
    return _tested


def tested() -> bool:
    """Whether this process has run tests, and they are over."""
    return testing() and not _is_test_environment()


def _is_test_environment() -> bool:
    """Whether ``setup_test_environment`` is in force, which every test runner calls."""
    # Looked up and not imported: no process but a test run needs that module. An outbox proves no test,
    # since each locmem.EmailBackend makes one.
    utils = sys.modules.get("django.test.utils")
    return utils is not None and hasattr(getattr(utils, "_TestState", None), "saved_data")


def _wrong(name: str, wanted: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} must be {wanted}, not {get(name)!r}.")


def _name_of(reader: Callable[[], Any]) -> str:
    return f"MAILLOG_{reader.__name__.upper()}"


def _number(name: str, *, below: float = math.inf) -> float:
    value = get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < below:
        raise _wrong(name, "a positive number" + (f" below {below:,}" if below < math.inf else ""))
    return value


def _is_url(value: str) -> bool:
    try:
        host = urlsplit(value).hostname
    except ValueError:  # "https://[example.com"
        return False
    return bool(host and re.fullmatch(r"https?://[^/\s?#]+(/[^\s?#]*)?", value))


def _choice(name: str, choices: tuple[str, ...]) -> str:
    value = get(name)
    if value not in choices:
        raise _wrong(name, f"one of {', '.join(map(repr, choices))}")
    return str(value)


@cache
def _asked(value: Callable[[], Any]) -> Any:
    """What a callable says, or its error: it may be slow, and records are waiting."""
    try:
        return value()
    except Exception as error:  # the project's own code
        return error


@cache
def _group_id(group: str | int) -> int | None:
    """The id of a group by name or number; remembered, as a directory server may be asked for it."""
    try:
        import grp
    except ImportError:  # Windows has no such groups
        return None
    try:
        return (grp.getgrgid(group) if isinstance(group, int) else grp.getgrnam(group)).gr_gid
    except (KeyError, OverflowError, ValueError):
        return None
