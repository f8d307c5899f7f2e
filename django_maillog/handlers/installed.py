"""The one check that the app can't register, since it is for projects that forgot the app."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, register

from .. import buffers


@register("django_maillog")
def check_installed(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A BufferingHandler needs the app's tables and worker."""
    names = sorted(buffers.configured())
    if not names or apps.is_installed("django_maillog"):
        return []
    return [
        Error(
            f"LOGGING uses a BufferingHandler ({', '.join(names)}), but django_maillog is not in "
            "INSTALLED_APPS: its records are kept in the spool and never mailed.",
            hint='Add "django_maillog" to INSTALLED_APPS and run "manage.py migrate".',
            id="django_maillog.E001",
        )
    ]
