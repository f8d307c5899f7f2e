"""System checks: of the handlers that logging has now, wherever they came from, and of the settings."""

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections
from django.utils.module_loading import import_string

from . import buffers, charset, compat, conf
from .spool import unattended
from .spool.folder import UnsafeFolder, spool_folder, verify_unmade
from .transactions import write_alias

ADMINS_HINT = 'Set ADMINS = ["ada@example.com"] (up to Django 5.2: [("Ada", "ada@example.com")])'
PACKAGE = f"{__package__}.handlers"
BACKENDS = "django.core.mail.backends"
DEVELOPMENT_BACKENDS = {f"{BACKENDS}.{name}" for name in ("console", "dummy", "filebased", "locmem")}


class Found(NamedTuple):
    """A handler of ours; ``implicit``: the target that a BufferingHandler makes where it is given none."""

    name: str
    handler: Any
    implicit: bool = False


def check_all() -> list[CheckMessage]:
    """Everything that would keep mails from being written or sent."""
    messages: list[CheckMessage] = []
    found = live_handlers()
    for buffer in [item for item in found if _is_buffering(item.handler)]:
        messages += check_buffer(buffer)
    for target in _distinct_targets(found):
        messages += check_target(target)
    return [*messages, *check_settings(spooling=any(_is_buffering(item.handler) for item in found))]


def check_backends() -> list[CheckMessage]:
    """No mail leaves a production site through a development backend."""
    messages: list[CheckMessage] = []
    for target in _distinct_targets(live_handlers()):
        backend = type(_connection(target.handler)).__module__
        if backend in DEVELOPMENT_BACKENDS:
            messages.append(
                Warning(
                    f"The handler {target.name!r} sends through a development backend ({backend}).",
                    hint=f'{_mailer_hint(target.handler)} to use "{BACKENDS}.smtp.EmailBackend".',
                    id="django_maillog.W004",
                )
            )
    return messages


def check_databases(aliases: Sequence[str] | None) -> list[CheckMessage]:
    """The database takes all characters; asked only if checks may connect to it."""
    alias = write_alias()
    try:
        names = charset.narrow(connections[alias]) if alias in (aliases or ()) else {}
    except DatabaseError:  # it is away, and whoever asked for these checks hears of that
        return []
    if not names:
        return []
    return [
        Warning(
            f"The database {alias!r} stores text as {', '.join(names)}, which lacks characters: "
            "what it lacks is stored and mailed escaped, an emoji as \\U0001f600.",
            hint="Convert it to utf8mb4 (MySQL, MariaDB) or move to one with ENCODING 'UTF8' (PostgreSQL).",
            id="django_maillog.W030",
        )
    ]


def check_buffer(item: Found) -> list[CheckMessage]:
    """A BufferingHandler's target and its own fingerprint function."""
    messages: list[CheckMessage] = []
    try:
        item.handler.make_rules()
    except ValueError as error:
        messages.append(
            Error(
                f"The handler {item.name!r} has a wrong attribute: {error}",
                hint=f'Correct LOGGING["handlers"]["{item.name}"].',
                id="django_maillog.E005",
            )
        )
    try:
        if item.handler.has_stale_target():
            messages.append(
                Warning(
                    f"The handler {item.name!r} mails as {item.handler.target.name!r} of an earlier logging "
                    "configuration says; the present one has no such handler.",
                    hint=f'Configure "{item.handler.target.name}" together with "{item.name}".',
                    id="django_maillog.W018",
                )
            )
    except ImproperlyConfigured as error:
        messages.append(
            Error(
                f"The handler {item.name!r} has no usable target: {error}",
                hint=f'Name a "{PACKAGE}.SMTPHandler" of LOGGING["handlers"] as target, or leave target out.',
                id="django_maillog.E004",
            )
        )
    fingerprint = item.handler._fingerprint
    if isinstance(fingerprint, str) and not _is_callable(fingerprint):
        messages.append(
            Error(
                f"The handler {item.name!r} has fingerprint={fingerprint!r}: there is no such function.",
                hint="Give the path of a function that takes a LogRecord and returns (fingerprint, cause).",
                id="django_maillog.E009",
            )
        )
    return messages


