"""The app's configuration: checks, and what is to be ready before a record needs it."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, register
from django.utils.translation import gettext_lazy


class MaillogConfig(AppConfig):
    name = "django_maillog"
    verbose_name = gettext_lazy("Mail log")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # It imports the worker: a signal handler that logs must not find that half imported.
        from . import receivers

        register(_check, "django_maillog")
        register(_check_backends, "django_maillog", deploy=True)
        register(_check_databases, "django_maillog", Tags.database)
        receivers.connect()


def _check(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    from . import checks  # when they are asked for: a server's process never does

    return checks.check_all()


def _check_backends(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    from . import checks

    return checks.check_backends()


def _check_databases(app_configs: Any, *, databases: Any = None, **_kwargs: Any) -> list[CheckMessage]:
    from . import checks

    return checks.check_databases(databases)
