"""A flush imports, seals and delivers what it is asked to, and says what is left."""

from __future__ import annotations

import logging
import sys

import pytest
from django.test import override_settings

from django_maillog.models import Batch, Record, Status
from django_maillog.outbox.mails import eml, preview
from django_maillog.spool import lines
from django_maillog.spool.journal import journal
from django_maillog.spool.sources import Source
from tests.buffers import Buffer
from tests.smtp import SMTPServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]


def test_what_is_due_goes_out_and_the_rest_waits(smtp: SMTPServer) -> None:
    buffer = Buffer(group_wait=30)
    buffer.log()

    assert buffer.flush(everything=False).pending == 1
    buffer.wait(30)
    assert buffer.flush(everything=False).sent == 1
    assert smtp.messages[0]["X-Maillog-Reason"] == "new"


def test_everything_goes_out_when_it_is_asked_for(smtp: SMTPServer) -> None:
    buffer = Buffer()
    buffer.log()

    assert buffer.flush().as_dict() == {
        "imported": 1,
        "set_aside": 0,
        "sealed": 1,
        "sent": 1,
        "retrying": 0,
        "failed": 0,
        "pending": 0,
        "sending": 0,
        "left_alone": 0,
    }
    assert smtp.messages[0]["X-Maillog-Reason"] == "flush"


def test_at_the_end_of_a_process_its_news_goes_out_and_repeats_stay(smtp: SMTPServer) -> None:
    buffer = Buffer()
    buffer.log(fingerprint="a")
    assert buffer.flush(everything=False, at_exit=True).sent == 1

    buffer.log(fingerprint="a")
    assert buffer.flush(everything=False, at_exit=True).pending == 1


def test_without_sending_a_flush_imports_and_seals() -> None:
    buffer = Buffer()
    buffer.log()

    summary = buffer.flush(send=False)

    assert (summary.imported, summary.sealed, summary.sent) == (1, 1, 0)
    assert Batch.objects.get().status == Status.READY


def test_a_flush_that_is_told_to_stop_leaves_the_rest_for_the_next(
    smtp: SMTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_maillog.intake.importer.SQLITE_ROWS", 5)
    monkeypatch.setattr("django_maillog.intake.importer.MAX_ROWS", 5)
    buffer = Buffer()
    for number in range(20):
        buffer.log(fingerprint=str(number))

    assert buffer.flush(stop=lambda: True).imported == 5
    assert buffer.flush().imported == 15


def test_news_does_not_wait_for_the_end_of_a_long_import(
    smtp: SMTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["django_maillog.flush"], "NEWS_EVERY_SECONDS", 0)
    monkeypatch.setattr("django_maillog.intake.importer.SQLITE_ROWS", 5)
    monkeypatch.setattr("django_maillog.intake.importer.MAX_ROWS", 5)
    buffer = Buffer()
    buffer.log("at once", level=logging.CRITICAL)
    for number in range(20):
        buffer.log(f"noise {number}", fingerprint=str(number))

    summary = buffer.flush(everything=False)

    assert (summary.imported, summary.sealed, summary.sent) == (21, 1, 1)
    assert smtp.messages[0]["X-Maillog-Count"] == "5"
    assert Batch.objects.get(status=Status.OPEN).record_count == 16


def test_an_idle_flush_asks_the_database_little(django_assert_max_num_queries: object) -> None:
    buffer = Buffer()
    buffer.log()
    buffer.import_all()

    with django_assert_max_num_queries(7):  # type: ignore[operator]
        buffer.flush(everything=False)


def test_a_preview_changes_nothing_and_an_eml_is_the_mail(smtp: SMTPServer) -> None:
    buffer = Buffer()
    buffer.log("Payment failed")
    buffer.import_all()
    batch = Batch.objects.get()

    assert "Payment failed" in preview(batch).text
    assert Batch.objects.get().text == ""
    buffer.flush()
    batch.refresh_from_db()
    assert preview(batch).text == batch.text
    assert str(batch.message_id).encode() in eml(batch).replace(b"\n ", b"")


class Replica:
    """A router whose reads go where nothing has arrived yet."""

    def db_for_read(self, model: type, **hints: object) -> str:
        return "replica"

    def db_for_write(self, model: type, **hints: object) -> str:
        return "default"


def test_a_flush_reads_nothing_from_a_replica(smtp: SMTPServer) -> None:
    buffer = Buffer()
    buffer.log(fingerprint="a", times=5)

    with override_settings(DATABASE_ROUTERS=[f"{__name__}.Replica"]):
        summary = buffer.flush()

    assert summary.sent == 1
    assert smtp.messages[0]["X-Maillog-Count"] == "5"


def test_what_a_receiver_reads_of_a_row_comes_from_no_replica() -> None:
    """Foreign keys, deferred fields and ``refresh_from_db``."""
    buffer = Buffer()
    buffer.log("Payment failed")
    buffer.import_all()

    with override_settings(DATABASE_ROUTERS=[f"{__name__}.Replica"]):
        record = Record.objects.get()
        batch = Batch.objects.defer("buffer").get()
        assert record.group.title == "Payment failed"
        assert batch.buffer == "mail"
        batch.refresh_from_db()


def test_a_segment_that_nobody_foresaw_holds_no_mail_back(
    smtp: SMTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = Buffer()
    buffer.log("before")
    journal.rotate()
    buffer.log("strange")
    real = lines.parse

    def parse(raw: bytes, source: Source) -> lines.Line:
        if b"strange" in raw:
            raise LookupError("nobody foresaw this")
        return real(raw, source)

    monkeypatch.setattr("django_maillog.intake.reader.parse", parse)
    with pytest.raises(LookupError):
        buffer.flush()

    assert "before" in smtp.wait_for(1)[0]["Subject"]
