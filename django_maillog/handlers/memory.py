"""MemoryHandler: collects in memory, and mails the whole buffer as one digest."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from .. import digest, policy
from ..capture import context
from ..capture.captured import CapturedRecord
from ..capture.fingerprint import fingerprint
from ..capture.prepare import capture, level_of
from . import arguments, names, scopes
from .incoming import Incoming, is_ours, passed_by
from .lifecycle import is_shutdown
from .smtp import SMTPHandler


class MemoryHandler(Incoming, logging.handlers.MemoryHandler):
    """Keeps records until ``capacity`` or one at ``flushLevel``, then hands them to its target.

    An ``SMTPHandler`` gets them as one digest, any other handler record by record. What a target fails to
    take is reported to ``handleError`` and not tried again, since a mail server that failed late may have it.

    With ``per_request`` each request and each task has a buffer of its own: when it ends, the target gets the
    buffer if a record at ``flushLevel`` is in it, else nobody does. In a digest the records below that level
    are what led to the others. What is logged outside of them is kept in the buffer of the process.
    """

    def __init__(
        self,
        capacity: int,
        flushLevel: int | str = logging.ERROR,
        target: logging.Handler | str | None = None,
        flushOnClose: bool = True,
        *,
        per_request: bool = False,
    ) -> None:
        super().__init__(
            arguments.number("capacity", capacity),
            arguments.level("flushLevel", flushLevel),
            None,
            arguments.flag("flushOnClose", flushOnClose),
        )
        if target is not None and not isinstance(target, (logging.Handler, str)):
            raise ValueError(f"target must be a handler or the name of one, not {target!r}.")
        # A name is looked up when it is first needed: dictConfig resolves it only where this class is named
        # by "class".
        self.target: Any = SMTPHandler() if target is None else target
        self.per_request = arguments.flag("per_request", per_request)
        self._kept_key = object()
        if per_request:
            scopes.connect()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record, and flush if ``shouldFlush`` says so; an error goes to ``handleError``."""
        if is_ours(record):
            return
        try:
            scope = context.current() if self.per_request else None
            if scope is not None and scope.is_open:
                self._keep(scope, record)
            else:
                super().emit(record)
        except Exception:
            self.handleError(record)
        if self.target is None and len(self.buffer) > max(self.capacity, 1):
            del self.buffer[0]  # closed, and still attached to a logger: keep the latest

    def _keep(self, scope: context.Scope, record: logging.LogRecord) -> None:
        """Keep a record of a request or task until that ends; of those without an error the latest."""
        kept: _Kept | None = scope.kept.get(self._kept_key)
        if kept is None:
            kept = scope.kept[self._kept_key] = _Kept()
            scope.at_end.append(partial(self._end, kept, scope.kind))
        kept.records.append(record)
        kept.has_error = kept.has_error or level_of(record) >= self.flushLevel
        if len(kept.records) > max(self.capacity, 1):
            if kept.has_error:
                self._end(kept, scope.kind)
            else:
                kept.records.popleft()

    def _end(self, kept: _Kept, kind: str) -> None:
        """Hand over what a request or task has left, if an error is among it; without the handler's lock."""
        # A copy: another thread of the same request may have the queue in hand, and add to it.
        records, has_error = list(kept.records), kept.has_error
        kept.records, kept.has_error = deque(), False
        if self.target is not None and has_error:
            self._deliver(records, kind)

    def flush(self) -> None:
        """Hand what is in the buffer to the target, once."""
        self.acquire()
        try:
            if self.target is None or (not self.flushOnClose and is_shutdown(sys._getframe(1))):
                return
            # Emptied first, so that nothing is sent twice and a target that keeps failing can't make it grow.
            kept = self.buffer[:]
            self.buffer.clear()
            if kept:
                self._deliver(kept)
        finally:
            self.release()

    def _deliver(self, kept: Sequence[logging.LogRecord], kind: str = "") -> None:
        """Hand over the records of the process, or of a ``kind`` of scope."""
        try:
            if isinstance(self.target, str):
                self.target = names.find_any(self.target) or names.find(self.target)
            if isinstance(self.target, SMTPHandler):
                return self._deliver_digest(self.target, kept, kind)
        except Exception:
            return self.handleError(kept[-1])
        for record in kept:
            try:
                self.target.handle(record)
            except Exception:
                self.handleError(record)
        return None

    def _deliver_digest(self, target: SMTPHandler, kept: Sequence[logging.LogRecord], kind: str) -> None:
        passed = [found for record in kept if (found := passed_by(target, record)) is not None]
        values = self._values(target, passed, kind)
        if not values:
            return
        is_urgent = max(value["level"] for value in values) >= self.flushLevel
        reason = policy.Reason.LEVEL if is_urgent else policy.Reason.CAPACITY
        now = datetime.now(UTC)
        target.send_digest(digest.summarize(values, buffer=self.name or "maillog", reason=reason, now=now))

    def _values(
        self, target: SMTPHandler, kept: Sequence[logging.LogRecord], kind: str
    ) -> list[CapturedRecord]:
        """The records as values; of a scope those below ``flushLevel`` are what led to the next ones."""
        values: list[CapturedRecord] = []
        lines: list[context.Line] = []
        told = 0
        for number, record in enumerate(kept, 1):
            if kind and level_of(record) < self.flushLevel:
                lines.append(context.line_of(record))
                continue
            value = self._value(target, record)
            context.attach_lines(value, kind, lines, record)
            values.append(value)
            told = number
        # What comes after the last of them led to nothing, and is mailed as what it is.
        return values + [self._value(target, record) for record in kept[told:]]

    def _value(self, target: SMTPHandler, record: logging.LogRecord) -> CapturedRecord:
        html = target.get_html_report if target.include_html else None
        return capture(record, fingerprint(record), formatter=self.formatter, html=html)


class _Kept:
    """The records of one request or task."""

    def __init__(self) -> None:
        self.records: deque[logging.LogRecord] = deque()
        self.has_error = False
