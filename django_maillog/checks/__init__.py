"""System checks: of the handlers that logging has now, wherever they came from, and of the settings.

``live`` finds the handlers; each other module looks at one kind of thing, and says what to type.
"""

from __future__ import annotations

from django.apps import apps
from django.core.checks import CheckMessage

from .attached import check_attached
from .buffering import check_buffer, check_context
from .databases import check_databases, check_routers
from .live import distinct_targets, is_buffering, live_handlers
from .settings import check_settings
from .targets import check_backend, check_target

__all__ = ["check_all", "check_backends", "check_databases", "live_handlers"]


def check_all() -> list[CheckMessage]:
    """Everything that would keep mails from being written or sent."""
    found = live_handlers()
    buffering = [item for item in found if is_buffering(item.handler)]
    messages: list[CheckMessage] = []
    for item in buffering:
        messages += [*check_buffer(item), *check_context(item)]
    for item in distinct_targets(found):
        messages += check_target(item)
    messages += check_attached(found)
    if buffering and apps.is_installed("django_maillog"):
        messages += check_routers()
    return [*messages, *check_settings(spooling=bool(buffering))]


def check_backends() -> list[CheckMessage]:
    """What is wrong with a mailer in production alone."""
    return [message for item in distinct_targets(live_handlers()) for message in check_backend(item)]
