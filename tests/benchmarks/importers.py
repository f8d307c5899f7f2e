"""64 processes that import at once, each a segment of its own: into one buffer, and into a buffer each.

    python -m tests.benchmarks.importers [--json] [--quick]

All records of one buffer have the same 20 groups and one open batch, which each import counts on. On
PostgreSQL and MariaDB, as far as tests have servers (SQLite has one writer at a time). "kept" is the
throughput on one buffer as a part of that on 64; the best of a few rounds of each.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.common import arguments, databases, project, show, value

IMPORTERS = 64
GROUPS = 20
ROUNDS = 3


def measure(kind: str, records: int) -> dict[str, Any]:
    """One row of the table: ``records`` of each importer."""
    with project(kind):
        one = max(storm(records, buffers=1) for _round in range(ROUNDS))
        many = max(storm(records, buffers=IMPORTERS) for _round in range(ROUNDS))
    return {
        "database": kind,
        "records": records * IMPORTERS,
        "one buffer, records/s": one,
        f"{IMPORTERS} buffers, records/s": many,
        "kept": one / many,
    }


def storm(records: int, *, buffers: int) -> float:
    """Records a second, from the moment that all may begin until the last has committed."""
    from django.db import connections
    from django.db.models import Sum

    from django_maillog.models import Batch, Group

    Batch.objects.all().delete()
    Group.objects.all().delete()
    segments = [segment(records, f"mail{number % buffers}") for number in range(IMPORTERS)]
    connections.close_all()
    readable, writable = os.pipe()
    ready, told = os.pipe()
    children = []
    for path in segments:
        if not (pid := os.fork()):
            status = 1
            try:
                os.close(writable)
                import_one(path, told, readable)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    for _child in children:
        os.read(ready, 1)
    start = time.perf_counter()
    for fd in (writable, readable):
        os.close(fd)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * IMPORTERS
    seconds = time.perf_counter() - start
    for fd in (ready, told):
        os.close(fd)
    assert Batch.objects.aggregate(total=Sum("record_count"))["total"] == records * IMPORTERS
    assert Group.objects.aggregate(total=Sum("count"))["total"] == records * IMPORTERS
    return records * IMPORTERS / seconds


def segment(records: int, buffer: str) -> Path:
    """A segment of an owner that is gone, with so many records of a buffer."""
    from django_maillog import handlers
    from django_maillog.capture.prepare import capture_repeat
    from django_maillog.spool.folder import segment_paths
    from django_maillog.spool.journal import journal
    from django_maillog.spool.lines import encode
    from tests.benchmarks.common import repeat

    handler = handlers.BufferingHandler()
    handler.name = buffer
    before = set(segment_paths())
    for number in range(records):
        if number < GROUPS:
            captured = value(number, number, full=True)
        else:
            captured = capture_repeat(*repeat(number, number % GROUPS))
        journal.append(handler, encode(captured, buffer))
    journal.rotate()
    (path,) = set(segment_paths()) - before
    return path


def import_one(path: Path, told: int, may_begin: int) -> None:
    """In a child: connect, wait until all may begin, import."""
    from django.db import connection

    from django_maillog.database_clock import DatabaseClock
    from django_maillog.intake.importer import _Import
    from django_maillog.spool.segment import open_segment

    source = open_segment(path)
    assert source is not None
    connection.ensure_connection()
    os.write(told, b".")
    os.read(may_begin, 1)
    for _chunk in _Import(source, DatabaseClock()).run(None):
        pass
    connection.close()


def main() -> None:
    options = arguments(__doc__)
    records = 100 if options.quick else 1_000
    rows = [measure(kind, records) for kind in databases() if kind != "sqlite"]
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
