"""Records a second from spool to database, against Django's bulk_create of the rows that this writes.

    python -m tests.benchmarks.drain [--json] [--quick]

"distinct": each record is a group of its own with a traceback. "storm": 50 fingerprints, and the rate to beat
is that at which bulk_create writes rows of records. On PostgreSQL and MariaDB, too, where tests have servers.
"""

from __future__ import annotations

import time
from typing import Any

from tests.benchmarks.common import arguments, databases, fill_spool, project, show, timed

STORM_GROUPS = 50
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
            if case == "distinct":
                theirs.append(bulk_create())
                peer_rate = max(theirs)
            else:
                drain(2_000, 2_000)
                theirs.append(bulk_create(records_only=True))
                peer_rate = max(theirs)
    return {
        "database": kind,
        "case": case,
        "records": records,
        "ours/s": max(ours),
        "bulk_create/s": peer_rate,
        "ratio": max(ours) / peer_rate,
        "longest transaction ms": 1000 * min(longest),
    }


def drain(records: int, groups: int) -> tuple[float, float]:
    """Seconds for all, and for the longest transaction."""
    from django_maillog import queue
    from django_maillog.models import Batch, Group
    from django_maillog.queue import intake

    Batch.objects.all().delete()
    Group.objects.all().delete()
    fill_spool(records, groups)
    transact = intake._Import._transact
    longest = 0.0

    def watched(self: Any, chunk: Any) -> None:
        nonlocal longest
        start = time.perf_counter()
        transact(self, chunk)
        longest = max(longest, time.perf_counter() - start)

    intake._Import._transact = watched  # type: ignore[method-assign]
    try:
        return timed(queue.import_all), longest
    finally:
        intake._Import._transact = transact  # type: ignore[method-assign]


def bulk_create(*, records_only: bool = False) -> float:
    """Write what is stored once more, a transaction: records a second."""
    from django.db import transaction

    from django_maillog.models import Group, Record, Tally

    models = [Record] if records_only else [Group, Record, Tally]
    rows = {model: list(model._default_manager.all()) for model in models}
    if not records_only:
        for group in rows[Group]:
            vars(group)["sample_id"] = None  # it can only be known afterwards
        Group.objects.all().delete()
    else:
        Record.objects.all().delete()
    count = len(rows[Record])

    def write() -> None:
        with transaction.atomic():
            for model in models:
                model._default_manager.bulk_create(rows[model], batch_size=500)

    return count / timed(write)


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
