"""Silence for the length of a deploy: counted, not mailed, and told afterwards."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from django_maillog import silences
from django_maillog.models import Batch, Group, Silence
from django_maillog.policy import Reason
from django_maillog.prune import prune
from django_maillog.spool import silenced
from tests.buffers import NOON, Buffer, totals
from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]


def declare(buffer: str = "", match: str = "", *, minutes: int = 30, note: str = "deploy") -> None:
    """Silence from noon on."""
    silences.declare(buffer, match, starts_at=NOON, ends_at=NOON + timedelta(minutes=minutes), note=note)


def text(smtp: SMTPServer, number: int = -1) -> str:
    body = smtp.messages[number].get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def test_what_comes_in_a_silence_is_counted_and_told_by_the_mail_after_it(smtp: SMTPServer) -> None:
    buffer = Buffer()
    declare()
    buffer.log("Payment failed", times=5)
    buffer.flush(everything=False)
    buffer.wait(600)
    buffer.flush(everything=False)
    assert smtp.messages == []

    buffer.wait(1800)
    buffer.log(error=ZeroDivisionError("division by zero"))
    buffer.import_all()
    buffer.wait(30)
    buffer.flush(everything=False)

    (mail,) = smtp.messages
    assert mail["Subject"] == "[Django] ERROR ZeroDivisionError: division by zero"
    assert mail["X-Maillog-Count"] == "6"
    assert "5 records are only counted.\nSilenced " in text(smtp)
    assert ": deploy.\n" in text(smtp)
    assert totals() == {"batches": 6, "groups": 6, "records": 6}


def test_what_was_first_seen_in_a_silence_and_goes_on_is_new(smtp: SMTPServer) -> None:
    buffer = Buffer()
    declare()
    buffer.log("Payment failed")
    buffer.import_all()
    buffer.wait(1900)
    buffer.log("Payment failed")
    buffer.import_all()

    batch = Batch.objects.get()
    assert batch.reason == Reason.NEW
    assert batch.due_at == buffer.now + timedelta(seconds=30)
    buffer.wait(30)
    buffer.flush(everything=False)
    assert text(smtp).startswith("Payment failed\n")
    assert "1 record is only counted.\nSilenced 12:00–12:30: deploy.\n" in text(smtp)


def test_a_known_bug_stays_known(smtp: SMTPServer) -> None:
    buffer = Buffer()
    buffer.now = NOON - timedelta(hours=1)
    buffer.log("Payment failed")
    buffer.flush()
    buffer.now = NOON
    declare()
    buffer.log("Payment failed")
    buffer.import_all()
    buffer.wait(1900)
    buffer.log("Payment failed")
    buffer.import_all()

    assert Batch.objects.open().get().reason == Reason.REPEAT


def test_another_buffer_and_what_doesnt_match_are_mailed(smtp: SMTPServer) -> None:
    mail, audit = Buffer("mail"), Buffer("audit")
    declare("mail", "PAYMENT")
    mail.log("Payment failed")
    mail.log("Login failed")
    audit.log("Payment failed")
    mail.flush()

    subjects = sorted(message["Subject"] for message in smtp.messages)
    assert subjects == ["[Django] ERROR Login failed", "[Django] ERROR Payment failed"]
    assert Group.objects.get(buffer="mail", title="Payment failed").batch is None


def test_the_records_time_counts_not_the_imports(smtp: SMTPServer) -> None:
    buffer = Buffer()
    declare(minutes=10)
    buffer.log("Payment failed")
    buffer.wait(3600)
    buffer.flush(everything=False)

    assert smtp.messages == []
    assert Batch.objects.get().silenced_count == 1


def test_an_end_ends_it(smtp: SMTPServer) -> None:
    buffer = Buffer()
    declare("mail")
    assert not silences.end("", "", NOON + timedelta(minutes=1))
    assert silences.end("mail", "", NOON + timedelta(minutes=1))
    assert not silences.end("mail", "", NOON + timedelta(minutes=2))
    buffer.wait(120)
    buffer.log("Payment failed")
    buffer.flush()

    assert len(smtp.messages) == 1
    assert silenced.read() == []


def test_the_command_declares_lists_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    Buffer("mail").log()
    call_command("silence_maillogs", "mail", "--match", "Payment", "--for", "30m", "--note", "deploy")
    (made,) = Silence.objects.all()
    assert (made.buffer, made.match, made.note) == ("mail", "Payment", "deploy")
    assert made.ends_at - made.starts_at == timedelta(minutes=30)
    assert abs(made.starts_at - timezone.now()) < timedelta(minutes=1)
    assert capsys.readouterr().out.startswith("“Payment” in buffer mail is silenced until ")
    call_command("silence_maillogs")
    assert capsys.readouterr().out.endswith(" (deploy).\n")
    call_command("silence_maillogs", "mail", "--match", "Payment", "--end")
    assert capsys.readouterr().out == "Nothing is silenced.\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nobody", "--for", "1m"], "No buffer is called 'nobody'"),
        (["--for", "1m", "--end"], "give one of them"),
        (["--end"], "Nothing is silenced so"),
        (["--for", "0m"], "is not a time"),
        (["--for", "31d"], "is not a time"),
        (["--for", "soon"], "is not a time"),
    ],
)
def test_what_cant_be_is_refused(args: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("silence_maillogs", *args)
    assert not Silence.objects.exists()


def test_the_admin_says_what_is_silenced(admin_client: object) -> None:
    now = timezone.now()
    silences.declare("", "", starts_at=now, ends_at=now + timedelta(hours=1), note="deploy 42")

    page = admin_client.get("/admin/django_maillog/batch/").content.decode()  # type: ignore[attr-defined]
    assert "Every buffer is silenced until " in page
    assert "deploy 42" in page


def test_old_silences_are_pruned() -> None:
    declare()
    prune(NOON, NOON)
    assert Silence.objects.count() == 1
    prune(NOON + timedelta(hours=1), NOON)
    assert not Silence.objects.exists()


def test_a_flush_tells_its_hosts_processes(spool_dir: Path) -> None:
    """As one that was declared on another host."""
    buffer = Buffer()
    Silence.objects.create(starts_at=NOON, ends_at=NOON + timedelta(minutes=30), note="deploy")
    assert silenced.read() == []
    buffer.flush()
    (found,) = silenced.read()
    assert (found["starts_at"], found["ends_at"]) == (NOON.timestamp(), NOON.timestamp() + 1800)
    buffer.wait(1900)
    buffer.flush()
    assert silenced.read() == []


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"buffer": 1}]', "\x00"])
def test_a_file_that_says_nothing_silences_nothing(spool_dir: Path, content: str) -> None:
    Buffer().log()
    (spool_dir / silenced.NAME).write_text(content)
    assert silenced.read() == []


@pytest.mark.parametrize("is_silenced", [True, False])
def test_a_planned_stop_of_the_database_mails_nothing(
    site: Site, smtp: SMTPServer, *, is_silenced: bool
) -> None:
    """The tables are taken away, which the worker can't tell from a database that is."""
    site.configure_logging(LOGGING)
    site.env["MAILLOG_OUTAGE_WAIT"] = "0.5"
    site.run("import logging; logging.getLogger('shop').error('before')")
    smtp.wait_for(1)
    if is_silenced:
        site.manage("silence_maillogs", "--for", "1h", "--note", "upgrade")
    url = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"}
    process = site.start(
        "import logging, sys, time\n"
        "from django_maillog.worker.thread import worker\n"
        "logging.getLogger('shop').error('in the stop')\n"
        "give_up_at = time.monotonic() + 60\n"
        "while worker.heartbeat.silent_seconds() < 3 and time.monotonic() < give_up_at: time.sleep(0.05)\n"
        "print('away', flush=True)\n"
        "sys.stdin.read()\n",
        env=url,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "away\n"

    assert [message["X-Maillog-Reason"] for message in smtp.messages[1:]] == (
        [] if is_silenced else ["outage"]
    )
