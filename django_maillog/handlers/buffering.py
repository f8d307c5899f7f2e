"""BufferingHandler: writes each record to the spool, and says when the worker mails them."""

from __future__ import annotations

import contextlib
import copy
import logging
import logging.handlers
import sys
from collections.abc import Callable
from typing import Any, Self, cast

from django.apps import apps
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from .. import buffers, conf
from ..capture import context
from ..capture.context import Line
from ..capture.fingerprint import Key, fingerprint, fingerprint_of
from ..capture.prepare import capture, capture_repeat, level_of
from ..policy import Rules
from ..spool.journal import journal
from ..spool.lines import encode
from . import arguments, names, scopes
from .incoming import Incoming, passed_by
from .lifecycle import is_reconfiguration, is_shutdown, process
from .queries import note_for as note_queries_for
from .sights import Sights
from .smtp import SMTPHandler

DEFAULT_NAME = "maillog"
# Characters of a fingerprint, a cause and a site.
KEY_LIMIT = 64

Fingerprint = Callable[[logging.LogRecord], Key]


class BufferingHandler(Incoming, logging.handlers.BufferingHandler):
    """Collects records in the database, fleet-wide under one name, and mails them as few digests.

    ``target`` is the SMTPHandler that says where, or its name; ``group_wait``, ``group_interval``,
    ``repeat_interval`` and ``resolve_timeout`` are seconds, ``burst`` is a number of mails an hour (see
    ``policy``). ``fingerprint``, a function or its dotted path, replaces ``capture.fingerprint``. Records
    below ``report_level`` are not reported: the last ``context`` of them in the same request, task or thread
    travel with the next full capture there, and with ``queries`` the database's are among them. The standard
    library's buffer is a list in memory; here ``buffer`` is the name under which the records are kept.
    """

    _target: SMTPHandler | str

    def __init__(
        self,
        capacity: int = 10_000,
        flushLevel: int | str = logging.CRITICAL,
        flushOnClose: bool = False,
        *,
        target: SMTPHandler | str | None = None,
        group_wait: float = 30,
        group_interval: float = 300,
        repeat_interval: float = 14_400,
        resolve_timeout: float = 21_600,
        burst: int = 5,
        fingerprint: Fingerprint | str | None = None,
        report_level: int | str = logging.NOTSET,
        context: int = 0,
        queries: bool = False,
    ) -> None:
        # Not the stdlib BufferingHandler's __init__: all it adds is a list called buffer.
        logging.Handler.__init__(self)
        self.capacity = capacity
        self.flushLevel = arguments.level("flushLevel", flushLevel)
        self.group_wait = group_wait
        self.group_interval = group_interval
        self.repeat_interval = repeat_interval
        self.resolve_timeout = resolve_timeout
        self.burst = burst
        self._rules = self.make_rules()
        self.flushOnClose = arguments.flag("flushOnClose", flushOnClose)
        self.target = names.in_section(sys._getframe(1)) if target is None else target
        self._fingerprint = arguments.function("fingerprint", fingerprint)
        self._sights = Sights()
        self.report_level = arguments.level("report_level", report_level)
        self.context = arguments.number("context", context)
        self.queries = arguments.flag("queries", queries)
        self._context_key = object()  # two handlers may keep different lines of context
        if self.context:
            scopes.connect()
        if self.context and self.queries:
            note_queries_for(self)
        buffers.register(self)

    @property
    def buffer(self) -> str:  # type: ignore[override]  # a list in the standard library
        """The name under which the records of all processes are kept: the key in ``LOGGING["handlers"]``."""
        return self._name or DEFAULT_NAME  # type: ignore[attr-defined]  # behind the property called name

    @property
    def rules(self) -> Rules:
        """When the buffer is mailed, as its attributes say now; while they are wrong, as they said before."""
        # Check E005 tells of those that __init__ would have refused.
        with contextlib.suppress(ValueError):
            self._rules = self.make_rules()
        return self._rules

    def make_rules(self) -> Rules:
        """The rules that the attributes describe, which may be changed; ValueError names a wrong one."""
        return Rules(
            capacity=self.capacity,
            flush_level=arguments.level("flushLevel", self.flushLevel),
            group_wait=self.group_wait,
            group_interval=self.group_interval,
            repeat_interval=self.repeat_interval,
            resolve_timeout=self.resolve_timeout,
            burst=self.burst,
        )

    @property
    def target(self) -> SMTPHandler:
        """The SMTPHandler that says where mail goes; a name is looked up when it is first needed."""
        if isinstance(self._target, str):
            found: SMTPHandler = names.find(self._target)
            self._target = found
        return self._target

    @target.setter
    def target(self, target: SMTPHandler | str | None) -> None:
        if target is not None and (not target or not isinstance(target, (SMTPHandler, str))):
            raise ValueError(
                f"target must be a django_maillog.handlers.SMTPHandler or the name of one, not {target!r}."
            )
        self._target = SMTPHandler() if target is None else target

    def has_stale_target(self) -> bool:
        """Whether the target was taken away by the logging configuration that made this handler."""
        return self.target.is_taken_away and not self.is_taken_away

    def setTarget(self, target: SMTPHandler | str | None) -> None:
        """Set the target, as the standard library's MemoryHandler does."""
        self.target = target

    def note(self, record: logging.LogRecord) -> bool:
        """Keep a record below ``report_level`` as a line of context: no file, no lock."""
        if not self.context:
            return super().note(record)
        try:
            passed = passed_by(self, record) if self.filters else record
            if passed is None:
                return False
            context.note(self._context_key, passed, self.context)
        except Exception:
            self.handleError(record)
        return True

    def note_line(self, line: Line) -> None:
        """Keep a line of context that was no record."""
        context.note_line(self._context_key, line, self.context)

    def shouldFlush(self, record: logging.LogRecord) -> bool:
        """Whether the worker is to call ``flush()`` for this record; no, the rules see to it. Override it."""
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record to the spool, and tell the worker."""
        if process.ending and conf.testing():  # the spool goes with the process
            return
        try:
            self.keep(record)
            worker = process.worker_calls()
            if worker is None:
                return
            flush_level = self.flushLevel if type(self.flushLevel) is int else self.rules.flush_level
            level = record.__dict__.get("levelno")
            if type(level) is not int:
                level = level_of(record)
            worker.notify(urgent=level >= flush_level)
            if self.shouldFlush(record):
                worker.request_flush(self)
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Mail everything that the buffer holds, in this process or any other, whatever the rules say."""
        # logging.shutdown closes what it has flushed, and close() keeps to a deadline.
        if not is_shutdown(sys._getframe(1)) and (worker := process.worker_calls()):
            worker.flush(self.buffer)

    def close(self) -> None:
        """Mail what is new (with ``flushOnClose`` everything) within a few seconds; the rest stays for later.

        A closed handler goes on working: dictConfig closes handlers that are still attached to loggers.
        """
        frame = sys._getframe(1)
        try:
            if is_reconfiguration(frame):
                self.is_taken_away = True
                return
            if process.ending and conf.testing():
                return
            if self.flushOnClose and not process.ending and not is_shutdown(frame):
                self.flush()
            unreported = process.unreported.pop(self.buffer, None) is not None
            if unreported and (worker := process.worker_calls()):
                worker.close(self, everything=self.flushOnClose)
        finally:
            logging.Handler.close(self)

    def forget_sights(self) -> None:
        """What comes next is seen for the first time."""
        self._sights = Sights()

    def twin(self, buffer: str) -> Self:
        """A handler as this one, whose records go to another buffer; no logger has it."""
        twin = copy.copy(self)
        twin._name = buffer  # type: ignore[attr-defined]  # behind the property called name
        twin.forget_sights()
        buffers.register(twin)
        return twin

    def keep(self, record: logging.LogRecord) -> None:
        """Put the record into the spool, and tell no worker."""
        key = fingerprint(record) if self._fingerprint is None else self._own_key(record)
        buffer = self.buffer
        if self._sights.is_first(key):
            captured = capture(record, key, formatter=self.formatter, html=self._html_report())
            if self.context:
                try:
                    context.attach(captured, self._context_key, record)
                except Exception:  # what led to the record is worth less than the record
                    self.handleError(record)
        else:
            captured = capture_repeat(record, key)
        journal.append(self, encode(captured, buffer))
        if process.unreported.get(buffer) is not self:
            process.note(self)

    def _own_key(self, record: logging.LogRecord) -> Key:
        """What the project's function says, if that is a key."""
        try:
            if not callable(self._fingerprint):
                self._fingerprint = cast(Fingerprint, import_string(str(self._fingerprint)))
            key = Key(*self._fingerprint(record))
            own, cause, site = map(_own_part, (key.fingerprint, key.cause, key.site or key.cause))
        except Exception:  # the project's own code: whatever it does, the record is worth more
            return fingerprint(record)
        return Key(own, cause, site, is_free_text=key.is_free_text is True)

    def _html_report(self) -> Callable[[logging.LogRecord], str] | None:
        try:
            target = self.target
        except Exception:  # a wrong target is a system check's business, and no reason to lose the record
            return None
        return target.get_offline_report if target.include_html else None


def _own_part(part: object) -> str:
    """Part of a project's own key; ValueError if it can't be one.

    Keys that MySQL takes for equal are told apart: it looks at neither case nor blanks at the end.
    """
    if not (isinstance(part, str) and part.isascii() and 0 < len(part) <= KEY_LIMIT):
        raise ValueError(f"{part!r} is no part of a key")
    return part if part == part.lower().rstrip() else fingerprint_of(part)


@register("django_maillog")
def check_installed(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The one check that the app can't register, since it is for projects that forgot the app."""
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
