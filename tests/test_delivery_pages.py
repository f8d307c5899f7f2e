"""Batches that are claimed together are each delivered once, whatever happens amid their page."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError

from django_maillog.flush import flush
from django_maillog.models import Attempt, Batch, Group, Record
from django_maillog.outbox import claims
from django_maillog.outbox.connection import Connection, Verdict
from tests.buffers import Buffer
from tests.smtp import SMTPServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]

deliver = importlib.import_module("django_maillog.outbox.delivery")


def seal(buffer: Buffer, number: int) -> list[Batch]:
    return [buffer.seal(f"number {each}", fingerprint=str(each)) for each in range(number)]


def states() -> list[tuple[str, int]]:
    return list(Batch.objects.order_by("pk").values_list("status", "attempts"))


def once_sent(smtp: SMTPServer, number: int, action: Callable[[], object]) -> Callable[[], bool]:
    """A function that does something, once, as soon as so many mails have come; whether it has."""
    done = False

    def look() -> bool:
        nonlocal done
        if not done and len(smtp.messages) >= number:
            done = True
            action()
        return done

    return look


def test_pages_grow_while_the_server_is_quick(smtp: SMTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def claim(keys: Sequence[int], now: datetime) -> list[Batch]:
        sizes.append(len(keys))
        return claims.claim(keys, now)

    monkeypatch.setattr(deliver, "claim", claim)
    buffer = Buffer()
    batches = seal(buffer, 12)

    assert buffer.flush().sent == 12
    assert sizes == [1, 1, 2, 4, 4]  # the first one waits for the connection
    assert [message["Message-ID"] for message in smtp.messages] == [batch.message_id for batch in batches]
    assert set(Group.objects.values_list("notified_at", flat=True)) == {buffer.now}


def test_batches_with_many_records_are_not_read_together(
    smtp: SMTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    class Contents(deliver.Contents):  # type: ignore[misc,name-defined]
        def __init__(self, batches: list[Batch]) -> None:
            read.append(len(batches))
            super().__init__(batches)

    monkeypatch.setattr(deliver, "Contents", Contents)
    monkeypatch.setattr(deliver, "PAGE_RECORDS", 3)
    buffer = Buffer()
    seal(buffer, 8)
    Batch.objects.update(record_count=2)

    assert buffer.flush().sent == 8
    assert set(read) == {1}


def test_each_mail_of_a_page_shows_its_own_groups_samples_and_hosts(smtp: SMTPServer) -> None:
    buffer = Buffer()
    for number in range(5):
        buffer.log(f"shared {number}", fingerprint="shared", error=ValueError(f"value {number}"))
        buffer.log(f"own {number}", fingerprint=f"own {number}", times=number)
        buffer.seal(f"last {number}", fingerprint=f"last {number}")
        Record.objects.filter(batch=Batch.objects.latest("pk")).update(host=f"web{number}")

    assert buffer.flush().sent == 5

    for number, message in enumerate(smtp.messages):
        body = message.get_body(("plain",))
        assert body is not None
        text = body.get_content()
        assert message["X-Maillog-Count"] == str(2 + number)
        assert "ValueError: value 0" in text  # the only full capture
        for what in ("shared", "own", "last", "web"):
            shown = {other for other in range(5) if re.search(rf"{what} ?{other}\b", text)}
            assert shown == ({number} if what != "own" or number else set()), what


def test_while_a_server_is_slow_only_the_mail_on_its_way_is_claimed(
    smtp: SMTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[tuple[str, int]], timedelta]] = []

    def keep(batches: Sequence[Batch], now: datetime) -> None:
        claims.keep(batches, now)
        batch = Batch.objects.get(status="sending")
        assert batch.claimed_until is not None
        seen.append((states(), batch.claimed_until - now))

    monkeypatch.setattr(deliver, "keep", keep)
    buffer = Buffer()
    seal(buffer, 12)
    hang = once_sent(smtp, 5, lambda: smtp.hang(at="DATA"))

    def clock() -> datetime:
        hang()
        return buffer.now

    monkeypatch.setattr("django_maillog.outbox.connection.TIMEOUT", 1.0)
    monkeypatch.setattr("django_maillog.outbox.connection.PATIENCE", 0.2)
    summary = flush(clock=clock)

    assert seen == [([("sent", 1)] * 5 + [("sending", 1)] + [("ready", 0)] * 6, claims.LEASE)]
    assert summary.sent == 11
    assert states() == [("sent", 1)] * 5 + [("ready", 1)] + [("sent", 1)] * 6
    assert len(smtp.messages) == Attempt.objects.filter(outcome="sent").count() == 11


def test_a_page_that_takes_longer_than_its_claim_can_be_trusted_is_claimed_anew(smtp: SMTPServer) -> None:
    buffer = Buffer()
    seal(buffer, 12)
    late = once_sent(smtp, 5, lambda: buffer.wait(claims.PAGE_LEASE.total_seconds() * 0.9))

    def clock() -> datetime:
        late()
        return buffer.now

    assert flush(clock=clock).sent == 12
    assert late()
    assert states() == [("sent", 1)] * 12
    assert set(Counter(message["Message-ID"] for message in smtp.messages).values()) == {1}


def test_what_another_has_taken_over_from_a_page_is_left_to_it(smtp: SMTPServer) -> None:
    buffer = Buffer()
    batches = seal(buffer, 12)
    taken: list[Batch] = []

    def take_over() -> None:
        buffer.wait(claims.PAGE_LEASE.total_seconds())
        taken.extend(claims.claim([batch.pk for batch in batches], buffer.now))

    late = once_sent(smtp, 5, take_over)

    def clock() -> datetime:
        late()
        return buffer.now

    flush(clock=clock)

    assert len(smtp.messages) == 5
    assert [batch.status for batch in taken] == ["sending"] * len(taken)
    assert {batch.pk for batch in batches[5:]} <= {batch.pk for batch in taken}
    assert Batch.objects.filter(claimed_by=taken[0].claimed_by).count() == len(taken)


def test_a_flush_that_is_stopped_amid_a_page_gives_the_rest_back(smtp: SMTPServer) -> None:
    buffer = Buffer()
    seal(buffer, 12)

    summary = buffer.flush(stop=lambda: len(smtp.messages) == 6)

    assert summary.sent == 6
    assert states() == [("sent", 1)] * 6 + [("ready", 0)] * 6
    assert buffer.flush().sent == 6


def test_an_interrupt_amid_a_page_leaves_in_doubt_only_the_mail_on_its_way(
    smtp: SMTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = Buffer()
    seal(buffer, 12)
    send = Connection.send

    def interrupted(connection: Connection, mail: Any) -> Verdict:
        if len(smtp.messages) == 6:
            raise KeyboardInterrupt
        return send(connection, mail)

    monkeypatch.setattr("django_maillog.outbox.connection.Connection.send", interrupted)
    with pytest.raises(KeyboardInterrupt):
        buffer.flush()

    assert states() == [("sent", 1)] * 6 + [("ready", 1)] + [("ready", 0)] * 5
    assert Attempt.objects.filter(outcome="retry").count() == 1


def test_a_batch_that_can_not_be_read_fails_alone(smtp: SMTPServer) -> None:
    buffer = Buffer()
    batches = seal(buffer, 12)
    poison = batches[5]
    Record.objects.filter(batch=poison).update(folded=True, messages=["not", "counts"])

    summary = buffer.flush()

    assert (summary.sent, summary.failed) == (11, 1)
    poison.refresh_from_db()
    assert (poison.status, "AttributeError" in poison.last_error) == ("failed", True)


def test_a_mailer_that_goes_away_amid_a_page_is_asked_once_more(smtp: SMTPServer) -> None:
    buffer = Buffer()
    seal(buffer, 12)
    stop = once_sent(smtp, 6, smtp.stop)

    def clock() -> datetime:
        stop()
        return buffer.now

    try:
        summary = flush(clock=clock)
    finally:
        smtp.start()

    assert (summary.sent, summary.retrying) == (6, 6)
    assert states() == [("sent", 1)] * 6 + [("ready", 1)] + [("ready", 0)] * 5


def test_a_wrong_target_fails_even_while_another_mailer_is_away(smtp: SMTPServer) -> None:
    away, wrong = Buffer("away"), Buffer("wrong")
    away.seal()
    wrong.seal()
    wrong.handler.target = "nowhere"
    smtp.stop()

    try:
        summary = away.flush()
    finally:
        smtp.start()

    assert (summary.retrying, summary.failed) == (1, 1)
    assert "nowhere" in Batch.objects.get(buffer="wrong").last_error


def test_outcomes_are_tried_to_be_written_for_a_while(
    smtp: SMTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def settle(done: Sequence[claims.Try]) -> None:
        nonlocal tries
        tries += 1
        raise OperationalError("the database system is shutting down")

    buffer = Buffer()
    seal(buffer, 3)
    monkeypatch.setattr(deliver, "SETTLE_SECONDS", 0.7)
    monkeypatch.setattr(deliver, "settle", settle)

    with pytest.raises(OperationalError, match="shutting down"):
        buffer.flush()

    assert tries >= 2
    assert len(smtp.messages) == 1
    monkeypatch.undo()
    buffer.wait(claims.LEASE.total_seconds())
    assert buffer.flush().sent == 3
    assert len({message["Message-ID"] for message in smtp.messages}) == 3
