"""prune_maillogs over a million old records: how long, and how long at most another writer waits for it.

    python -m tests.benchmarks.prune [--json] [--quick]

Meanwhile a second connection writes a row of its own again and again; a progress bar shows on a terminal.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from datetime import timedelta
from typing import Any

from tests.benchmarks.common import arguments, project, show, timed

PER_BATCH = 1_000


def store(records: int) -> None:
    """Sent batches of two months ago, each of 1,000 records with tracebacks."""
    from django.utils import timezone

    from django_maillog.models import Batch, Group, Record
    from tests.benchmarks.common import TRACEBACK

    then = timezone.now() - timedelta(days=60)
    seen = {"first_seen_at": then, "last_seen_at": then, "episode_at": then}
    group = Group.objects.create(buffer="mail", fingerprint="f", cause="f", level=40, **seen)
    facts: dict[str, Any] = {"first_at": then, "last_at": then, "level": 40, "logger": "shop", "host": "web1"}
    for _batch in range(records // PER_BATCH):
        batch = Batch.objects.create(buffer="mail", status="sent", opened_at=then, sealed_at=then)
        Record.objects.bulk_create(
            Record(batch=batch, group=group, process=1, message="failed", traceback=TRACEBACK[:500], **facts)
            for _each in range(PER_BATCH)
        )


def measure(records: int) -> dict[str, Any]:
    """Prune on SQLite, where every writer waits for every other."""
    with project() as folder:
        from django.core.management import call_command
        from django.db import connection

        from django_maillog.models import Record

        store(records)
        over = threading.Event()
        waits: list[float] = []
        path = connection.settings_dict["NAME"]

        def write() -> None:
            other = sqlite3.connect(path, timeout=60, isolation_level=None)
            other.execute("CREATE TABLE other (id INTEGER)")
            while not over.is_set():
                waits.append(timed(lambda: other.execute("INSERT INTO other VALUES (1)")))
                time.sleep(0.01)
            other.close()

        writer = threading.Thread(target=write)
        writer.start()
        seconds = timed(lambda: call_command("prune_maillogs", stdout=(folder / "out").open("w")))
        over.set()
        writer.join()
        assert not Record.objects.exists()
    waits.sort()
    return {
        "records": records,
        "seconds": seconds,
        "records/s": records / seconds,
        "longest wait of a writer ms": 1000 * waits[-1],
        "p99 ms": 1000 * waits[len(waits) * 99 // 100],
    }


def main() -> None:
    options = arguments(__doc__)
    show([measure(20_000 if options.quick else 1_000_000)], as_json=options.json)


if __name__ == "__main__":
    main()
