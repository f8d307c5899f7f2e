"""What the spool holds is in the tables exactly once, whatever comes in between."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Container, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from django_maillog import moments, silences
from django_maillog.intake import counts, importer, sites, store
from django_maillog.intake.importer import import_all
from django_maillog.models import Batch, Group, Record, Segment, Status, Tally
from django_maillog.outbox import batches
from django_maillog.outbox.contents import report
from django_maillog.plan import known_buffers, spool_plan
from django_maillog.spool.folder import segment_paths
from django_maillog.spool.journal import journal
from django_maillog.spool.segment import SegmentFile
from django_maillog.transactions import Changed
from tests.buffers import NOON, Buffer, totals
from tests.smtp import SMTPServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]


def segment(spool_dir: Path) -> Path:
    return next(spool_dir.glob("*.jsonl"))


def limit_rows(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Make transactions smaller, on every database."""
    for name in ("MAX_ROWS", "SQLITE_ROWS"):
        monkeypatch.setattr(importer, name, rows)


def test_records_become_rows_of_one_open_batch() -> None:
    buffer = Buffer(group_wait=30)
    buffer.log("one", fingerprint="a")
    buffer.wait(5)
    buffer.log("two", fingerprint="b", level=logging.CRITICAL - 1)

    assert buffer.import_all() == 2

    batch = Batch.objects.get()
    assert (batch.status, batch.buffer, batch.open_for) == (Status.OPEN, "mail", "mail")
    assert (batch.record_count, batch.group_count, batch.level) == (2, 2, logging.CRITICAL - 1)
    assert (batch.first_at, batch.last_at) == (NOON, NOON + timedelta(seconds=5))
    assert (batch.due_at, batch.reason) == (buffer.now + timedelta(seconds=30), "new")
    assert list(Record.objects.order_by("pk").values_list("message", "full")) == [
        ("one", True),
        ("two", True),
    ]
    group = Group.objects.get(fingerprint=Record.objects.get(message="one").group.fingerprint)
    assert (group.count, group.batch, group.episode_batch, group.sample) == (
        1,
        batch,
        batch,
        Record.objects.get(message="one"),
    )


def test_a_segment_without_an_owner_is_finished_when_its_file_is_gone() -> None:
    buffer = Buffer()
    buffer.log()
    journal.rotate()
    buffer.log()

    buffer.import_all()

    assert sorted(Segment.objects.values_list("finished_at", flat=True), key=str) == [buffer.now, None]


def test_a_segment_that_ends_in_a_torn_line_is_finished_too(spool_dir: Path) -> None:
    buffer = Buffer()
    buffer.log()
    journal.rotate()
    with segment(spool_dir).open("ab") as file:
        file.write(b'{"time": 1')

    buffer.import_all()

    assert Segment.objects.get().finished_at == buffer.now
    assert not list(spool_dir.glob("*.jsonl"))


def test_nothing_is_imported_twice() -> None:
    buffer = Buffer()
    buffer.log(times=3)

    first = buffer.import_all()
    journal.imported.clear()  # as another process, which knows only what the database says

    assert [first, buffer.import_all()] == [3, 0]
    assert totals() == {"batches": 3, "groups": 3, "records": 3}


def test_repeats_beyond_the_first_few_share_a_row_with_an_exact_count() -> None:
    buffer = Buffer()
    buffer.log("first", fingerprint="a", times=500)
    buffer.wait(60)
    buffer.log("last", fingerprint="a", times=500)

    buffer.import_all()

    fold = Record.objects.get(folded=True)
    assert Record.objects.count() == counts.KEEP + 1
    assert (fold.count, fold.first_at, fold.last_at) == (997, NOON, NOON + timedelta(seconds=60))
    assert fold.messages == {"first": 497, "last": 500}
    assert totals() == {"batches": 1000, "groups": 1000, "records": 1000}


def test_a_process_folds_on_in_its_next_segment() -> None:
    buffer = Buffer()
    for _each in range(5):
        buffer.log(fingerprint="a", times=10)
        journal.rotate()
        buffer.import_all()

    assert Segment.objects.count() == 5
    assert Record.objects.count() == counts.KEEP + 1
    assert Record.objects.get(folded=True).count == 47
    assert totals() == {"batches": 50, "groups": 50, "records": 50}


def test_the_distinct_messages_of_a_fold_are_bounded_and_their_counts_exact() -> None:
    buffer = Buffer()
    for number in range(100):
        buffer.log(f"order {number}", fingerprint="a")

    buffer.import_all()

    messages = Record.objects.get(folded=True).messages
    assert len(messages) <= counts.MAX_MESSAGES + 1
    assert sum(messages.values()) == 97


