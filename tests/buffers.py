"""A buffer whose records and clock a test drives: real handler, spool, database, queue."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from django_maillog import handlers
from django_maillog.flush import Summary, flush
from django_maillog.intake.importer import import_all
from django_maillog.models import Batch, Group, Record
from django_maillog.outbox.batches import seal
from django_maillog.outbox.options import FlushOptions

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Buffer:
    """One BufferingHandler, and what a test does with it; ``now`` stands still unless it is moved."""

    def __init__(self, name: str = "mail", *, toaddrs: Any = "ada@example.com", **rules: Any) -> None:
        self.now = NOON
        self.handler = handlers.BufferingHandler(**rules)
        self.handler.target = handlers.SMTPHandler(toaddrs=toaddrs)
        self.handler.name = name

    def log(
        self,
        message: str = "Payment failed",
        *,
        fingerprint: str = "",
        level: int = logging.ERROR,
        error: BaseException | None = None,
        times: int = 1,
    ) -> None:
        """Log it now, so many times."""
        for _each in range(times):
            try:
                if error is not None:
                    raise error
                exc_info = None
            except type(error or Exception()):
                exc_info = sys.exc_info()
            record = logging.LogRecord("shop", level, __file__, 1, message, (), exc_info)
            record.created = self.now.timestamp()
            if fingerprint:
                record.fingerprint = fingerprint
            self.handler.handle(record)
        self.handler.close()  # else the end of the test process would mail what is left; it goes on working

    def wait(self, seconds: float) -> None:
        """Move the clock."""
        self.now += timedelta(seconds=seconds)

    def clock(self) -> datetime:
        return self.now

    def import_all(self) -> int:
        return import_all(self.clock)

    def flush(self, **options: Any) -> Summary:
        """Flush this buffer's database by its clock."""
        return flush(FlushOptions(clock=self.clock, **options))

    def seal(self, message: str = "Payment failed", **fields: Any) -> Batch:
        """A sealed batch with one record."""
        self.log(message, **fields)
        self.import_all()
        batch = Batch.objects.get(open_for=self.handler.buffer)
        assert seal(batch, self.now)
        batch.refresh_from_db()
        return batch


def totals() -> dict[str, int]:
    """The number of records as each table counts it: they must agree."""
    return {
        "batches": sum(Batch.objects.values_list("record_count", flat=True)),
        "groups": sum(Group.objects.values_list("count", flat=True)),
        "records": sum(Record.objects.values_list("count", flat=True)),
    }
