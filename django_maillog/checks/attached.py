"""Checks of what hangs on which logger: ours somewhere, and Django's own no more beside it."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning
from django.utils.log import AdminEmailHandler

from .live import Found, loggers, reached


def check_attached(found: list[Found]) -> Iterator[CheckMessage]:
    """Records reach our handlers, and Django mails none of them once more."""
    ours = {id(item.handler) for item in found}
    with_ours = [logger for logger in loggers() if any(id(handler) in ours for handler in logger.handlers)]
    # What a queue's listener or another handler passes on hangs on no logger itself.
    if not with_ours and not any(item.is_passed_to for item in found):
        yield Warning(
            "No logger has a handler of django_maillog: nothing is collected, and nothing mailed.",
            hint='Add to LOGGING: "handlers": {"mail": {"class": "django_maillog.handlers.BufferingHandler", '
            '"level": "ERROR"}} and "root": {"handlers": ["mail"]}.',
            id="django_maillog.W041",
        )
    for logger in loggers():
        has_django_s = any(isinstance(handler, AdminEmailHandler) for handler in logger.handlers)
        if has_django_s and any(other in reached(logger) or logger in reached(other) for other in with_ours):
            yield Warning(
                f"The logger {logger.name!r} still has Django's AdminEmailHandler: it mails each error "
                "once more, at once.",
                hint=f'Name it in LOGGING, which takes its handlers off it: "loggers": {{"{logger.name}": '
                '{"level": "INFO"}}.',
                id="django_maillog.W040",
            )