def test_chunks_are_small_and_together_they_are_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_rows(monkeypatch, 7)
    buffer = Buffer()
    for number in range(100):
        buffer.log(fingerprint=str(number))

    assert len(list(importer.import_chunks(buffer.clock))) >= 100 / 7
    assert totals() == {"batches": 100, "groups": 100, "records": 100}
    assert Batch.objects.get().group_count == 100


def test_groups_that_only_repeat_count_as_rows_of_a_chunk_too(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_rows(monkeypatch, 10)
    buffer = Buffer()
    for times in (counts.KEEP, 1):
        for number in range(40):
            buffer.log(fingerprint=str(number), times=times)

    assert max(chunk.records for chunk in importer.import_chunks(buffer.clock)) == 10
    assert totals() == {"batches": 160, "groups": 160, "records": 160}


def test_keys_that_a_database_takes_for_equal_are_groups_of_their_own() -> None:
    buffer = Buffer(fingerprint=lambda record: (record.getMessage(), record.getMessage()))
    for key in ("abc", "Abc", "ABC", "abc ", "abc"):
        buffer.log(key)

    buffer.import_all()

    assert sorted(Group.objects.values_list("count", flat=True)) == [1, 1, 1, 2]
    assert totals() == {"batches": 5, "groups": 5, "records": 5}


def test_hours_are_counted_by_group_and_level() -> None:
    buffer = Buffer()
    buffer.log(fingerprint="a", times=2)
    buffer.wait(1800)
    buffer.import_all()
    buffer.log(fingerprint="a", times=3)
    buffer.wait(1800)
    buffer.log(fingerprint="a", times=4)
    buffer.import_all()

    found = list(Tally.objects.order_by("hour_at").values_list("hour_at", "level", "count"))

    assert found == [(NOON, logging.ERROR, 5), (NOON + timedelta(hours=1), logging.ERROR, 4)]


def test_an_hour_that_the_clock_repeats_is_one_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "HOUR", 0)  # all hours look the same, as two do without time zones
    buffer = Buffer()
    buffer.log(fingerprint="a")
    buffer.wait(3600)
    buffer.log(fingerprint="a")

    buffer.import_all()

    assert Tally.objects.get().count == 2


def test_importers_and_sealers_at_once_lose_and_repeat_nothing() -> None:
    buffer = Buffer()
    for number in range(8):
        for _each in range(40):
            buffer.log(fingerprint=str(number), times=5)
        journal.rotate()
    over = threading.Event()
    errors: list[BaseException] = []

    def guarded(work: object) -> None:
        try:
            assert callable(work)
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    def seal() -> None:
        while not over.wait(0.005):  # who never pauses can have SQLite's lock for longer than others wait
            for batch in Batch.objects.open():
                batches.seal(batch, timezone.now())

    importers = [
        threading.Thread(target=guarded, args=[lambda: import_all(buffer.clock)]) for _each in range(4)
    ]
    sealer = threading.Thread(target=guarded, args=[seal])
    for thread in [sealer, *importers]:
        thread.start()
    for thread in importers:
        thread.join(30)
    over.set()
    sealer.join(30)

    assert errors == []
    assert totals() == {"batches": 1600, "groups": 1600, "records": 1600}
    for batch in Batch.objects.all():
        assert batch.record_count == sum(batch.records.values_list("count", flat=True))
        assert batch.group_count == batch.records.values("group").distinct().count()


def test_a_sealed_batch_takes_no_more_records() -> None:
    buffer = Buffer()
    first = buffer.seal("one")

    buffer.log("two")
    buffer.import_all()

    first.refresh_from_db()
    assert first.record_count == 1
    assert list(Batch.objects.order_by("pk").values_list("status", "record_count")) == [
        ("ready", 1),
        ("open", 1),
    ]


