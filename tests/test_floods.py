"""What comes without end: it makes few groups, is never urgent, and hides nothing."""

from __future__ import annotations

import json
import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_maillog import digest
from django_maillog.models import Batch, Group, Record
from django_maillog.outbox import contents
from django_maillog.policy import Kind, Reason
from tests.buffers import NOON, Buffer, totals
from tests.log_records import raised

HOUR = timedelta(hours=1)


def words(number: int) -> list[str]:
    """So many words that have nothing in common."""
    chance = random.Random(5)
    return ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(number)]


def log(buffer: Buffer, message: object, *args: object, line: int = 1, **fields: Any) -> None:
    """Log it from a line of shop.py, with no source to read its template from."""
    record = logging.LogRecord("shop", logging.ERROR, "/srv/shop.py", line, message, args, None)
    record.created = buffer.now.timestamp()
    record.__dict__ |= fields
    buffer.handler.handle(record)
    buffer.handler.close()


def dynamic(name: str) -> BaseException:
    """An exception of a type of its own, always raised by the same line."""

    def fail() -> None:
        raise type(name, (Exception,), {})(name)

    return raised(fail)


@pytest.fixture
def buffer(db: None, spool_dir: object) -> Buffer:
    return Buffer()


def test_one_line_makes_at_most_fifty_groups_an_hour_and_one_of_all_others(buffer: Buffer) -> None:
    for word in words(400):
        log(buffer, f"{word} failed")
    buffer.import_all()

    assert Group.objects.count() == 51
    (overflow,) = Group.objects.filter(kind=Kind.OVERFLOW)
    assert overflow.count == 350
    assert overflow.title.startswith("Many different messages from one line, such as: ")
    assert totals() == {"batches": 400, "groups": 400, "records": 400}
    shown = next(
        group for group in contents.report(Batch.objects.get(), NOON).groups if group.kind is Kind.OVERFLOW
    )
    assert sum(number for _text, number in shown.messages) == 350
    assert len(shown.messages) >= 8


def test_known_groups_of_a_full_line_go_on_and_an_hour_later_it_has_room_again(buffer: Buffer) -> None:
    first, *others = words(200)
    for word in (first, *others[:99]):
        log(buffer, f"{word} failed")
    buffer.import_all()
    known = Group.objects.get(title=f"{first} failed")

    buffer.wait(1800)
    log(buffer, f"{first} failed")
    log(buffer, f"{others[100]} failed")
    buffer.import_all()
    known.refresh_from_db()
    assert known.count == 2
    assert Group.objects.count() == 51

    buffer.wait(1801)
    for word in others[101:]:
        log(buffer, f"{word} failed")
    buffer.import_all()
    assert Group.objects.count() == 101


def test_an_old_segment_is_bounded_as_well(buffer: Buffer) -> None:
    for word in words(200):
        log(buffer, f"{word} failed")
    buffer.wait(6 * 3600)
    buffer.import_all()

    assert Group.objects.count() == 51


def test_segments_that_are_imported_later_than_their_times_share_the_hour(buffer: Buffer) -> None:
    early, late = words(60)[:30], words(60)[30:]
    buffer.wait(600)
    for word in late:
        log(buffer, f"{word} failed")
    buffer.import_all()
    buffer.wait(-600)
    for word in early:
        log(buffer, f"{word} failed")
    buffer.import_all()

    assert Group.objects.count() == 51


@pytest.mark.parametrize("seed", range(3))
def test_two_lines_have_their_share_each(buffer: Buffer, seed: int) -> None:
    calls = [(1, word) for word in words(240)[:120]] + [(2, word) for word in words(240)[120:]]
    random.Random(seed).shuffle(calls)
    for line, word in calls:
        log(buffer, f"{word} failed", line=line)
    buffer.import_all()

    assert Group.objects.count() == 102
    assert sorted(Group.objects.filter(kind=Kind.OVERFLOW).values_list("count", flat=True)) == [70, 70]


def test_templates_from_one_line_are_bounded_too(buffer: Buffer) -> None:
    for number, word in enumerate(words(80)):
        log(buffer, f"{word} of %s failed", number)
    buffer.import_all()

    assert Group.objects.count() == 51


def test_events_from_one_line_are_bounded_too(buffer: Buffer) -> None:
    for word in words(80):
        log(buffer, json.dumps({"event": f"{word} is out"}))
    buffer.import_all()

    assert Group.objects.count() == 51


def test_what_the_project_tells_apart_never_counts(buffer: Buffer) -> None:
    for word in words(80):
        log(buffer, "Payment failed", fingerprint=word)
    buffer.import_all()

    assert Group.objects.count() == 80
    assert not Group.objects.filter(kind=Kind.OVERFLOW).exists()


