"""MemoryHandler: collects in memory, and mails the whole buffer as one digest."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

from .. import digest, policy
from ..capture.captured import CapturedRecord
from ..capture.fingerprint import fingerprint
from ..capture.prepare import capture
from . import arguments, names
from .incoming import Incoming, is_ours
from .lifecycle import is_shutdown
from .smtp import SMTPHandler


@runtime_checkable
class DigestTarget(Protocol):
    """A target that can mail a whole buffer at once."""

    include_html: bool

    def filter(self, record: logging.LogRecord) -> bool | logging.LogRecord: ...
    def send_digest(self, report: digest.Report) -> None: ...
    def get_html_report(self, record: logging.LogRecord) -> str: ...


class MemoryHandler(Incoming, logging.handlers.MemoryHandler):
    """Keeps records until ``capacity`` or one at ``flushLevel``, then hands them to its target.

    An ``SMTPHandler`` gets them as one digest, any other handler record by record. What a target fails to
    take is reported to ``handleError`` and not tried again, since a mail server that failed late may have it.
    """

    def __init__(
        self,
        capacity: int,
        flushLevel: int | str = logging.ERROR,
        target: logging.Handler | str | None = None,
        flushOnClose: bool = True,
    ) -> None:
        super().__init__(
            arguments.capacity(capacity),
            arguments.level("flushLevel", flushLevel),
            None,
            arguments.flag("flushOnClose", flushOnClose),
        )
        if target is not None and not isinstance(target, (logging.Handler, str)):
            raise ValueError(f"target must be a handler or the name of one, not {target!r}.")
        # A name is looked up when it is first needed: dictConfig resolves it only where this class is named
        # by "class".
        self.target: Any = SMTPHandler() if target is None else target

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record, and flush if ``shouldFlush`` says so; an error goes to ``handleError``."""
        if is_ours(record):
            return
        try:
            super().emit(record)
        except Exception:
            self.handleError(record)
        if self.target is None and len(self.buffer) > max(self.capacity, 1):
            del self.buffer[0]  # closed, and still attached to a logger: keep the latest

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

    def _deliver(self, kept: Sequence[logging.LogRecord]) -> None:
        try:
            if isinstance(self.target, str):
                self.target = names.find_any(self.target) or names.find(self.target, SMTPHandler)
        except Exception:
            return self.handleError(kept[-1])
        if isinstance(self.target, DigestTarget):
            return self._deliver_digest(self.target, kept)
        for record in kept:
            try:
                self.target.handle(record)
            except Exception:
                self.handleError(record)
        return None

    def _deliver_digest(self, target: DigestTarget, kept: Sequence[logging.LogRecord]) -> None:
        try:
            values = [
                self._value(target, passed)
                for record in kept
                if (passed := _passed(target, record)) is not None
            ]
            if not values:
                return
            reason = (
                policy.Reason.LEVEL
                if max(value["level"] for value in values) >= self.flushLevel
                else policy.Reason.CAPACITY
            )
            now = datetime.now(UTC)
            target.send_digest(
                digest.summarize(values, buffer=self.name or "maillog", reason=reason, now=now)
            )
        except Exception:
            self.handleError(kept[-1])

    def _value(self, target: DigestTarget, record: logging.LogRecord) -> CapturedRecord:
        html = target.get_html_report if target.include_html else None
        return capture(record, fingerprint(record), formatter=self.formatter, html=html)


def _passed(target: DigestTarget, record: logging.LogRecord) -> logging.LogRecord | None:
    """What the target's filters make of a record; since Python 3.12 they may replace it."""
    result = target.filter(record)
    if isinstance(result, logging.LogRecord):
        return result
    return record if result else None
