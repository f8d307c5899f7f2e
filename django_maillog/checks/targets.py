"""Checks of an SMTPHandler: its recipients and sender, its mailer, its reporter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import getaddresses
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.db import Error as DatabaseError

from .. import buffers, compat
from .live import Found, is_callable

ADMINS_HINT = 'Set ADMINS = ["ada@example.com"] (up to Django 5.2: [("Ada", "ada@example.com")])'
BACKENDS = "django.core.mail.backends"
DEVELOPMENT_BACKENDS = {f"{BACKENDS}.{name}" for name in ("console", "dummy", "filebased", "locmem")}
# Django's default of SERVER_EMAIL, which hardly any mail server takes.
DEFAULT_SENDER = "root@localhost"


def check_target(item: Found) -> Iterator[CheckMessage]:
    yield from _check_recipients(item)
    yield from _check_mailer(item)
    yield from _check_reporter(item)


def check_backend(item: Found) -> Iterator[CheckMessage]:
    """No mail leaves a production site through a development backend."""
    backend = _backend(item.handler)
    if backend in DEVELOPMENT_BACKENDS:
        yield Warning(
            f"The handler {item.name!r} sends through a development backend ({backend}).",
            hint=f'{_mailer_hint(item.handler)} to use "{BACKENDS}.smtp.EmailBackend".',
            id="django_maillog.W004",
        )


def _check_recipients(item: Found) -> Iterator[CheckMessage]:
    try:
        addressee = buffers.addressee(item.handler)
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
    yield from _check_addresses(item, addressee)
    if not addressee.recipients:
        yield Warning(
            f"The handler {item.name!r} has nobody to mail to.",
            hint=f"{ADMINS_HINT}, or give the handler toaddrs.",
            id="django_maillog.W001",
        )


def _check_addresses(item: Found, addressee: buffers.Addressee) -> Iterator[CheckMessage]:
    for address in addressee.recipients:
        found = [plain for _name, plain in getaddresses([address])]
        if len(found) != 1 or not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", found[0]):
            yield Warning(
                f"The handler {item.name!r} mails to {address!r}, which is no address.",
                hint='Give an address such as "ada@example.com".',
                id="django_maillog.W033",
            )
    if addressee.sender == DEFAULT_SENDER and _backend(item.handler) not in DEVELOPMENT_BACKENDS:
        yield Warning(
            f"The handler {item.name!r} mails from {DEFAULT_SENDER!r}, which mail servers refuse.",
            hint='Set SERVER_EMAIL = "errors@example.com", or give the handler fromaddr.',
            id="django_maillog.W034",
        )


def _check_mailer(item: Found) -> Iterator[CheckMessage]:
    handler = item.handler
    if handler.email_backend and not is_callable(handler.email_backend):
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


def _backend(handler: Any) -> str:
    """The module of the mail backend; empty if there is none, as E002 and E003 say."""
    try:
        return type(handler.get_connection()).__module__
    except Exception:  # any backend's
        return ""


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