def test_ever_new_types_from_one_line_are_bounded_and_the_types_of_one_cause_are_not(buffer: Buffer) -> None:
    for word in words(120):
        buffer.log(error=dynamic(word))
    buffer.import_all()

    assert Group.objects.count() == 51
    (overflow,) = Group.objects.filter(kind=Kind.OVERFLOW)
    assert overflow.title.startswith("Many different exceptions from one line, such as: ")
    assert overflow.count == 70


def test_a_bug_in_the_midst_of_a_flood_is_told_in_time_and_first(buffer: Buffer) -> None:
    log(buffer, "quiet before")
    buffer.import_all()
    buffer.wait(30)
    buffer.flush()
    buffer.wait(3600)
    for word in words(60):
        log(buffer, f"{word} failed")
    buffer.import_all()
    buffer.flush(everything=True)
    # Four more urgent mails would be within the budget: a flood uses none of it.
    for round_ in range(30):
        buffer.wait(20)
        for word in words(60 + 20 * round_)[-20:]:
            log(buffer, f"{word} failed")
        buffer.import_all()
        buffer.flush()
    buffer.log(error=ZeroDivisionError("division by zero"))
    buffer.import_all()

    batch = Batch.objects.get(open_for=buffer.handler.buffer)
    assert batch.reason == Reason.NEW
    assert batch.due_at == buffer.now + timedelta(seconds=30)
    assert "ZeroDivisionError" in digest.subject(contents.report(batch, buffer.now))


def test_what_clients_cause_is_never_urgent(buffer: Buffer, rf: Any) -> None:
    log(buffer, "quiet before")
    buffer.import_all()
    buffer.wait(30)
    buffer.flush()
    last_mail_at = buffer.now
    buffer.wait(60)
    record = logging.LogRecord(
        "django.security.DisallowedHost", logging.CRITICAL, "/srv/x.py", 1, "Invalid host", (), None
    )
    record.created = buffer.now.timestamp()
    record.request, record.status_code = rf.get("/wp-login.php"), 400
    buffer.handler.handle(record)
    buffer.import_all()

    batch = Batch.objects.get(open_for=buffer.handler.buffer)
    assert batch.reason == Reason.VARIANT
    assert batch.due_at == last_mail_at + timedelta(seconds=300)


def test_invented_paths_are_one_group_and_hide_no_bug(buffer: Buffer, rf: Any) -> None:
    def refused(path: str, status: int) -> None:
        request = rf.get(path)
        log(buffer, "%s: %s", "Not Found", path, request=request, status_code=status)

    for word in words(3000):
        refused(f"/{word}/{word[::-1]}", 404)
    Buffer.log(buffer, error=ZeroDivisionError("division by zero"))
    buffer.import_all()

    shown = contents.report(Batch.objects.get(), NOON)
    assert [group.title for group in shown.ranked][:1] == ["ZeroDivisionError: division by zero"]


def test_a_flood_of_one_cause_hides_no_other(buffer: Buffer) -> None:
    """More groups than a mail reads, all of one cause, and louder than the one that has another."""
    buffer.log(error=dynamic("Needle"))
    buffer.import_all()
    needle, batch = Group.objects.get(), Batch.objects.get()
    facts = {
        "buffer": needle.buffer,
        "logger": "shop",
        "level": 50,
        "kind": Kind.EXCEPTION,
        "cause": "ml2:one",
        "batch": batch,
        "episode_batch": batch,
        "count": 5,
        "first_seen_at": NOON,
        "last_seen_at": NOON,
        "episode_at": NOON,
    }
    fresh = [Group(fingerprint=f"f{number}", title=f"Loud {number}", **facts) for number in range(300)]
    Group.objects.bulk_create(fresh)
    Record.objects.bulk_create(
        [
            Record(
                batch=batch,
                group=group,
                first_at=NOON,
                last_at=NOON,
                count=5,
                level=50,
                logger="shop",
                host="h",
                process=1,
                message=group.title,
            )
            for group in Group.objects.filter(cause="ml2:one")
        ]
    )
    Batch.objects.update(group_count=301, record_count=1501)

    first, second, *_others = contents.report(Batch.objects.get(), NOON).ranked
    assert first.title.startswith("Loud")
    assert second.title == needle.title
    assert second.sample is not None


def test_a_digest_without_a_database_is_bounded_as_well() -> None:
    value = {"time": NOON.timestamp(), "level": 40, "logger": "shop", "host": "h", "process": 1, "site": "s"}
    values = [
        value | {"message": word, "title": word, "fingerprint": word, "cause": word} for word in words(200)
    ]
    shown = digest.summarize(iter(values), buffer="mail", reason="outage", now=datetime.now(UTC))  # type: ignore[arg-type]

    assert shown.group_count == 51
    assert sorted(group.count for group in shown.groups)[-2:] == [1, 150]
