"""The admin with much in the database: few queries a page, and no plan that reads all records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_maillog.models import Attempt, Batch, Group, Outcome, Record, Segment, Status, Tally

BASE = "/admin/django_maillog"
GROUPS, BATCHES, RECORDS = 60, 150, 12_000
MOST_QUERIES = 18
MOST_ROWS = 1_000

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """As small beside these rows as the real ones are beside a million."""
    monkeypatch.setattr("django_maillog.admin.records.WINDOW", 200)
    monkeypatch.setattr("django_maillog.admin.records.MOST_COUNTED", 300)


def populate(now: datetime, groups: int, batches: int, records: int) -> None:
    """Rows as months of ordinary operation leave them: all of a batch close together, few groups frequent."""
    step = timedelta(days=30) / records
    made = [
        Group(
            buffer=f"buffer{number % 3}",
            fingerprint=f"ml2:{number}",
            cause=f"ml2:{number}",
            title=f"ValueError: number {number}",
            level=(40, 40, 40, 30, 50)[number % 5],
            logger=f"app.module{number % 10}",
            first_seen_at=now - timedelta(days=30),
            last_seen_at=now - step * number,
            episode_at=now - timedelta(days=30),
            count=records // groups,
        )
        for number in range(groups)
    ]
    Group.objects.bulk_create(made)
    mails = [
        Batch(
            buffer=f"buffer{number % 3}",
            status=Status.SENT if number < batches - 3 else Status.OPEN,
            open_for=None if number < batches - 3 else f"buffer{number % 3}",
            opened_at=now - timedelta(days=30) * (batches - number) / batches,
            sealed_at=now - timedelta(days=30) * (batches - number - 1) / batches,
            sent_at=now - timedelta(days=30) * (batches - number - 1) / batches
            if number < batches - 3
            else None,
            record_count=records // batches,
            group_count=5,
            level=40,
            subject=f"ValueError: number {number}",
            recipients=["ada@example.com"],
            text="text " * 500 if number < batches - 3 else "",
            html="<p>html</p>" * 1000 if number < batches - 3 else "",
        )
        for number in range(batches)
    ]
    Batch.objects.bulk_create(mails, batch_size=500)
    Attempt.objects.bulk_create(
        [Attempt(batch=batch, tried_at=now, outcome=Outcome.SENT) for batch in mails], batch_size=5_000
    )
    Segment.objects.bulk_create(
        [Segment(id=f"s{n}", host=f"web{n}", process=n, seen_at=now) for n in range(3)]
    )
    for start in range(0, records, 20_000):
        Record.objects.bulk_create(
            [
                Record(
                    batch=mails[number * batches // records],
                    group=made[(number * number) % groups],
                    full=number % 50 == 0,
                    folded=number % 50 == 49,
                    first_at=now - step * (records - number),
                    last_at=now - step * (records - number),
                    level=made[(number * number) % groups].level,
                    logger=made[(number * number) % groups].logger,
                    message=f"number {number} of {records}",
                    host=f"web{number % 3}",
                    process=number % 32,
                    traceback="Traceback\n" * 50 if number % 50 == 0 else "",
                )
                for number in range(start, min(start + 20_000, records))
            ],
            batch_size=5_000,
        )
    hour = now.replace(minute=0, second=0, microsecond=0)
    Tally.objects.bulk_create(
        [
            Tally(group=group, hour_at=hour - timedelta(hours=back), level=group.level, count=back + 1)
            for group in made
            for back in range(0, 14 * 24, 3)
        ],
        batch_size=5_000,
    )
    if connection.vendor == "mysql":
        return  # ANALYZE would commit the test, and InnoDB keeps its statistics by itself
    with connection.cursor() as cursor:
        for model in (Batch, Group, Record, Tally):
            cursor.execute(f"ANALYZE {model._meta.db_table}")


def pages() -> list[str]:
    """Each page, each filter, and the worst that can be asked for."""
    group = Group.objects.order_by("-last_seen_at")[0].pk
    batch = Batch.objects.filter(status=Status.SENT).order_by("-pk")[0].pk
    waiting = Batch.objects.open()[0].pk
    record = Record.objects.order_by("-pk")[0].pk
    return [
        "",
        "batch/",
        "batch/?p=2",
        "batch/?status__exact=sent&buffer=buffer1&level=40&q=number",
        "batch/?opened_at__year=2026&o=7",
        f"batch/{batch}/change/",
        f"batch/{waiting}/change/",
        "group/",
        "group/?state=active&level=40&buffer=buffer1&logger=app.module1&q=number",
        "group/?o=3",
        f"group/{group}/change/",
        "record/",
        "record/?p=3",
        "record/?level=50",
        "record/?level=10",
        "record/?time=24&level=40",
        "record/?time=1",
        f"record/?group={group}",
        f"record/?batch={batch}",
        f"record/?batch={batch}&group={group}",
        "record/?q=nowhere",
        f"record/?q=number&group={group}&host=web1",
        "record/?host=nowhere",
        "record/?logger=app.module3&buffer=buffer2&time=168",
        f"record/{record}/change/",
    ]


@pytest.fixture
def looker() -> Client:
    """Staff with permissions one by one, which costs more queries than a superuser's."""
    user = User.objects.create(username="grace", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="django_maillog"))
    client = Client()
    client.force_login(user)
    return client


