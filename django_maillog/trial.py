"""A test error through the handlers that logging has now, step by step: what ``test_maillog`` prints."""

from __future__ import annotations

import contextlib
import copy
import logging
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db import Error
from django.db.models import F, Max

from . import buffers, conf
from .checks import live_handlers
from .checks.live import Found, distinct_targets, is_buffering, loggers
from .database_clock import database_now
from .flush import flush
from .handlers import BufferingHandler, SMTPHandler
from .models import Batch, Status
from .outbox.batches import cancel
from .outbox.options import FlushOptions
from .spool.folder import spool_folder
from .spool.journal import journal
from .transactions import write_alias

TEXT = "This is a test by manage.py test_maillog: error mail works"
SUFFIX = " (test)"


class Step(NamedTuple):
    """One thing that had to work: what it is, whether it did, and in words."""

    what: str
    is_well: bool
    said: str


class MaillogTestError(Exception):
    """What the test mail is about."""


def tried_handlers() -> dict[str, Found]:
    """The handlers that mail, by name: each BufferingHandler, and SMTPHandlers that get records otherwise."""
    found = live_handlers()
    buffering = {item.name: item for item in found if is_buffering(item.handler)}
    targets = [item.handler._target for item in buffering.values()]
    return buffering | {
        item.name: item
        for item in distinct_targets(found)
        if _loggers_of(item.handler) or (item.is_passed_to and item.handler not in targets)
    }


def try_out(tried: Found) -> Iterator[Step]:
    """Log one test error to a handler, and mail it alone; each step as soon as it is taken.

    Nothing of what waits in the handler's own buffer is mailed: the record goes to one named after it, which
    has the same target, rules and filters. A test mail that can't be sent is cancelled; one whose database
    is away comes when that is back.
    """
    handler = tried.handler
    record = _record(handler.level)
    yield _attached(tried)
    if refused := _refused(handler, record):
        yield refused
    elif isinstance(handler, SMTPHandler):
        yield from _mail_at_once(handler, record)
    else:
        yield from _mail(handler, record)


def _record(level: int) -> logging.LogRecord:
    """A real error's record, at the level that the handler takes."""
    try:
        raise MaillogTestError(TEXT)
    except MaillogTestError:
        error = sys.exc_info()
    level = max(level, logging.ERROR)
    return logging.LogRecord("test_maillog", level, __file__, 0, TEXT, (), error, "try_out")


def _attached(tried: Found) -> Step:
    name, handler = tried.name, tried.handler
    level = logging.getLevelName(handler.level) if handler.level else "every level"
    said = f"{type(handler).__name__}, from {level} on"
    if names := _loggers_of(handler):
        return Step("handler", True, f"{said}, of {', '.join(names)}")
    if tried.is_passed_to:
        return Step("handler", True, f"{said}, behind another handler")
    hint = f'no logger has it: add "{name}" to the "handlers" of "root" or another logger'
    return Step("handler", False, hint)


def _loggers_of(handler: Any) -> list[str]:
    return [each.name for each in loggers() if handler in each.handlers]


def _refused(handler: logging.Handler, record: logging.LogRecord) -> Step | None:
    """The filter that keeps the record from the handler, if one does."""
    for each in handler.filters:
        takes = each.filter if hasattr(each, "filter") else each
        if not takes(record):
            said = f"{type(each).__name__} lets no such record through (DEBUG and the like decide that)"
            return Step("filters", False, said)
    return None


def _mail_at_once(handler: SMTPHandler, record: logging.LogRecord) -> Iterator[Step]:
    errors: list[str] = []

    def note(record: logging.LogRecord) -> None:
        errors.append(_told(sys.exception()))

    alone = copy.copy(handler)
    alone.handleError = note  # type: ignore[method-assign]
    yield _addressee(handler)
    alone.emit(record)
    yield Step("sent", not errors, "; ".join(errors) or f"taken by {_mailer(handler)}")


def _mail(handler: BufferingHandler, record: logging.LogRecord) -> Iterator[Step]:
    alone = handler.twin(f"{handler.buffer[: 200 - len(SUFFIX)]}{SUFFIX}")
    earlier = _newest(alone.buffer)
    alone.keep(record)
    if journal.memory is not None:
        yield Step("spool", False, f"{_folder()} can't be used, so records are in memory: manage.py check")
    else:
        yield Step("spool", True, f"written to {_folder()}")
    try:
        yield from _deliver(alone, after=earlier)
        # It is not tried again later, when nobody waits for it any more.
        for batch in Batch.objects.undelivered().filter(buffer=alone.buffer).defer("text", "html"):
            cancel(batch, database_now())
    except Error as error:
        yield Step("database", False, f"{_told(error)} (if tables are missing: migrate)")
    except Exception as error:  # another segment that can't be imported, which flush_maillogs names
        yield Step("imported", False, f"{_told(error)} (see: manage.py flush_maillogs)")


def _newest(buffer: str) -> int:
    """The key of the newest batch of earlier tests; 0 without one, or without a database."""
    with contextlib.suppress(Error):
        return Batch.objects.filter(buffer=buffer).aggregate(key=Max("pk"))["key"] or 0
    return 0


def _deliver(alone: BufferingHandler, *, after: int) -> Iterator[Step]:
    with buffers.muted():
        flush(FlushOptions(buffers=[alone.buffer], send=False))
    batch = Batch.objects.filter(buffer=alone.buffer, pk__gt=after, record_count__gt=F("lost_count")).last()
    if batch is None:
        yield Step("imported", False, "nothing came: is the spool full? manage.py flush_maillogs --check")
        return
    yield Step("imported", True, f"into the database {write_alias()!r}")
    if batch.silenced_count:
        yield Step("silence", False, "a silence holds: manage.py silence_maillogs --end")
        return
    step = _addressee(alone)
    yield step
    if not step.is_well:
        return
    with buffers.muted():
        flush(FlushOptions(buffers=[alone.buffer]))
    batch.refresh_from_db()
    if batch.status == Status.SENT:
        note = f", which said: {batch.last_error}" if batch.last_error else ""
        yield Step("sent", True, f"taken by {_mailer(alone.target)}{note}; {batch.message_id}")
    else:
        yield Step("sent", False, f"{_mailer(alone.target)}: {batch.last_error or batch.status}")
    yield Step("from now on", True, _who_delivers())


def _addressee(handler: Any) -> Step:
    try:
        target = handler.target if isinstance(handler, BufferingHandler) else handler
        recipients, sender, _using = buffers.addressee(target)
    except Exception as error:  # the project's own code, or a mistake in its settings
        return Step("to", False, _told(error))
    if not recipients:
        return Step("to", False, 'nobody: set ADMINS = ["ada@example.com"], or toaddrs of the SMTPHandler')
    return Step("to", True, f"{', '.join(recipients)} from {sender}")


def _mailer(target: Any) -> str:
    """What a target's mail goes through."""
    try:
        backend = target.get_connection()
    except Exception as error:  # as above
        return _told(error)
    facts = vars(backend)
    server = f" at {facts['host']}:{facts.get('port', '')}" if facts.get("host") else ""
    return f"{type(backend).__module__}.{type(backend).__qualname__}{server}"


def _who_delivers() -> str:
    delivery = conf.or_default(conf.delivery)
    if conf.or_default(conf.worker) == "none" or delivery == "command":
        return "manage.py flush_maillogs must run regularly: it alone mails"
    if delivery == "task":
        return "the project's task workers mail"
    return "each process mails what its rules say"


def _told(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"


def _folder() -> str:
    try:
        return str(spool_folder())
    except Exception as error:  # a wrong setting, or nowhere to put it
        return str(error)
