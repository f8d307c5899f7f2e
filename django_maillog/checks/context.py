"""Checks of what a BufferingHandler reports, and what it keeps as context."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Warning

from .live import Found, loggers, reached


def check_context(item: Found) -> Iterator[CheckMessage]:
    """Levels that have everything mailed, or nothing kept."""
    handler, reported = item.handler, item.handler.report_level
    levels = _levels(handler)
    # There is none behind a QueueListener, which passes on what it gets.
    lowest = min(levels.values(), default=logging.NOTSET)
    lets_all_through = handler.level or logging.NOTSET < lowest < logging.WARNING
    if reported == logging.NOTSET and handler.level < logging.WARNING and lets_all_through:
        yield Warning(
            f"The handler {item.name!r} reports every record from {_name(handler.level or lowest)} on.",
            hint='Give it "level": "ERROR"; or "report_level": "ERROR" and "context": 50 to have the others '
            "told as what led to an error.",
            id="django_maillog.W050",
        )
    # Django's own loggers say little below WARNING: where they alone may, the project's lines are missed.
    own = [level for name, level in levels.items() if name.partition(".")[0] != "django"]
    lowest = min(own, default=lowest)
    is_shut = lowest >= reported or lowest > handler.level > logging.NOTSET
    if handler.context and _is_behind_a_queue(handler):
        yield Warning(
            f"The handler {item.name!r} gets its records through a queue, and keeps no context.",
            hint="Attach it to a logger itself: in the queue's thread it can't tell whose lines they are.",
            id="django_maillog.W053",
        )
    elif handler.context and handler.level < reported and is_shut:
        yield Warning(
            f"The handler {item.name!r} keeps context from {_name(handler.level)} on, and its loggers let "
            f"nothing below {_name(lowest)} through.",
            hint=f'Set "level": "{_name(handler.level)}" in LOGGING for "root", or for loggers of your own.',
            id="django_maillog.W051",
        )
    if (handler.context and reported <= handler.level) or (handler.queries and not handler.context):
        yield Warning(
            f"The handler {item.name!r} never keeps any context.",
            hint='It needs all three: "level": "DEBUG", "report_level": "ERROR", "context": 50.',
            id="django_maillog.W052",
        )


def _name(level: int) -> str:
    return str(logging.getLevelName(level or logging.DEBUG))


def _is_behind_a_queue(handler: Any) -> bool:
    listeners = (getattr(each, "listener", None) for logger in loggers() for each in logger.handlers)
    return any(handler in getattr(listener, "handlers", ()) for listener in listeners)


def _levels(handler: Any) -> dict[str, int]:
    """The loggers that pass records on to the handler, and from which level on."""
    return {
        logger.name: logger.getEffectiveLevel()
        for logger in loggers()
        if not logger.disabled and any(handler in each.handlers for each in reached(logger))
    }