def statements(client: Client, path: str) -> Iterator[str]:
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(f"{BASE}/{path}")
    assert answer.status_code == 200, path
    yield from (query["sql"] for query in queries if query["sql"].startswith("SELECT"))


def plan(sql: str) -> list[str]:
    """The lines of the database's plan for a statement."""
    prefix = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute(f"{prefix} {sql}")
        rows = cursor.fetchall()
    if connection.vendor == "mysql":
        return [f"{table} {access}" for _id, _kind, table, access, *_rest in rows]
    return [str(row[-1]) for row in rows]


# A walk along an index in the order that is asked for ends at the LIMIT.
SCAN = re.compile(r"\bSCAN django_maillog_record\b(?! USING (COVERING )?INDEX maillog_record_last)")


def reads_all_records(line: str) -> bool:
    """Whether a line of a plan scans the table of records, or one of its indexes in no order."""
    if connection.vendor == "sqlite":
        return SCAN.search(line) is not None
    return "Seq Scan on django_maillog_record" in line or line == "django_maillog_record ALL"


def test_no_page_takes_many_queries_or_rows_or_reads_all_records(looker: Client) -> None:
    populate(timezone.now(), GROUPS, BATCHES, RECORDS)

    problems = []
    for path in pages():
        found = list(statements(looker, path))
        if len(found) > MOST_QUERIES:
            problems.append(f"{path}: {len(found)} queries")
        for sql in found:
            problems += [f"{path}: {line}: {sql[:400]}" for line in plan(sql) if reads_all_records(line)]
            if "django_maillog_record" in sql and sql.startswith("SELECT COUNT(") and "LIMIT" not in sql:
                problems.append(f"{path} counts: {sql[:400]}")
            with connection.cursor() as cursor:
                cursor.execute(sql)
                if (rows := len(cursor.fetchall())) > MOST_ROWS:
                    problems.append(f"{path}: {rows} rows: {sql[:400]}")

    assert problems == []


def test_the_number_of_queries_does_not_grow_with_the_rows(looker: Client) -> None:
    now = timezone.now()
    populate(now, 5, 10, 100)
    few = {
        path.partition("/")[0]: len(list(statements(looker, path)))
        for path in ("batch/", "group/", "record/")
    }
    Record.objects.all().delete()
    Group.objects.all().delete()
    Batch.objects.all().delete()
    Segment.objects.all().delete()
    populate(now, 50, 100, 1000)

    many = {
        path.partition("/")[0]: len(list(statements(looker, path)))
        for path in ("batch/", "group/", "record/")
    }

    assert many == few
