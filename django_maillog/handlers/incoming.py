"""What handlers make of a record before they handle it."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Mapping
from typing import Any

from .. import buffers
from ..capture.prepare import level_of
from ..capture.text import exception_of, message_of
from ..digest import GroupReport
from .lifecycle import is_reconfiguration

# What the names of our own loggers begin with, where a point follows them.
OURS = "django_maillog."
DEEPEST = 8  # of handlers at work in one thread, one within another, when a record is still taken


def is_ours(record: logging.LogRecord) -> bool:
    """Whether a record comes from django_maillog itself, or from what it is calling: no mails about mails."""
    name = record.__dict__.get("name")  # a record made by hand may have none, or anything for one
    return buffers.thread.muted or (type(name) is str and f"{name}.".startswith(OURS))


class Incoming(logging.Handler):
    """A handler that leaves out what comes of its own work, and ends what would go on for ever."""

    # Records below it are not handled, but go to ``note``.
    report_level = logging.NOTSET
    # A new configuration has closed it. It goes on working, perhaps on loggers that this one doesn't name.
    is_taken_away = False

    # Since Python 3.12 it may return the record.
    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]
        """Handle the record if the filters let it pass, unless it is about our own work.

        A filter, a formatter or an object in a record may log, too: that is handled, and what is logged while
        it is handled is not.
        """
        # The dictionary: each attribute of a threading.local takes as long as this, 0.1 µs of a line's 2.
        thread = buffers.thread.__dict__
        depth = thread["depth"]
        if depth > DEEPEST or is_ours(record):
            return False
        thread["depth"] = depth + 1
        try:
            if self.report_level:
                level = record.__dict__.get("levelno")
                if type(level) is not int:
                    level = level_of(record)
                if level < self.report_level:
                    return self.note(record)
            return logging.Handler.handle(self, record)
        finally:
            thread["depth"] = depth

    def close(self) -> None:
        """Close the handler, and remember whether a new configuration did it."""
        if is_reconfiguration(sys._getframe(1)):
            self.is_taken_away = True
        super().close()

    def note(self, record: logging.LogRecord) -> bool:
        """Drop a record below the level of reports; one that keeps what it says does so without a lock."""
        return False


def passed_by(handler: logging.Handler, record: logging.LogRecord) -> logging.LogRecord | None:
    """What a handler's filters make of a record; since Python 3.12 they may replace it."""
    result: object = handler.filter(record)
    if isinstance(result, logging.LogRecord):
        return result
    return record if result else None


def formattable(record: logging.LogRecord) -> logging.LogRecord:
    """The record, or a copy for formatters that wrong arguments or an ``exc_info`` of its own would stop."""
    info = record.exc_info
    if info and type(info) is not tuple:  # a bare exception, or True: a logger's methods make a tuple of them
        exc, tb = exception_of(record)
        record = copy.copy(record)
        record.exc_info = (type(exc), exc, tb) if exc is not None else None
    try:
        record.getMessage()
    except Exception:  # wrong % arguments, or an object whose __str__ raises
        record = copy.copy(record)
        record.msg, record.args = message_of(record), None
    return record


def without_exception(record: logging.LogRecord) -> logging.LogRecord:
    """A copy to be formatted where a report with the traceback follows."""
    record = copy.copy(record)
    record.exc_info = record.exc_text = None
    return record


def record_of(group: GroupReport) -> logging.LogRecord:
    """A record with what is known of a group, for code that makes subjects of records."""
    sample: Mapping[str, Any] = group.sample or {}
    # No makeLogRecord: it calls the project's record factory, which may expect a logging call's arguments.
    record = logging.LogRecord(
        group.logger,
        group.level,
        sample.get("pathname", ""),
        sample.get("lineno", 0),
        sample.get("message", group.title),
        None,
        None,
        sample.get("function"),
    )
    record.created = group.last_at.timestamp()
    extra = sample.get("extra")
    # A row or a spool file may hold anything else.
    if isinstance(extra, Mapping):
        vars(record).update({name: extra[name] for name in extra.keys() - vars(record).keys()})
    return record
