"""The database's own plan of each query on a hot path: through an index, whatever is stored."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import Exists, Max, OuterRef, QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_maillog.intake.history import load_history
from django_maillog.models import Attempt, Batch, Group, Record, Segment, Status, Tally
from tests.buffers import Buffer
from tests.smtp import SMTPServer

pytestmark = pytest.mark.django_db(transaction=True)  # MySQL's ANALYZE commits
NOW = timezone.now()
# SQLite plans by its schema alone as long as nothing was analysed; servers by what is stored.
ROWS = 400 if connection.vendor == "sqlite" else 2000


@pytest.fixture(autouse=True)
def _rows() -> None:
    """Enough for an index to be worth it; servers are told to count what is stored."""
    batches = Batch.objects.bulk_create(
        Batch(buffer=f"b{number % 3}", status=Status.SENT, opened_at=NOW - timedelta(days=1), sealed_at=NOW)
        for number in range(ROWS)
    )
    groups = Group.objects.bulk_create(
        Group(
            buffer=f"b{number % 3}",
            fingerprint=str(number),
            cause=str(number),
            level=40,
            first_seen_at=NOW,
            last_seen_at=NOW,
            episode_at=NOW,
        )
        for number in range(ROWS)
    )
    batches, groups = list(Batch.objects.order_by("pk")), list(Group.objects.order_by("pk"))
    Record.objects.bulk_create(
        Record(batch=batch, group=group, first_at=NOW, last_at=NOW, level=40, process=number)
        for number, (batch, group) in enumerate(zip(batches, groups, strict=True))
    )
    Tally.objects.bulk_create(Tally(group=group, hour_at=NOW, level=40, count=1) for group in groups)
    Attempt.objects.bulk_create(Attempt(batch=batch, tried_at=NOW, outcome="sent") for batch in batches)
    Segment.objects.bulk_create(Segment(id=str(n), host="h", process=n, seen_at=NOW) for n in range(ROWS))
    if connection.vendor == "sqlite":
        return
    with connection.cursor() as cursor:
        for model in (Batch, Group, Record, Tally, Attempt, Segment):
            table = connection.ops.quote_name(model._meta.db_table)
            cursor.execute(f"ANALYZE {'TABLE ' * (connection.vendor == 'mysql')}{table}")
            if connection.vendor == "mysql":
                cursor.fetchall()


def one_batch() -> Batch:
    return Batch.objects.all()[ROWS // 2]


def some_groups() -> list[int]:
    return [group.pk for group in Group.objects.all()[ROWS // 2 :][:10]]


QUERIES: dict[str, Callable[[], QuerySet[Any, Any]]] = {
    "segment's offset": lambda: Segment.objects.filter(pk__in=["5", "6"]).values_list("pk", "offset"),
    "open batch": lambda: Batch.objects.filter(open_for="b1"),
    "open batches": lambda: Batch.objects.open().filter(record_count__gt=0),
    "history": lambda: (
        Batch.objects.filter(buffer="b7", sealed_at__lte=NOW).order_by("-sealed_at").values("sealed_at")[:100]
    ),
    "known groups": lambda: Group.objects.filter(buffer="b1", fingerprint__in=["1", "4", "7"]).values("pk"),
    "locked groups": lambda: Group.objects.filter(pk__in=some_groups()).order_by("pk"),
    "causes": lambda: (
        Group.objects.filter(buffer="b1", cause__in=["1", "4"])
        .values_list("cause")
        .annotate(Max("last_seen_at"))
    ),
    "stored rows": lambda: Record.objects.filter(batch=one_batch(), group__in=some_groups(), process__in=[5]),
    "rows of a batch": lambda: Record.objects.filter(batch=one_batch(), silenced=False),
    "attempts of a batch": lambda: Attempt.objects.filter(batch=one_batch()),
    "latest groups": lambda: Group.objects.filter(batch=one_batch()).values("pk"),
    "new groups": lambda: Group.objects.filter(episode_batch=one_batch()).values("pk"),
    "deliverable": lambda: Batch.objects.deliverable(NOW).filter(pk__gt=0).order_by("pk").values("pk")[:50],
    "waiting": lambda: Batch.objects.holding_back().filter(buffer="b1"),
    "undelivered": Batch.objects.undelivered,
    "failed": lambda: Batch.objects.filter(status=Status.FAILED),
    "finished long ago": lambda: Batch.objects.finished_before(NOW - timedelta(days=30)).order_by(
        "opened_at"
    ),
    "old hours": lambda: Tally.objects.filter(hour_at__lt=NOW - timedelta(days=30)),
    "old groups": lambda: Group.objects.filter(
        ~Exists(Record.objects.filter(group=OuterRef("pk"))), last_seen_at__lt=NOW - timedelta(days=30)
    ),
}


def full_scans(plan: str) -> list[str]:
    """The steps of a plan that read a whole table."""
    if connection.vendor == "sqlite":
        return re.findall(r"SCAN (?!CONSTANT ROW|\w+ USING)[^\n]*", plan)
    if connection.vendor == "postgresql":
        return re.findall(r"Seq Scan[^\n]*", plan)
    return [line for line in plan.splitlines() if "'ALL'" in line]


def plan_of(query: QuerySet[Any, Any]) -> str:
    if connection.vendor != "mysql":
        return query.explain()
    sql, params = query.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", params)
        return "\n".join(map(str, cursor.fetchall()))


def test_every_hot_query_uses_an_index() -> None:
    plans = {name: plan_of(query()) for name, query in QUERIES.items()}

    assert {name: plan for name, plan in plans.items() if full_scans(plan)} == {}


def test_no_query_of_a_flush_joins_records_with_their_groups(spool_dir: Path, smtp: SMTPServer) -> None:
    # From stale statistics MariaDB started such a join with the groups, and read all that they ever had.
    buffer = Buffer()
    for number in range(3):
        buffer.log(fingerprint=str(number), times=8)

    with CaptureQueriesContext(connection) as queries:
        assert buffer.flush().sent == 1

    assert [each["sql"] for each in queries if " JOIN " in each["sql"]] == []


def test_the_history_is_read_with_one_query(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        history = load_history("b1", NOW)

    assert len(history.sealed) == 100
