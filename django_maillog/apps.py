"""The app's configuration: checks, and the wake-up at a process's first request."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, register
from django.core.signals import request_started

from . import buffers


class MaillogConfig(AppConfig):
    name = "django_maillog"
    verbose_name = "Mail log"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        register(_check, "django_maillog")
        register(_check_backends, "django_maillog", deploy=True)
        request_started.connect(_wake, dispatch_uid="django_maillog.wake")


def _check(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    from . import checks  # when they are asked for: a server's process never does

    return checks.check_all()


def _check_backends(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    from . import checks

    return checks.check_backends()


def _wake(**_kwargs: Any) -> None:
    """What an earlier process left behind goes out after a restart, even if nothing is ever logged again."""
    request_started.disconnect(dispatch_uid="django_maillog.wake")
    if buffers.configured():
        from .worker import thread  # not before the app registry is ready

        thread.wake()