def check_target(item: Found) -> list[CheckMessage]:
    """An SMTPHandler's recipients, mailer and reporter."""
    return [*_check_recipients(item), *_check_mailer(item), *_check_reporter(item)]


def check_settings(*, spooling: bool) -> list[CheckMessage]:
    """The MAILLOG_* settings, and where a BufferingHandler needs it, the spool folder."""
    messages: list[CheckMessage] = []
    for name, problem in conf.problems():
        known = name in conf.DEFAULTS
        others = ", ".join(conf.DEFAULTS)
        hint = f"The default is {conf.DEFAULTS[name]!r}." if known else f"The settings are {others}."
        kind, number = (Error, "E007") if known else (Warning, "W003")
        messages.append(kind(problem, hint=hint, id=f"django_maillog.{number}"))
    if any(message.id == "django_maillog.E007" for message in messages):
        return messages
    if conf.delivery() == "task" and not compat.has_tasks():
        messages.append(
            Error(
                'MAILLOG_DELIVERY is "task", and nothing here runs tasks.',
                hint='Use Django 6.0 or later, "pip install celery", or set MAILLOG_DELIVERY = "worker".',
                id="django_maillog.E011",
            )
        )
    elif conf.delivery() == "task" and compat.keeps_tasks():
        messages.append(
            Warning(
                'MAILLOG_DELIVERY is "task", and the backend in TASKS runs none: nothing is ever mailed.',
                hint='Name a backend in TASKS that runs them, or set MAILLOG_DELIVERY = "worker".',
                id="django_maillog.W010",
            )
        )
    return [*messages, *_check_spool()] if spooling else messages


def _check_spool() -> Iterator[CheckMessage]:
    """Warnings, since another user's commands can do without the spool; nothing is made."""
    try:
        folder = spool_folder()
        verify_unmade(folder)
    except UnsafeFolder as error:
        yield Warning(
            f"The spool folder can't be used, so records are kept in memory: {error}",
            hint="Set MAILLOG_SPOOL_DIR to a folder of this user's own, with mode 0700, "
            "or let several users share it with MAILLOG_SPOOL_GROUP.",
            id="django_maillog.W020",
        )
        return
    for other, number in unattended.unattended_folders(folder).items():
        yield Warning(
            f"{number} segments of this project wait in {other}, where nobody imports them.",
            hint=f"If they are still to be mailed: mkdir -p -m 700 {folder} && mv {other}/* {folder}/",
            id="django_maillog.W021",
        )
    for why, number in unattended.strange_segments(folder).items():
        yield Warning(
            f"{number} segments in {folder} are left alone: {why}.",
            hint="Give each project a MAILLOG_PROJECT or a MAILLOG_SPOOL_DIR of its own.",
            id="django_maillog.W022",
        )


def _check_recipients(item: Found) -> Iterator[CheckMessage]:
    try:
        recipients = buffers.addressee(item.handler).recipients
    except DatabaseError as error:  # the project's own get_recipients(): "migrate" runs checks, too
        yield Warning(
            f"The handler {item.name!r} asks the database for its recipients, which failed: {error}",
            hint="Nothing is lost: its records wait until it has recipients. If tables are missing, migrate.",
            id="django_maillog.W032",
        )
        return
    except Exception as error:  # ImproperlyConfigured, or a setting that isn't there
        yield Error(
            f"The handler {item.name!r} has no usable recipients: {error}",
            hint=f"{ADMINS_HINT}.",
            id="django_maillog.E008",
        )
        return
    if not recipients:
        yield Warning(
            f"The handler {item.name!r} has nobody to mail to.",
            hint=f"{ADMINS_HINT}, or give the handler toaddrs.",
            id="django_maillog.W001",
        )


