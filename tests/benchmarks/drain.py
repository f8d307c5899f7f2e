"""Records a second from spool to database, against Django's bulk_create of the rows that this writes.

    python -m tests.benchmarks.drain [--json] [--quick]

"distinct": each record is a group of its own with a traceback; the peer writes the same groups, records and
hourly counts. "storm": 50 fingerprints; the peer writes a row for each repeat. Its instances are made before,
and one transaction takes them all. On PostgreSQL and MariaDB, too, where tests have servers. What was there
before is kept from the garbage collector, whose full passes take longer than a transaction.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

from tests.benchmarks.common import arguments, databases, fill_spool, project, show, timed, value

if TYPE_CHECKING:
    from django.db.models import Model

STORM_GROUPS = 50
STORM_ROWS = 5_000  # that bulk_create writes in a storm
ROUNDS = 3


def measure(kind: str, case: str, records: int) -> dict[str, Any]:
    """One row of the table: the best of a few rounds of each."""
    groups = records if case == "distinct" else STORM_GROUPS
    ours, theirs, longest = [], [], []
    with project(kind):
        for _round in range(ROUNDS):
            seconds, slowest = drain(records, groups)
            ours.append(records / seconds)
            longest.append(slowest)
            theirs.append(bulk_create(stored_rows() if case == "distinct" else storm_rows()))
    return {
        "database": kind,
        "case": case,
        "records": records,
        "ours/s": max(ours),
        "bulk_create/s": max(theirs),
        "ratio": max(ours) / max(theirs),
        "longest transaction ms": 1000 * min(longest),
    }


def drain(records: int, groups: int) -> tuple[float, float]:
    """Seconds for all, and for the longest transaction."""
    from django_maillog import handlers
    from django_maillog.intake import importer
    from django_maillog.intake.importer import import_all
    from django_maillog.models import Batch, Group

    handler = handlers.BufferingHandler()  # else its configuration would be looked for in the segments
    handler.name = "mail"
    Batch.objects.all().delete()
    Group.objects.all().delete()
    fill_spool(records, groups)
    gc.collect()
    gc.freeze()
    commit = importer._Import._commit
    longest = 0.0

    def watched(self: Any, *arguments: Any, **options: Any) -> None:
        nonlocal longest
        start = time.perf_counter()
        commit(self, *arguments, **options)
        longest = max(longest, time.perf_counter() - start)

    importer._Import._commit = watched  # type: ignore[method-assign]
    try:
        return timed(import_all), longest
    finally:
        importer._Import._commit = commit  # type: ignore[method-assign]


def stored_rows() -> list[list[Model]]:
    """What the last drain wrote, and deleted by now."""
    from django_maillog.models import Group, Record, Tally

    models = (Group, Record, Tally)
    rows: list[list[Model]] = [list(model._default_manager.all()) for model in models]
    for group in rows[0]:
        vars(group)["sample_id"] = None  # it can only be known afterwards
    Group.objects.all().delete()
    return rows


def storm_rows() -> list[list[Model]]:
    """A row for each of some of the last drain's repeats."""
    from django_maillog.intake.record_rows import make_row
    from django_maillog.models import Batch, Group, Record

    batch = Batch.objects.get()
    groups = Group.objects.values_list("pk", flat=True)
    shared = [{"group_id": key, "silenced": False} for key in groups]
    numbered = [(number, number % STORM_GROUPS) for number in range(STORM_ROWS)]
    return [[Record(**make_row(batch, value(number, n, full=False)) | shared[n]) for number, n in numbered]]


def bulk_create(rows: list[list[Model]]) -> float:
    """Write rows, a list for each model, in one transaction: records a second."""
    from django.db import transaction

    def write() -> None:
        with transaction.atomic():
            for instances in rows:
                type(instances[0])._default_manager.bulk_create(instances, batch_size=500)

    return len(rows[0]) / timed(write)


def main() -> None:
    options = arguments(__doc__)
    scale = 10 if options.quick else 1
    rows = [
        measure(kind, case, records // scale)
        for kind in databases()
        for case, records in (("distinct", 10_000), ("storm", 100_000))
    ]
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
