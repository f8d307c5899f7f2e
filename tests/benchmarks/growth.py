"""Importing and flushing with 1,000,000 records in 10,000 batches stored, against an empty database.

python -m tests.benchmarks.growth [--json] [--quick]
"""

from __future__ import annotations

import statistics
from typing import Any

from tests.benchmarks import prune
from tests.benchmarks.common import arguments, databases, fill_spool, project, show, timed
from tests.benchmarks.flush import mail_server

ROUNDS = 15


def work() -> tuple[float, float]:
    """Median seconds of importing 1,000 records of 50 groups, and of flushing them."""
    from django_maillog.flush import flush
    from django_maillog.intake.importer import import_all

    imports, flushes = [], []
    for _round in range(ROUNDS):
        fill_spool(1_000, 50)
        imports.append(timed(import_all))
        flushes.append(timed(flush))
    return statistics.median(imports), statistics.median(flushes)


def measure(kind: str, records: int) -> dict[str, Any]:
    """Both on one database, before and after it was filled."""
    prune.PER_BATCH = 100
    with project(kind), mail_server():
        empty = work()
        prune.store(records)
        full = work()
    return {
        "database": kind,
        "stored": records,
        "import ms, empty": 1000 * empty[0],
        "full": 1000 * full[0],
        "ratio": full[0] / empty[0],
        "flush ms, empty": 1000 * empty[1],
        "full ": 1000 * full[1],
        "ratio ": full[1] / empty[1],
    }


def main() -> None:
    options = arguments(__doc__)
    kinds = ["sqlite"] if options.quick else list(databases())
    show([measure(kind, 50_000 if options.quick else 1_000_000) for kind in kinds], as_json=options.json)


if __name__ == "__main__":
    main()