def _check_mailer(item: Found) -> Iterator[CheckMessage]:
    handler = item.handler
    if handler.email_backend and not _is_callable(handler.email_backend):
        yield Error(
            f"The handler {item.name!r} has email_backend={handler.email_backend!r}: it can't be imported.",
            hint='Give the dotted path of a backend, as "django.core.mail.backends.smtp.EmailBackend".',
            id="django_maillog.E003",
        )
        return
    try:
        connection = handler.get_connection()
    except Exception as error:  # any backend's
        yield Error(
            f"The handler {item.name!r} has no usable mailer: {error}",
            hint=_mailer_hint(handler) + ".",
            id="django_maillog.E002",
        )
        return
    # The worker sets a time-out of its own.
    if not item.implicit and not compat.has_timeout(connection):
        yield Warning(
            f"The handler {item.name!r} has a mailer without a time-out: a hanging server holds up requests.",
            hint=f"Give the handler timeout=10, or the mailer a time-out: {_timeout_hint(handler)}.",
            id="django_maillog.W002",
        )


def _check_reporter(item: Found) -> Iterator[CheckMessage]:
    try:
        item.handler.reporter_class  # noqa: B018  # imports it
    except Exception as error:  # ImproperlyConfigured, or what the module raises when it is imported
        yield Error(
            f"The handler {item.name!r} has no usable reporter: {error}",
            hint='Give as reporter_class "django.views.debug.ExceptionReporter" or a subclass of it.',
            id="django_maillog.E010",
        )


def live_handlers() -> list[Found]:
    """Our handlers that logging has now, with targets and listeners' handlers, however they came there."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    waiting = [handler for logger in loggers for handler in getattr(logger, "handlers", [])]
    waiting += [*logging._handlers.values(), *buffers.configured().values()]  # type: ignore[attr-defined]
    found: dict[int, Found] = {}
    while waiting:
        handler = waiting.pop(0)
        if id(handler) in found:
            continue
        found[id(handler)] = Found(getattr(handler, "name", None) or type(handler).__name__, handler)
        waiting += [item for item in [*_held(handler)] if isinstance(item, logging.Handler)]
    return [item for item in found.values() if _is_ours(type(item.handler))]


def _distinct_targets(found: list[Found]) -> list[Found]:
    """Each SMTPHandler once, whether it is a handler itself or the target of a buffer."""
    targets = {id(item.handler): item for item in found if hasattr(item.handler, "get_digest_subject")}
    for item in found:
        target = getattr(item.handler, "_target", None)
        if hasattr(target, "get_digest_subject"):
            targets.setdefault(id(target), Found(item.name, target, implicit=True))
    return list(targets.values())


def _held(handler: Any) -> Iterator[Any]:
    """The handlers behind a handler: a MemoryHandler's target, a QueueHandler's listener's."""
    if isinstance(handler, logging.handlers.MemoryHandler):
        yield handler.target
    if isinstance(handler, logging.handlers.QueueHandler):
        yield from getattr(getattr(handler, "listener", None), "handlers", ())


def _is_ours(kind: type) -> bool:
    return any(f"{base.__module__}.".startswith(f"{PACKAGE}.") for base in kind.__mro__)


def _is_buffering(handler: Any) -> bool:
    return hasattr(handler, "rules") and _is_ours(type(handler))


def _is_callable(path: str) -> bool:
    try:
        return callable(import_string(path))
    except Exception:  # ImportError, or whatever the module raises when it is imported
        return False


def _connection(handler: Any) -> Any:
    try:
        return handler.get_connection()
    except Exception:  # E002 and E003 say so
        return None


def _mailer_hint(handler: Any) -> str:
    if handler.mailhost is not None:
        return "Change mailhost"
    if compat.mailers_configured():
        return f'Set MAILERS["{handler.using or compat.DEFAULT_MAILER}"]'
    return "Change email_backend" if handler.email_backend else "Set EMAIL_BACKEND"


def _timeout_hint(handler: Any) -> str:
    if compat.mailers_configured():
        return f'MAILERS["{handler.using or compat.DEFAULT_MAILER}"]["OPTIONS"]["timeout"] = 10'
    return "EMAIL_TIMEOUT = 10"