def test_a_batch_that_is_sealed_during_an_import_makes_it_start_over(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = Buffer()
    buffer.log("one")
    buffer.import_all()
    buffer.log("two", times=5)
    calls: list[str] = []

    def check_sites(scope: counts.Scope, known: Container[str]) -> None:
        calls.append(scope.batch.buffer)
        if len(calls) == 1:
            batches.seal(Batch.objects.get(open_for=scope.batch.buffer), scope.now)
        sites.check_sites(scope, known)

    monkeypatch.setattr(store, "check_sites", check_sites)
    buffer.import_all()

    assert len(calls) == 2
    assert totals() == {"batches": 6, "groups": 6, "records": 6}
    found = Record.objects.filter(message="two").order_by("pk").values_list("folded", "count")
    assert list(found) == [(False, 1)] * counts.KEEP + [(True, 2)]


def test_an_open_batch_that_stayed_empty_is_opened_anew(spool_dir: Path) -> None:
    """As after an importer that was killed before its commit: or its age would have it pruned at once."""
    Batch.objects.create(buffer="elsewhere", open_for="elsewhere", opened_at=NOON - timedelta(days=40))
    buffer = Buffer("elsewhere", toaddrs=["ops@example.com"])
    buffer.log()
    segment(spool_dir)
    now, buffer.handler.name = buffer.now, "gone"

    import_all(lambda: now)
    import_all(lambda: now + timedelta(days=1))

    batch = Batch.objects.get()
    assert (batch.opened_at, batch.recipients, batch.record_count) == (now, ["ops@example.com"], 1)


def test_others_can_write_while_a_chunk_is_read_for(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = Buffer()
    buffer.log("one")
    buffer.import_all()
    buffer.log("two")
    written: list[Segment] = []

    def write() -> None:
        written.append(Segment.objects.create(id="another", host="h", process=1, seen_at=NOON))
        connections.close_all()

    def check_sites(scope: counts.Scope, known: Container[str]) -> None:
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(2)  # SQLite's lock would be waited for much longer
        assert written
        sites.check_sites(scope, known)

    monkeypatch.setattr(store, "check_sites", check_sites)
    buffer.import_all()

    assert totals() == {"batches": 2, "groups": 2, "records": 2}


def resolve(buffer: Buffer) -> None:
    silences.resolve(Group.objects.all(), buffer.now)


def silence(buffer: Buffer) -> None:
    silences.silence(Group.objects.all(), until=None, by="ada", note="", now=buffer.now)


def import_another_segment(buffer: Buffer) -> None:
    """What another importer's transaction does, from the lines to the commit."""
    journal.rotate()
    buffer.log("three", fingerprint="a")
    with SegmentFile.open(max(segment_paths(), key=lambda path: path.stat().st_mtime_ns)) as newest:
        assert [chunk.records for chunk in importer._Import(newest, buffer.clock).run(None)] == [1]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite is read before the transaction")
@pytest.mark.parametrize(
    ("change", "expected"),
    [(resolve, (1, 0, 2)), (silence, (2, 1, 2)), (import_another_segment, (3, 0, 3))],
    ids=["resolved", "silenced", "imported"],
)
def test_what_changes_between_reading_and_writing_is_read_again(
    change: Callable[[Buffer], None], expected: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expected: the group's records since it was new, the batch's silenced ones, and rows of records."""
    buffer = Buffer()
    buffer.log("one", fingerprint="a")
    buffer.import_all()
    buffer.log("two", fingerprint="a")
    commit = importer._Import._commit
    outcomes: list[str] = []

    def watched(self: importer._Import, *arguments: Any, **options: Any) -> None:
        if not outcomes:
            outcomes.append("tried")
            change(buffer)
        try:
            commit(self, *arguments, **options)
            outcomes.append("committed")
        except Changed:
            outcomes.append("changed")
            raise

    monkeypatch.setattr(importer._Import, "_commit", watched)
    buffer.import_all()

    assert outcomes[-2:] == ["changed", "committed"]
    group = Group.objects.earliest("pk")
    assert (group.episode_count, Batch.objects.get().silenced_count, Record.objects.count()) == expected
    assert len(set(totals().values())) == 1


def test_the_line_that_a_database_refuses_is_set_aside_and_all_others_arrive(spool_dir: Path) -> None:
    buffer = Buffer()
    for number in range(10):
        buffer.log(f"order {number} für Grete", fingerprint=str(number))
    path = segment(spool_dir)
    lines = path.read_text().splitlines()
    poison = json.loads(lines[5]) | {"extra": {"limit": float("inf")}}  # JSON in no database
    lines[5] = json.dumps(poison)
    path.write_text("\n".join(lines) + "\n")

    imported = list(importer.import_chunks(buffer.clock))

    assert (sum(chunk.records for chunk in imported), sum(chunk.set_aside for chunk in imported)) == (10, 1)
    assert not Record.objects.filter(message=poison["message"]).exists()
    assert json.loads(path.with_suffix(".lines.bad").read_text()) == poison
    assert totals() == {"batches": 10, "groups": 9, "records": 9}
    assert Batch.objects.get().lost_count == 1
    assert (
        Record.objects.filter(message__endswith="für Grete").count() == 9
    )  # no other line is escaped for it


@pytest.fixture
def row_security() -> Iterator[None]:
    """The connection is an ordinary user's, whose rows PostgreSQL looks at one by one."""
    if connection.vendor != "postgresql":
        pytest.skip("row-level security is PostgreSQL's")
    role = f"maillog_{uuid.uuid4().hex}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}")
        cursor.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        cursor.execute("CREATE POLICY everything ON django_maillog_record USING (true)")
        cursor.execute("ALTER TABLE django_maillog_record ENABLE ROW LEVEL SECURITY")
        cursor.execute(f"SET ROLE {role}")
        try:
            yield
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("ALTER TABLE django_maillog_record DISABLE ROW LEVEL SECURITY")
            cursor.execute("DROP POLICY everything ON django_maillog_record")
            cursor.execute(f"DROP OWNED BY {role}")
            cursor.execute(f"DROP ROLE {role}")


@pytest.mark.usefixtures("row_security")
def test_row_level_security_keeps_nothing_out() -> None:
    buffer = Buffer()
    buffer.log(times=3)

    assert buffer.import_all() == 3
    assert totals() == {"batches": 3, "groups": 3, "records": 3}


@pytest.mark.parametrize(
    ("line", "owner"),
    [
        (b'{"time": 1, "buffer": "audit"', "audit"),
        (b'{"buffer": "nobody\'s", "mess', "mail"),
        (b"\xff\xfe", "mail"),
        (b'{"time": 1e400, "message": "", "fingerprint": "a", "level": 40, "buffer": "audit"}', "audit"),
    ],
)
def test_a_broken_line_counts_as_a_lost_record_of_its_buffer_else_of_one_of_the_segments(
    line: bytes, owner: str, spool_dir: Path
) -> None:
    for name in ("mail", "audit"):
        Buffer(name).log()
    with segment(spool_dir).open("ab") as file:
        file.write(line + b"\n")

    imported = list(importer.import_chunks(timezone.now))

    assert [(chunk.records, chunk.set_aside) for chunk in imported] == [(3, 1)]
    assert set(Batch.objects.values_list("buffer", "record_count", "lost_count")) == {
        (name, 1 + (name == owner), int(name == owner)) for name in ("mail", "audit")
    }
    assert segment(spool_dir).with_suffix(".lines.bad").read_bytes() == line + b"\n"


def test_a_torn_last_line_waits_for_its_end(spool_dir: Path) -> None:
    buffer = Buffer()
    buffer.log("whole")
    whole = segment(spool_dir).read_bytes().splitlines()[-1]
    with segment(spool_dir).open("ab") as file:
        file.write(whole[:50])

    assert [buffer.import_all(), buffer.import_all()] == [1, 0]


def test_records_of_a_silenced_group_are_counted_and_make_nothing_due() -> None:
    buffer = Buffer()
    buffer.log(fingerprint="a")
    buffer.flush()
    silences.silence(Group.objects.all(), until=None, by="ada", note="", now=buffer.now)

    buffer.log(fingerprint="a", times=20, level=logging.CRITICAL)
    buffer.import_all()

    batch = Batch.objects.get(status=Status.OPEN)
    assert (batch.record_count, batch.silenced_count, batch.group_count) == (20, 20, 0)
    assert (batch.due_at, batch.reason) == (None, "")
    assert Group.objects.get().count == 21


def test_a_group_whose_silence_ends_within_a_batch_is_one_of_its_groups() -> None:
    buffer = Buffer()
    buffer.log(fingerprint="a")
    buffer.flush()
    silences.silence(Group.objects.all(), until=None, by="ada", note="", now=buffer.now)
    buffer.log(fingerprint="a")
    buffer.import_all()
    silences.end_silence(Group.objects.all())
    buffer.log(fingerprint="a", times=2)
    buffer.import_all()

    batch = Batch.objects.get(status=Status.OPEN)
    assert (batch.record_count, batch.silenced_count, batch.group_count) == (3, 1, 1)
    assert report(batch, buffer.now).groups[0].count == 2


def test_silence_that_ran_out_is_over() -> None:
    buffer = Buffer()
    buffer.log(fingerprint="a")
    buffer.flush()
    silences.silence(
        Group.objects.all(), until=buffer.now + timedelta(hours=1), by="ada", note="", now=buffer.now
    )
    buffer.wait(3601)
    buffer.log(fingerprint="a")
    buffer.import_all()

    assert Batch.objects.get(status=Status.OPEN).silenced_count == 0


def test_the_next_record_of_a_resolved_group_is_a_regression() -> None:
    buffer = Buffer()
    buffer.log(fingerprint="a")
    buffer.flush()
    silences.resolve(Group.objects.all(), buffer.now)

    buffer.wait(60)
    buffer.log(fingerprint="a")
    buffer.import_all()

    batch = Batch.objects.get(status=Status.OPEN)
    assert batch.reason == "regressed"
    assert Group.objects.get().resolved_at is None
    assert [group.state for group in report(batch, buffer.now).groups] == ["regressed"]


def test_what_a_process_without_the_handler_imports_goes_where_its_owner_said(spool_dir: Path) -> None:
    buffer = Buffer("elsewhere", toaddrs=["ops@example.com"], group_wait=7)
    buffer.log()
    segment(spool_dir)
    now, buffer.handler.name = buffer.now, "gone"

    import_all(lambda: now)

    batch = Batch.objects.get()
    assert (batch.buffer, batch.recipients) == ("elsewhere", ["ops@example.com"])
    assert batch.due_at == now + timedelta(seconds=7)


def test_who_looks_into_the_spool_leaves_it_as_it_is(spool_dir: Path) -> None:
    buffer = Buffer()
    buffer.log(times=3)
    before = segment(spool_dir).read_bytes()

    assert [(mail.buffer, mail.records) for mail in spool_plan()] == [("mail", 3)]
    assert "mail" in known_buffers()
    assert segment(spool_dir).read_bytes() == before
    assert not Segment.objects.exists()


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_is_set_between_import_and_flush_loses_nothing(hours: int) -> None:
    buffer = Buffer(toaddrs=["ada@example.com"])
    buffer.log(times=3)
    buffer.import_all()
    buffer.wait(3600 * hours)
    buffer.log(times=3)

    buffer.flush(everything=False)
    buffer.wait(31)
    buffer.flush(everything=False)

    assert totals() == {"batches": 6, "groups": 6, "records": 6}
    assert not Batch.objects.open().exists() or hours > 0
    assert Batch.objects.filter(status=Status.SENT).count() in (1, 2)


def test_an_importer_that_another_was_faster_with_leaves_no_empty_batch(
    monkeypatch: pytest.MonkeyPatch, smtp: SMTPServer
) -> None:
    """The other imports the chunk, seals and sends while this one is about to."""
    buffers = [Buffer(f"buffer {number}") for number in range(5)]
    for buffer in buffers:
        buffer.log()
    transact = importer._Import._transact

    def late(self: Any, chunk: Any) -> None:
        monkeypatch.setattr(importer._Import, "_transact", transact)
        buffers[0].flush()
        transact(self, chunk)

    monkeypatch.setattr(importer._Import, "_transact", late)
    import_all()

    assert totals() == {"batches": 5, "groups": 5, "records": 5}
    assert set(Batch.objects.values_list("status", "record_count")) == {("sent", 1)}


def test_a_segment_whose_row_is_gone_goes_on_where_its_file_says() -> None:
    """As after ``manage.py flush``, an older dump, or a row that was pruned."""
    buffer = Buffer()
    buffer.log("imported before")
    buffer.import_all()
    Segment.objects.all().delete()
    Batch.objects.all().delete()
    Group.objects.all().delete()
    buffer.log("afterwards")
    buffer.import_all()
    buffer.import_all()

    assert list(Record.objects.values_list("message", flat=True)) == ["afterwards"]
    assert Segment.objects.get().offset > 0


def test_a_file_that_says_more_than_it_holds_is_read_from_its_beginning(spool_dir: Path) -> None:
    buffer = Buffer()
    buffer.log()
    (path,) = segment_paths()
    with SegmentFile.open(path) as segment_file:
        segment_file.note_imported(10**9)
    buffer.import_all()

    assert Record.objects.count() == 1


def test_two_who_import_what_one_mail_reported_have_one_batch_for_it() -> None:
    """A mail straight from the spool reports what every process of its host had logged."""
    mail = {"message_id": "<outage@example.com>", "time": NOON.timestamp(), "recipients": ["ada@example.com"]}
    writes = threading.Event()
    keys: list[int] = []

    def note_a_write(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if sql.startswith("INSERT"):
            writes.set()
        return execute(sql, *args)

    def other() -> None:
        try:
            with connection.execute_wrapper(note_a_write):
                keys.append(store.mailed_batch("mail", mail).pk)
        finally:
            connections.close_all()

    thread = threading.Thread(target=other)
    with transaction.atomic():
        mine = store.mailed_batch("mail", mail)
        thread.start()
        assert writes.wait(30)
    thread.join(30)

    assert keys == [mine.pk]
    assert Batch.objects.get().recipients == ["ada@example.com"]
