"""Mail connections and recipients: the only module that knows Django's versions."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Callable, Iterable
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import django
from django.conf import settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend
from django.utils.functional import Promise
from django.utils.module_loading import import_string

HAS_MAILERS = django.VERSION >= (6, 1)
DEFAULT_MAILER = "default"


class SMTPBackend(EmailBackend):
    """Django's SMTP backend with the TLS of the standard library's ``SMTPHandler``.

    Like ``smtplib.SMTP.starttls()`` without a context it encrypts but does not verify the server's
    certificate, so that a relay with a self-signed certificate goes on working when the handler's dotted path
    changes. Where the certificate must be verified, leave ``mailhost`` out and let the project's mailer
    (``EMAIL_*`` or ``MAILERS``) send.
    """

    secure: tuple[str, ...] = ()

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if self.secure:
            keyfile, certfile = self.secure[0], self.secure[-1]
            context.load_cert_chain(certfile, keyfile)
        return context


def mailers_configured() -> bool:
    """Whether the project has opted into ``MAILERS`` (Django 6.1 and later)."""
    return HAS_MAILERS and hasattr(settings, "MAILERS")


def refuse_mailer(*, using: str | None, email_backend: str | None) -> None:
    """Raise ImproperlyConfigured if the mailer asked for can't be had with this Django and these settings."""
    if using and email_backend:
        raise ImproperlyConfigured(
            "The 'email_backend' argument is not compatible with 'using'. "
            f"Give one of email_backend={email_backend!r} and using={using!r}."
        )
    if email_backend and mailers_configured():
        raise ImproperlyConfigured(
            "The 'email_backend' argument is not valid when settings.MAILERS is defined. Instead of "
            f"{email_backend!r} name a mailer with 'using', one of {sorted(settings.MAILERS)}."
        )
    if using and not mailers_configured():
        raise ImproperlyConfigured(
            f"using={using!r} names a mailer, which needs Django 6.1 and settings.MAILERS "
            f"(this is Django {django.get_version()}): define it there, or leave 'using' out."
        )


def get_connection(*, using: str | None = None, email_backend: str | None = None) -> BaseEmailBackend:
    """A connection of the named mailer or backend, or of the project's default; its errors are raised."""
    refuse_mailer(using=using, email_backend=email_backend)
    if mailers_configured():
        return mail.mailers[using or DEFAULT_MAILER]
    if not HAS_MAILERS:
        return mail.get_connection(email_backend)
    if email_backend:
        return _create_backend(import_string(email_backend))
    if settings.is_overridden("EMAIL_BACKEND"):  # type: ignore[misc]  # the stubs' plugin misses it
        # Called by Django itself, get_connection() does not warn.
        return mail.mailers[DEFAULT_MAILER]
    # The default of EMAIL_BACKEND: reading it here would warn, and mailers["default"] would where no EMAIL_*
    # is set.
    return _create_backend(EmailBackend)


def smtp_connection(
    *,
    host: str,
    port: int | None,
    username: str | None,
    password: str | None,
    timeout: float | None,
    secure: tuple[str, ...] | None,
) -> BaseEmailBackend:
    """A connection from the arguments of the stdlib's ``SMTPHandler``, whatever the project's settings."""
    options: dict[str, Any] = {
        "host": host,
        "port": port or 25,
        # Empty strings, because None means "as in the settings" to Django before 6.1.
        "username": username or "",
        "password": password or "",
        # The standard library uses TLS with credentials only.
        "use_tls": bool(username) and secure is not None,
        "use_ssl": False,
        "timeout": timeout,
        "ssl_keyfile": "",
        "ssl_certfile": "",
    }
    if HAS_MAILERS:
        options["alias"] = "django_maillog"  # with an alias Django 6.1 reads no EMAIL_* setting
    backend = SMTPBackend(**options)
    backend.secure = secure or ()
    backend.timeout = timeout  # before Django 6.1, None was taken for EMAIL_TIMEOUT
    return backend


def has_timeout(connection: BaseEmailBackend) -> bool:
    """Whether a connection gives up at some time; only an SMTP connection of Django's can wait for ever."""
    return not isinstance(connection, EmailBackend) or connection.timeout is not None


def addresses(setting: str) -> list[str]:
    """The addresses in ``ADMINS`` or ``MANAGERS``: strings (Django 6.0) or (name, address) pairs (before)."""
    value = getattr(settings, setting)
    if isinstance(value, (str, Promise)) or not isinstance(value, Iterable):
        raise ImproperlyConfigured(_addresses_error(setting, value))
    return [_address(setting, entry) for entry in value]


def _address(setting: str, entry: object) -> str:
    """The address in one entry; a lazily evaluated string is evaluated here."""
    if isinstance(entry, (list, tuple)) and len(entry) == 2:
        entry = entry[1]
    if not isinstance(entry, (str, Promise)):
        raise ImproperlyConfigured(_addresses_error(setting, entry))
    return str(entry)


def _addresses_error(setting: str, value: object) -> str:
    return (
        f"settings.{setting} must be a list of addresses (or of (name, address) pairs), but holds {value!r}."
    )


def _create_backend(backend: type[BaseEmailBackend]) -> BaseEmailBackend:
    """An instance that reads the ``EMAIL_*`` settings; without ``alias`` the SMTP backend of 6.1 warns."""
    parameters = inspect.signature(backend).parameters.values()
    takes_alias = any(p.name == "alias" or p.kind is p.VAR_KEYWORD for p in parameters)
    if issubclass(backend, EmailBackend) and takes_alias:
        return backend(alias=None)
    return backend()


def has_tasks() -> bool:
    """Whether anything runs tasks: Django 6.0 and later, or Celery."""
    return django.VERSION >= (6, 0) or bool(find_spec("celery"))


def make_task(function: Callable[[], None]) -> Callable[[], object]:
    """What enqueues a call of this function: a Django Task if ``TASKS`` is set, else Celery's if it is there.

    Raises ImproperlyConfigured where nothing runs tasks.
    """
    chosen = settings.is_overridden("TASKS")  # type: ignore[misc]  # as above
    if django.VERSION >= (6, 0) and (chosen or not find_spec("celery")):
        from django.tasks import task

        return task(function).enqueue
    if not has_tasks():
        raise ImproperlyConfigured('MAILLOG_DELIVERY = "task" needs Django 6.0 or later, or Celery.')
    from celery import shared_task

    delay: Callable[[], object] = shared_task(function).delay
    return delay
