"""Checks of a BufferingHandler: its rules and target, what it reports, and what it keeps as context."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from .live import PACKAGE, Found, is_callable, loggers, reached


def check_buffer(item: Found) -> Iterator[CheckMessage]:
    """A BufferingHandler's target and its own fingerprint function."""
    try:
        item.handler.make_rules()
    except ValueError as error:
        yield Error(
            f"The handler {item.name!r} has a wrong attribute: {error}",
            hint=f'Correct LOGGING["handlers"]["{item.name}"].',
            id="django_maillog.E005",
        )
    try:
        if item.handler.has_stale_target():
            yield Warning(
                f"The handler {item.name!r} mails as {item.handler.target.name!r} of an earlier logging "
                "configuration says; the present one has no such handler.",
                hint=f'Configure "{item.handler.target.name}" together with "{item.name}".',
                id="django_maillog.W018",
            )
    except ImproperlyConfigured as error:
        yield Error(
            f"The handler {item.name!r} has no usable target: {error}",
            hint=f'Name a "{PACKAGE}.SMTPHandler" of LOGGING["handlers"] as target, or leave target out.',
            id="django_maillog.E004",
        )
    fingerprint = item.handler._fingerprint
    if isinstance(fingerprint, str) and not is_callable(fingerprint):
        yield Error(
            f"The handler {item.name!r} has fingerprint={fingerprint!r}: there is no such function.",
            hint="Give the path of a function that takes a LogRecord and returns (fingerprint, cause).",
            id="django_maillog.E009",
        )


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
