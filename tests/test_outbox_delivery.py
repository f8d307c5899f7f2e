"""Batches are delivered one by one, each once, whatever happens amid a flush."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.db import OperationalError

from django_maillog.flush import flush
from django_maillog.handlers import SMTPHandler
from django_maillog.models import Attempt, Batch, Record
from django_maillog.outbox import delivery
from django_maillog.outbox.connection import Connection
from django_maillog.outbox.options import FlushOptions
from django_maillog.outbox.verdicts import Verdict
from tests.buffers import Buffer
from tests.smtp import SMTPServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]


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


def test_a_flush_that_is_stopped_leaves_the_rest_untouched(smtp: SMTPServer) -> None:
    buffer = Buffer()
    seal(buffer, 12)

    summary = buffer.flush(stop=lambda: len(smtp.messages) == 6)

    assert summary.sent == 6
    assert states() == [("sent", 1)] * 6 + [("ready", 0)] * 6
    assert buffer.flush().sent == 6


def test_an_interrupt_amid_a_flush_leaves_in_doubt_only_the_mail_on_its_way(
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


@pytest.mark.parametrize(
    ("extra", "subject"),
    [({"tenant": "acme"}, "[Django] acme: no disk"), ({}, "[Django] ERROR no disk")],
)
def test_a_subject_made_of_what_a_record_may_lack_costs_no_mail(
    extra: dict[str, str], subject: str, smtp: SMTPServer
) -> None:
    class OfTenant(SMTPHandler):
        def getSubject(self, record: logging.LogRecord) -> str:
            return f"{record.tenant}: {record.getMessage()}"  # type: ignore[attr-defined]

    buffer = Buffer()
    buffer.handler.target = OfTenant(toaddrs="ada@example.com")
    buffer.handler.addFilter(lambda record: not vars(record).update(extra))
    buffer.seal("no disk")

    assert buffer.flush().sent == 1

    (message,) = smtp.messages
    assert message["Subject"] == subject
    body = message.get_body(("plain",))
    assert body is not None
    assert ("The project's getSubject() failed" in body.get_content()) is (not extra)


def test_a_mailer_that_goes_away_amid_a_flush_is_asked_once_more(smtp: SMTPServer) -> None:
    buffer = Buffer()
    seal(buffer, 12)
    stop = once_sent(smtp, 6, smtp.stop)

    def clock() -> datetime:
        stop()
        return buffer.now

    try:
        summary = flush(FlushOptions(clock=clock))
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

    def settle(*_settlement: object) -> None:
        nonlocal tries
        tries += 1
        raise OperationalError("the database system is shutting down")

    buffer = Buffer()
    seal(buffer, 3)
    monkeypatch.setattr(delivery, "SETTLE_SECONDS", 0.7)
    monkeypatch.setattr(delivery, "settle", settle)

    with pytest.raises(OperationalError, match="shutting down"):
        buffer.flush()

    assert tries >= 2
    assert len(smtp.messages) == 1
    monkeypatch.undo()
    assert buffer.flush().sent == 3  # the first of them is recorded, not sent again
    assert len(smtp.messages) == 3
