"""Whatever a mail server does, every batch arrives once, or fails where a person sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.utils import timezone

from django_maillog.flush import flush, flush_batch
from django_maillog.models import Attempt, Batch, Outcome, Record, Status
from django_maillog.outbox.options import FlushOptions
from tests.buffers import Buffer, totals
from tests.conftest import mailers
from tests.smtp import SMTPServer

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]

HOUR = 4000  # seconds: longer than any back-off


@pytest.fixture
def impatient(settings: Settings, smtp: SMTPServer) -> Callable[..., None]:
    """Configure the mailer: a short time-out, and whatever else its backend takes."""

    def configure(**options: Any) -> None:
        options = {"timeout": 0.5, **options}
        if django.VERSION >= (6, 1):
            settings.MAILERS = mailers(smtp, **options)
            return
        names = {"timeout": "EMAIL_TIMEOUT", "use_tls": "EMAIL_USE_TLS"}
        names |= {"username": "EMAIL_HOST_USER", "password": "EMAIL_HOST_PASSWORD"}
        for name, value in options.items():
            setattr(settings, names[name], value)

    configure()
    return configure


@contextmanager
def away(smtp: SMTPServer) -> Iterator[None]:
    smtp.stop()
    try:
        yield
    finally:
        smtp.start()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def status(batch: Batch) -> str:
    batch.refresh_from_db()
    return batch.status


FAULTS: dict[str, Callable[[SMTPServer], None]] = {
    "hangs after connect": lambda smtp: smtp.hang(at="CONNECT"),
    "hangs in DATA": lambda smtp: smtp.hang(at="DATA"),
    "hangs in RCPT": lambda smtp: smtp.hang(at="RCPT"),
    "421 at connect": lambda smtp: smtp.answer("421 closing", at="CONNECT"),
    "421 in MAIL": lambda smtp: smtp.answer("421 closing", at="MAIL"),
    "450 in RCPT": lambda smtp: smtp.answer("450 greylisted", at="RCPT"),
    "451 in DATA": lambda smtp: smtp.answer("451 later", at="DATA"),
    "drops at connect": lambda smtp: smtp.drop(at="CONNECT"),
    "drops in DATA": lambda smtp: smtp.drop(at="DATA"),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", FAULTS)
def test_what_may_pass_is_tried_again_as_the_same_mail(fault: str, smtp: SMTPServer) -> None:
    buffer = Buffer()
    batch = buffer.seal()
    FAULTS[fault](smtp)

    with within(10):
        summary = buffer.flush()

    assert (summary.sent, summary.retrying, summary.failed) == (0, 1, 0)
    assert (status(batch), batch.attempts, bool(batch.last_error)) == ("ready", 1, True)
    assert buffer.flush(everything=False).retrying == 1  # not before its time
    buffer.wait(HOUR)
    assert buffer.flush().sent == 1
    assert [message["Message-ID"] for message in smtp.messages] == [batch.message_id]
    assert smtp.messages[0]["Date"].datetime == batch.sealed_at
    assert list(Attempt.objects.order_by("pk").values_list("outcome", flat=True)) == ["retry", "sent"]


@pytest.mark.usefixtures("impatient")
def test_a_connection_lost_after_the_text_was_taken_repeats_the_message_id(smtp: SMTPServer) -> None:
    buffer = Buffer()
    batch = buffer.seal()
    smtp.drop(at="ACCEPTED")

    buffer.flush()
    assert (status(batch), batch.handed_over) == ("ready", True)
    buffer.wait(HOUR)
    buffer.log("more")
    buffer.flush()

    first, second, third = smtp.messages
    assert first["Message-ID"] == second["Message-ID"] == batch.message_id
    assert first["Date"] == second["Date"]
    assert first.get_body(("plain",)).get_content() == second.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert third["Message-ID"] != batch.message_id


@pytest.mark.parametrize("answer", ["550 no such user", "554 spam"])
@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_what_can_not_pass_fails_at_once_and_stops_no_other(
    smtp: SMTPServer, answer: str, stage: str
) -> None:
    buffer = Buffer()
    poison = buffer.seal("poison")
    others = [buffer.seal(f"other {number}") for number in range(3)]
    smtp.answer(answer, at=stage)

    summary = buffer.flush()

    assert (summary.sent, summary.retrying, summary.failed) == (3, 0, 1)
    assert (status(poison), answer in poison.last_error) == ("failed", True)
    assert {status(batch) for batch in others} == {"sent"}
    buffer.wait(HOUR)
    assert buffer.flush().failed == 1  # until somebody acts


def test_a_mail_that_is_too_large_goes_out_with_less_and_says_so(smtp: SMTPServer) -> None:
    buffer = Buffer()
    buffer.log("first", fingerprint="same")
    batch = buffer.seal("second", fingerprint="same")
    smtp.answer("552 too large", times=2)

    assert buffer.flush().sent == 1

    [message] = smtp.messages
    assert [part.get_content_type() for part in message.walk()] == ["text/plain"]
    assert "too large: all but its text was left out" in message.get_content()
    assert (message["Message-ID"], status(batch)) == (batch.message_id, "sent")


def test_a_mail_whose_text_alone_is_too_large_fails(smtp: SMTPServer) -> None:
    buffer = Buffer()
    batch = buffer.seal()
    smtp.answer("552 too large", times=None)

    assert buffer.flush().failed == 1

    assert (status(batch), batch.last_error) == ("failed", "552 too large")


def test_a_batch_that_can_not_be_rendered_fails_alone(smtp: SMTPServer) -> None:
    buffer = Buffer()
    poison, other = buffer.seal("poison"), buffer.seal("other")
    Record.objects.filter(batch=poison).update(request=["not", "a", "request"], details="nor details")

    summary = buffer.flush()

    assert (summary.sent, summary.failed) == (1, 1)
    assert (status(poison), status(other)) == ("failed", "sent")


def test_a_bad_address_fails_alone(smtp: SMTPServer) -> None:
    buffer = Buffer()
    poison, other = buffer.seal("poison"), buffer.seal("other")
    Batch.objects.filter(pk=poison.pk).update(recipients=["two@@at.example\r\nBcc: x@example.com"])

    buffer.flush()

    assert (status(poison), status(other)) == ("failed", "sent")
    assert len(smtp.messages) == 1


def test_a_mail_that_only_some_recipients_get_is_sent_and_says_who_did_not(smtp: SMTPServer) -> None:
    buffer = Buffer(toaddrs=["ada@example.com", "alan@example.com"])
    batch = buffer.seal()
    smtp.answer("550 no such user", at="RCPT")

    assert buffer.flush().sent == 1

    assert (status(batch), batch.last_error) == ("sent", "ada@example.com: 550 no such user")
    assert [envelope.rcpt_tos for envelope in smtp.envelopes] == [["alan@example.com"]]


def test_one_connection_serves_all_batches(smtp: SMTPServer) -> None:
    buffer = Buffer()
    for number in range(5):
        buffer.seal(str(number))
    before = smtp.connections

    assert buffer.flush().sent == 5
    assert smtp.connections == before + 1


def test_a_connection_that_the_server_closes_between_two_mails_is_opened_again(smtp: SMTPServer) -> None:
    buffer = Buffer()
    for number in range(3):
        buffer.seal(str(number))
    drops = iter([smtp.drop])

    def clock() -> datetime:
        if len(smtp.messages) == 1 and (drop := next(drops, None)):
            drop(at="MAIL")
        return buffer.now

    assert flush(FlushOptions(clock=clock)).sent == 3
    assert list(drops) == []
    assert Attempt.objects.count() == len(smtp.messages) == 3


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_away_is_asked_once_a_flush(smtp: SMTPServer) -> None:
    buffer = Buffer()
    for number in range(20):
        buffer.seal(str(number))
    smtp.hang(at="CONNECT", times=None)
    before = smtp.connections

    with within(5):
        summary = buffer.flush()

    assert (summary.sent, summary.retrying) == (0, 20)
    assert smtp.connections == before + 1


@pytest.mark.usefixtures("impatient")
def test_hours_without_a_server_end_in_two_mails(smtp: SMTPServer) -> None:
    buffer = Buffer(group_interval=300, repeat_interval=1200)
    with away(smtp):
        for number in range(20):
            buffer.log("the same", fingerprint="same", times=5)
            buffer.log(f"another {number % 7}", fingerprint=str(number % 7))
            buffer.flush(everything=False)
            buffer.wait(300)
        assert not smtp.messages
        assert totals() == {"batches": 120, "groups": 120, "records": 120}
    buffer.wait(HOUR)

    assert buffer.flush(everything=False).sent == 2

    assert [int(message["X-Maillog-Count"]) for message in smtp.messages] == [12, 108]
    assert smtp.messages[1]["X-Maillog-Groups"] == "8"
    assert totals() == {"batches": 120, "groups": 120, "records": 120}


@pytest.mark.usefixtures("impatient")
def test_while_a_mail_waits_for_its_server_the_open_batch_grows(smtp: SMTPServer) -> None:
    buffer = Buffer(group_wait=30)
    with away(smtp):
        waiting = buffer.seal("first", fingerprint="a")
        buffer.flush(everything=False)
        buffer.log("second", fingerprint="b")
        buffer.import_all()
        buffer.wait(31)
        summary = buffer.flush(everything=False)

        assert (summary.sealed, summary.held_back) == (0, 1)
        assert (status(waiting), waiting.attempts) == ("ready", 1)
        assert Batch.objects.open().get().record_count == 1


@pytest.mark.usefixtures("impatient")
def test_news_brings_a_waiting_mail_forward_once_a_minute_and_follows_it_at_once(smtp: SMTPServer) -> None:
    buffer = Buffer(group_wait=30, group_interval=0)
    with away(smtp):
        waiting = buffer.seal("first", fingerprint="a")
        for _each in range(8):  # its next attempt is hours away
            buffer.flush()
            buffer.wait(1)
        buffer.log("second", fingerprint="b")
        buffer.import_all()
        buffer.wait(31)
        buffer.flush(everything=False)
        assert (status(waiting), waiting.attempts) == ("ready", 8)  # tried half a minute ago
        buffer.wait(31)
        buffer.flush(everything=False)
        buffer.flush(everything=False)
        assert (status(waiting), waiting.attempts) == ("ready", 9)
    buffer.wait(60)

    assert buffer.flush(everything=False).sent == 2

    assert smtp.messages[0]["Message-ID"] == waiting.message_id


@pytest.mark.usefixtures("impatient")
def test_who_asks_for_everything_goes_past_the_back_off_and_is_told_of_a_refusal(smtp: SMTPServer) -> None:
    buffer = Buffer()
    with away(smtp):
        waiting = buffer.seal("first", fingerprint="a")
        buffer.flush()
        buffer.log("second", fingerprint="b")
        summary = buffer.flush()
        assert (summary.sealed, summary.held_back, summary.retrying) == (0, 1, 1)
        assert (status(waiting), waiting.attempts) == ("ready", 2)

    summary = buffer.flush()

    assert (summary.sealed, summary.held_back, summary.sent) == (1, 0, 2)


@pytest.mark.usefixtures("impatient")
def test_the_end_of_a_process_tries_what_waits_before_its_own_news(smtp: SMTPServer) -> None:
    buffer = Buffer()
    with away(smtp):
        buffer.seal("first", fingerprint="a")
        buffer.flush()
    buffer.log("second", fingerprint="b")

    assert buffer.flush(everything=False, at_exit=True).sent == 2


@pytest.mark.usefixtures("impatient")
def test_the_admins_button_tries_what_waits_first(smtp: SMTPServer) -> None:
    buffer = Buffer()
    with away(smtp):
        buffer.seal("first", fingerprint="a")
        buffer.flush()
        buffer.log("second", fingerprint="b")
        buffer.import_all()
        asked = Batch.objects.open().get()
        assert flush_batch(asked, FlushOptions(clock=buffer.clock)).status == "open"

    assert flush_batch(asked, FlushOptions(clock=buffer.clock)).status == "sent"

    assert set(Batch.objects.values_list("status", flat=True)) == {"sent"}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("state", ["failed", "cancelled", "another's"])
def test_what_nobody_waits_for_holds_nothing_back(smtp: SMTPServer, state: str) -> None:
    buffer = Buffer(group_interval=300)
    with away(smtp):
        waiting = buffer.seal("first", fingerprint="a")
        buffer.flush()
        buffer.wait(HOUR)
        changes: dict[str, Any] = {"status": state}
        if state == "another's":
            changes = {"recipients": ["gone@example.com"]}
        Batch.objects.filter(pk=waiting.pk).update(**changes)
        buffer.log("second", fingerprint="b")
        buffer.import_all()
        Batch.objects.open().update(due_at=buffer.now)

        assert buffer.flush(everything=False).sealed == 1


@pytest.mark.usefixtures("impatient")
def test_what_a_server_may_have_holds_nothing_back(smtp: SMTPServer) -> None:
    buffer = Buffer()
    given = buffer.seal("given")
    smtp.drop(at="ACCEPTED")
    buffer.flush()
    buffer.log("more")
    buffer.wait(HOUR)

    assert buffer.flush().sent == 2

    assert [message["Message-ID"] for message in smtp.messages].count(given.message_id) == 2
    assert [message["X-Maillog-Count"] for message in smtp.messages] == ["1", "1", "1"]


def test_buffers_with_one_mail_server_share_its_connection_and_its_outage(
    smtp: SMTPServer, impatient: Callable[..., None]
) -> None:
    first = [Buffer(f"buffer {number}") for number in range(8)]
    for buffer in first:
        buffer.seal()
    before = smtp.connections
    smtp.hang(at="CONNECT")

    with within(4):
        assert first[0].flush().retrying == 8
    first[0].wait(HOUR)
    assert first[0].flush().sent == 8
    assert smtp.connections == before + 2


@pytest.mark.parametrize(
    "options",
    [{"use_tls": True}, {"username": "ada", "password": "wrong"}],
    ids=["STARTTLS", "AUTH"],
)
def test_a_mailer_that_lets_nobody_in_is_tried_again(
    impatient: Callable[..., None], smtp: SMTPServer, options: dict[str, Any]
) -> None:
    impatient(**options)
    buffer = Buffer()
    batch = buffer.seal()

    assert buffer.flush().retrying == 1

    assert (status(batch), batch.handed_over, bool(batch.last_error)) == ("ready", False, True)


def test_a_flush_that_is_interrupted_gives_its_claim_back(
    monkeypatch: pytest.MonkeyPatch, smtp: SMTPServer
) -> None:
    buffer = Buffer()
    batch = buffer.seal()

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("django_maillog.outbox.connection.Connection.send", interrupt)
    with pytest.raises(KeyboardInterrupt):
        buffer.flush()

    assert (status(batch), batch.claimed_by) == (Status.READY, "")
    assert Attempt.objects.get().outcome == Outcome.RETRY
    assert batch.next_attempt_at is not None
    assert batch.next_attempt_at < timezone.now()
