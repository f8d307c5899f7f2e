"""Checks of what hangs on which logger: ours somewhere, and Django's own no more beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning
from django.utils.log import AdminEmailHandler

from .live import Found


def check_attached(found: list[Found]) -> Iterator[CheckMessage]:
    """Records reach our handlers, and Django mails none of them once more."""
    ours = {id(item.handler) for item in found}
    loggers = [logging.root, *_loggers()]
    with_ours = [logger for logger in loggers if any(id(handler) in ours for handler in logger.handlers)]
    # What a queue's listener or another handler passes on hangs on no logger itself.
    if not with_ours and not any(item.is_passed_to for item in found):
        yield Warning(
            "No logger has a handler of django_maillog: nothing is collected, and nothing mailed.",
            hint='Add to LOGGING: "handlers": {"mail": {"class": "django_maillog.handlers.BufferingHandler", '
            '"level": "ERROR"}} and "root": {"handlers": ["mail"]}.',
            id="django_maillog.W041",
        )
    for logger in loggers:
        if any(isinstance(handler, AdminEmailHandler) for handler in logger.handlers) and any(
            _passes_on(logger, other) or _passes_on(other, logger) for other in with_ours
        ):
            yield Warning(
                f"The logger {logger.name!r} still has Django's AdminEmailHandler: it mails each error "
                "once more, at once.",
                hint=f'Name it in LOGGING, which takes its handlers off it: "loggers": {{"{logger.name}": '
                '{"level": "INFO"}}.',
                id="django_maillog.W040",
            )


def _loggers() -> Iterator[logging.Logger]:
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield logger


def _passes_on(logger: logging.Logger, other: logging.Logger) -> bool:
    """Whether the records of a logger reach the handlers of another, or the same."""
    current: logging.Logger | None = logger
    while current is not None and current is not other:
        current = current.parent if current.propagate else None
    return current is other
