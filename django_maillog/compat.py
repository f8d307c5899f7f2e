"""Mail connections and recipients: the only module that knows Django's versions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import django
from django.conf import settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.functional import Promise
from django.utils.module_loading import import_string

HAS_MAILERS = django.VERSION >= (6, 1)
# Who sends a signal with asend() sees the context variables that a receiver sets.
RECEIVERS_SHARE_CONTEXT = django.VERSION >= (6, 1)
DEFAULT_MAILER = "default"
SMTP_BACKEND = "django.core.mail.backends.smtp.EmailBackend"


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
    return _create_backend(import_string(SMTP_BACKEND))


def has_mailer(using: str) -> bool:
    """Whether there is a mailer of this name in this process; without a name the default one is meant."""
    return not using or (mailers_configured() and using in settings.MAILERS)


def has_timeout(connection: BaseEmailBackend) -> bool:
    """Whether a connection gives up at some time; only an SMTP connection of Django's can wait for ever."""
    return not _is_smtp(type(connection)) or getattr(connection, "timeout", None) is not None


def _is_smtp(backend: type) -> bool:
    # Not imported before it is needed: a process that sends no mail needs no smtplib.
    return issubclass(backend, import_string(SMTP_BACKEND))


def addresses(setting: str) -> list[str]:
    """The addresses in ``ADMINS`` or ``MANAGERS``: strings (Django 6.0) or (name, address) pairs (before)."""
    value = getattr(settings, setting)
    if isinstance(value, (str, Promise)) or not isinstance(value, Iterable):
        raise ImproperlyConfigured(_addresses_error(setting, value))
    found = []
    for entry in value:
        address = entry[1] if isinstance(entry, (list, tuple)) and len(entry) == 2 else entry
        if not isinstance(address, (str, Promise)):
            raise ImproperlyConfigured(_addresses_error(setting, address))
        # A string that is evaluated lazily is evaluated here.
        found.append(str(address))
    return found


def _addresses_error(setting: str, value: object) -> str:
    return (
        f"settings.{setting} must be a list of addresses (or of (name, address) pairs), but holds {value!r}."
    )


def _create_backend(backend: type[BaseEmailBackend]) -> BaseEmailBackend:
    """An instance that reads the ``EMAIL_*`` settings; without ``alias`` the SMTP backend of 6.1 warns."""
    parameters = inspect.signature(backend).parameters.values()
    takes_alias = any(p.name == "alias" or p.kind is p.VAR_KEYWORD for p in parameters)
    if _is_smtp(backend) and takes_alias:
        return backend(alias=None)
    return backend()


def has_tasks() -> bool:
    """Whether anything runs tasks: Django 6.0 and later, or Celery."""
    return django.VERSION >= (6, 0) or bool(find_spec("celery"))


def task_signals() -> Any:
    """The module with the signals of Django's tasks; None before Django 6.0."""
    if django.VERSION < (6, 0):
        return None
    from django.tasks import signals

    return signals


def make_task(function: Callable[[], None]) -> Any:
    """The function as a task: a Django Task if ``TASKS`` is set, else Celery's if it is there.

    Raises ImproperlyConfigured where nothing runs tasks.
    """
    if _uses_django_tasks():
        from django.tasks import task

        return task(function)
    if not has_tasks():
        raise ImproperlyConfigured('MAILLOG_DELIVERY = "task" needs Django 6.0 or later, or Celery.')
    from celery import shared_task

    return shared_task(function)


def enqueue_task(path: str) -> None:
    """Have the task with this dotted path run; raises what its backend or broker raises."""
    task = import_string(path)
    if _uses_django_tasks():
        task.enqueue()
    else:
        # No more tries than Celery makes by itself: who calls tries again.
        task.apply_async(retry=False)


def keeps_tasks() -> bool:
    """Whether Django's tasks go to the backend for tests that keeps them and runs none."""
    if not _uses_django_tasks():
        return False
    from django.tasks import task_backends
    from django.tasks.backends.dummy import DummyBackend

    return isinstance(task_backends["default"], DummyBackend)


def _uses_django_tasks() -> bool:
    chosen = settings.is_overridden("TASKS")  # type: ignore[misc]  # as above
    return django.VERSION >= (6, 0) and (chosen or not find_spec("celery"))
