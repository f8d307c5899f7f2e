"""Batches are sealed, claimed, settled, retried, cancelled and sent again by the rules of delivery."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise
from uuid import uuid4

import pytest

from django_maillog.flush import flush_batch, next_event
from django_maillog.models import Attempt, Batch, Group, Outcome, Status
from django_maillog.outbox import claims
from django_maillog.outbox.batches import cancel, new_message_id, retry, send_again
from django_maillog.outbox.options import FlushOptions
from django_maillog.outbox.verdicts import Verdict
from django_maillog.plan import plan, problems
from tests.buffers import NOON, Buffer, totals
from tests.smtp import SMTPServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]

AWAY = Verdict(retry=True, handed_over=False, error="away")
LATER = Verdict(retry=True, error="451 later")


def statuses() -> list[str]:
    return list(Batch.objects.order_by("pk").values_list("status", flat=True))


def try_to_send(batch: Batch, verdict: Verdict, buffer: Buffer) -> Outcome:
    claimed = Batch.objects.get(pk=batch.pk)
    attempt = claims.claim(claimed, buffer.now, token=uuid4().hex)
    assert attempt is not None
    return claims.settle(claimed, attempt, verdict, buffer.now)


def claimed(batch: Batch, buffer: Buffer) -> tuple[Batch, Attempt] | None:
    """The batch, claimed as another process would."""
    read = Batch.objects.get(pk=batch.pk)
    attempt = claims.claim(read, buffer.now, token=uuid4().hex)
    return (read, attempt) if attempt else None


def test_a_buffer_with_nobody_to_send_to_keeps_its_records() -> None:
    buffer = Buffer(toaddrs=[])
    buffer.log()

    summary = buffer.flush()

    assert (summary.imported, summary.sealed, summary.pending) == (1, 0, 1)
    assert statuses() == ["open"]
    assert "nobody to send them to" in next(problems())


def test_a_wrong_target_keeps_its_records_and_stops_no_other_buffer(smtp: SMTPServer) -> None:
    wrong, right = Buffer("wrong"), Buffer("right")
    wrong.handler.target = "nowhere"
    wrong.log()
    right.log()

    summary = right.flush()

    assert (summary.sealed, summary.sent, summary.pending) == (1, 1, 1)
    assert [message["X-Maillog-Buffer"] for message in smtp.messages] == ["right"]
    assert "nowhere" in next(problems())
    assert [plan.buffer for plan in plan(now=right.now)] == ["wrong"]


def test_sealing_fixes_what_every_retry_says(smtp: SMTPServer) -> None:
    buffer = Buffer()
    batch = buffer.seal()
    smtp.answer("451 later", times=3)

    for _each in range(4):
        buffer.flush()
        buffer.wait(4000)

    sent = Batch.objects.get(pk=batch.pk)
    message = smtp.messages[0]
    assert (sent.status, sent.attempts) == (Status.SENT, 4)
    assert (message["Message-ID"], message["To"]) == (batch.message_id, "ada@example.com")
    assert message["Date"].datetime == batch.sealed_at


def test_a_batch_is_claimed_once_until_its_lease_runs_out() -> None:
    buffer = Buffer()
    batch = buffer.seal()

    assert claimed(batch, buffer)
    assert not claimed(batch, buffer)
    buffer.wait(claims.LEASE.total_seconds() - 1)
    assert not claimed(batch, buffer)
    buffer.wait(1)
    assert claimed(batch, buffer)


@pytest.mark.parametrize("timeout", [1e300, float("inf"), 10**30])
def test_a_mailer_with_an_endless_time_out_is_claimed_for_the_longest_lease(
    timeout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = Buffer()
    mailer = buffer.handler.target.get_connection()
    monkeypatch.setattr(mailer, "timeout", timeout, raising=False)
    monkeypatch.setattr(type(buffer.handler.target), "get_connection", lambda _self: mailer)

    assert claims.lease_of(buffer.seal()) == claims.LONGEST_LEASE


def test_who_read_the_batch_before_another_claimed_it_does_not_get_it() -> None:
    buffer = Buffer()
    late = buffer.seal()
    try_to_send(late, LATER, buffer)
    buffer.wait(4000)

    assert claims.claim(late, buffer.now, token=uuid4().hex) is None


def test_what_a_killed_process_may_have_handed_over_holds_nothing_back() -> None:
    buffer = Buffer()
    batch = buffer.seal()
    claimed(batch, buffer)
    buffer.wait(claims.LEASE.total_seconds())

    try_to_send(batch, AWAY, buffer)

    batch.refresh_from_db()
    assert batch.handed_over
    assert not Batch.objects.holding_back().exists()
    outcomes = Attempt.objects.order_by("pk").values_list("outcome", flat=True)
    assert list(outcomes) == [Outcome.UNKNOWN, Outcome.RETRY]


@pytest.mark.parametrize(
    "verdict", [Verdict(sent=True), AWAY, Verdict(error="550 no")], ids=lambda v: v.error
)
def test_who_lost_its_claim_changes_nothing_but_the_list_of_attempts(verdict: Verdict) -> None:
    buffer = Buffer()
    batch = buffer.seal()
    slow = claimed(batch, buffer)
    buffer.wait(claims.LEASE.total_seconds())
    fast = claimed(batch, buffer)
    assert slow is not None
    assert fast is not None

    outcome = claims.settle(*slow, verdict, buffer.now)

    batch.refresh_from_db()
    assert (batch.status, batch.claimed_by) == (Status.SENDING, fast[0].claimed_by)
    outcomes = Attempt.objects.order_by("pk").values_list("outcome", flat=True)
    assert list(outcomes) == [outcome, Outcome.UNKNOWN]


def test_retries_wait_a_minute_then_twice_as_long_each_time_up_to_an_hour() -> None:
    buffer = Buffer()
    batch = buffer.seal()
    waits = []
    for _each in range(10):
        assert try_to_send(batch, LATER, buffer) is Outcome.RETRY
        batch.refresh_from_db()
        assert batch.next_attempt_at is not None
        waits.append((batch.next_attempt_at - buffer.now).total_seconds())
        buffer.now = batch.next_attempt_at

    assert 54 <= waits[0] <= 66
    assert all(1.5 < later / earlier < 2.5 for earlier, later in pairwise(waits[:6]))
    assert all(3240 <= wait <= 3960 for wait in waits[6:])
    assert len(set(waits)) == 10


def test_after_four_days_of_retries_a_batch_has_failed() -> None:
    buffer = Buffer()
    batch = buffer.seal()
    tries = 0
    while try_to_send(batch, LATER, buffer) is Outcome.RETRY:
        tries += 1
        buffer.wait(4000)

    assert tries * 4000 == pytest.approx(4 * 86_400, rel=0.02)
    assert statuses() == ["failed"]
    assert buffer.flush().failed == 1
    assert "451 later" in next(problems())


def test_a_person_can_retry_for_four_more_days_under_the_same_date() -> None:
    buffer = Buffer()
    batch = buffer.seal()
    buffer.wait(5 * 86_400)
    try_to_send(batch, LATER, buffer)

    assert retry(batch, buffer.now)
    assert try_to_send(batch, LATER, buffer) is Outcome.RETRY

    sealed_at = batch.sealed_at
    batch.refresh_from_db()
    assert batch.sealed_at == sealed_at


@pytest.mark.parametrize(
    ("status", "may"),
    [
        ("open", True),
        ("ready", True),
        ("failed", True),
        ("sending", False),
        ("sent", False),
        ("cancelled", False),
    ],
)
def test_only_what_has_not_gone_out_can_be_cancelled(status: str, may: bool) -> None:
    buffer = Buffer()
    batch = buffer.seal()
    Batch.objects.update(status=status)

    assert cancel(batch, NOON) is may
    assert statuses() == ["cancelled" if may else status]


def test_after_an_open_batch_is_cancelled_the_next_record_opens_another() -> None:
    buffer = Buffer()
    buffer.log()
    buffer.import_all()
    assert cancel(Batch.objects.get(), NOON)

    buffer.log()
    buffer.import_all()

    assert statuses() == ["cancelled", "open"]


def test_sending_again_repeats_the_mail_and_counts_no_record_twice(smtp: SMTPServer) -> None:
    buffer = Buffer()
    batch = buffer.seal()
    buffer.flush()
    batch.refresh_from_db()

    copy = send_again(batch, buffer.now)
    assert copy is not None
    flush_batch(copy, FlushOptions(clock=buffer.clock))

    first, second = smtp.messages
    assert first["Subject"] == second["Subject"]
    assert first["Message-ID"] != second["Message-ID"]
    assert [message["X-Maillog-Count"] for message in smtp.messages] == ["1", "0"]
    assert totals() == {"batches": 1, "groups": 1, "records": 1}


def test_what_is_not_finished_can_not_be_sent_again() -> None:
    buffer = Buffer()

    assert send_again(buffer.seal(), buffer.now) is None


def test_one_batch_can_be_flushed_alone(smtp: SMTPServer) -> None:
    one, other = Buffer("one"), Buffer("other")
    one.log()
    other.log()
    one.import_all()

    flushed = flush_batch(Batch.objects.get(buffer="one"), FlushOptions(clock=one.clock))

    assert (flushed.status, flushed.reason) == (Status.SENT, "flush")
    assert statuses() == ["sent", "open"]
    assert len(smtp.messages) == 1


def test_groups_know_when_they_were_mailed(smtp: SMTPServer) -> None:
    buffer = Buffer()
    buffer.log(fingerprint="a")
    buffer.log(fingerprint="b")
    buffer.flush()

    assert set(Group.objects.values_list("notified_at", flat=True)) == {buffer.now}


@pytest.mark.usefixtures("smtp")
def test_a_clock_set_back_by_days_holds_no_sealed_batch_back() -> None:
    buffer = Buffer()
    buffer.wait(10 * 86_400)
    buffer.seal()
    buffer.wait(-10 * 86_400)

    assert buffer.flush(everything=False).sent == 1


@pytest.mark.usefixtures("smtp")
def test_a_clock_set_back_gives_a_running_delivery_its_lease_and_no_more() -> None:
    buffer = Buffer()
    buffer.wait(10 * 86_400)
    batch = buffer.seal()
    claimed(batch, buffer)
    buffer.wait(-10 * 86_400)

    assert buffer.flush().sent == 0
    buffer.wait(claims.LEASE.total_seconds())
    assert buffer.flush().sent == 1


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_no_open_batch_waits_for_ever_after_the_clock_was_set(smtp: SMTPServer, days: int) -> None:
    buffer = Buffer(group_wait=30, repeat_interval=14_400)
    buffer.log()
    buffer.import_all()
    buffer.wait(days * 86_400)

    buffer.flush(everything=False)

    assert len(smtp.messages) == 1


def test_the_next_event_is_the_earliest_of_all_kinds_of_waiting() -> None:
    buffer = Buffer(group_wait=30, group_interval=0)
    assert next_event() is None
    sealed = buffer.seal()
    buffer.log(fingerprint="another")
    buffer.import_all()

    assert next_event() == sealed.next_attempt_at
    try_to_send(sealed, LATER, buffer)
    assert next_event() == buffer.now + timedelta(seconds=30)
    sealed.refresh_from_db()
    assert next_event(buffer.now + timedelta(seconds=30)) == sealed.next_attempt_at
    assert next_event(buffer.now + timedelta(hours=5)) is None


def test_the_line_of_a_message_id_is_not_folded() -> None:
    name = new_message_id(str(10**12), "Shop <errors@mail.shop.example.com>")

    assert re.fullmatch(r"<maillog-1000000000000\.[0-9a-f]{16}@mail\.shop\.example\.com>", name)
    assert len(f"Message-ID: {name}") <= 78
    assert name != new_message_id(str(10**12), "Shop <errors@mail.shop.example.com>")
