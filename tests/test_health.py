"""Whether errors reach people, as a monitoring system asks: each thing that can be wrong, made so."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from django_maillog import health, hosts
from django_maillog.health import Level
from django_maillog.models import Attempt, Batch, Host, Outcome, Segment, Status
from django_maillog.prune import prune
from django_maillog.spool.segment import HOST
from tests.buffers import Buffer
from tests.sites import Site
from tests.smtp import SMTPServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]


@pytest.fixture(autouse=True)
def nothing_noted() -> Iterator[None]:
    """As in a process that has just begun."""
    hosts._noted_at.clear()
    yield
    hosts._noted_at.clear()


@pytest.fixture
def buffer() -> Buffer:
    buffer = Buffer(group_wait=0)
    buffer.now = timezone.now()
    return buffer


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    """The exit status of ``flush_maillogs --check``, and what it prints."""
    with pytest.raises(SystemExit) as ended:
        call_command("flush_maillogs", "--check", *args)
    return int(ended.value.code or 0), capsys.readouterr().out


def test_all_is_well(buffer: Buffer, smtp: SMTPServer, capsys: pytest.CaptureFixture[str]) -> None:
    buffer.log()
    buffer.flush()

    assert run(capsys) == (0, "OK: nothing that is due waits.\n")
    status, printed = run(capsys, "--json")
    found = json.loads(printed)
    assert (status, found["status"], found["reasons"]) == (0, "OK", [])
    assert found["last_sent_seconds"] < 60
    assert found["spool_bytes"] == found["failed"] == found["unconfirmed"] == 0


def test_a_batch_that_nobody_sends(buffer: Buffer, capsys: pytest.CaptureFixture[str]) -> None:
    buffer.log()
    buffer.import_all()
    Batch.objects.update(due_at=timezone.now() - timedelta(minutes=20))

    assert run(capsys) == (2, "CRITICAL: A mail has been due for 20 minutes and nobody sends it.\n")
    assert run(capsys, "--max-age", "3600")[0] == 0


def test_a_mail_that_failed(buffer: Buffer, capsys: pytest.CaptureFixture[str]) -> None:
    batch = buffer.seal()
    Batch.objects.filter(pk=batch.pk).update(status=Status.FAILED)

    assert run(capsys) == (2, "CRITICAL: 1 mails failed for good: retry or cancel them.\n")


def test_a_server_that_is_away(buffer: Buffer, smtp: SMTPServer, capsys: pytest.CaptureFixture[str]) -> None:
    buffer.log()
    smtp.stop()
    buffer.flush()
    Attempt.objects.update(tried_at=timezone.now() - timedelta(hours=2))

    assert run(capsys) == (2, "CRITICAL: Mails can't be delivered for 2 hours.\n")


def test_a_delivery_that_was_cut_off(buffer: Buffer, capsys: pytest.CaptureFixture[str]) -> None:
    batch = buffer.seal()
    long_ago = timezone.now() - timedelta(minutes=30)
    Batch.objects.filter(pk=batch.pk).update(status=Status.SENDING, claimed_until=long_ago)

    said = "A delivery was cut off, and nobody has taken it over for 30 minutes."
    assert run(capsys) == (2, f"CRITICAL: {said}\n")


def test_a_mail_that_is_not_confirmed(buffer: Buffer, capsys: pytest.CaptureFixture[str]) -> None:
    batch = buffer.seal()
    Batch.objects.filter(pk=batch.pk).update(status=Status.SENT, sent_at=timezone.now())
    Attempt.objects.create(batch=batch, tried_at=timezone.now(), outcome=Outcome.UNCONFIRMED)

    assert run(capsys) == (
        1,
        "WARNING: 1 mails of the last day are not confirmed by their mail backend.\n",
    )


def test_a_spool_that_nobody_imports(
    buffer: Buffer, spool_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    buffer.log()
    assert run(capsys)[0] == 0
    (segment,) = spool_dir.glob("*.jsonl")
    long_ago = time.time() - 1000
    os.utime(segment, (long_ago, long_ago))
    status, printed = run(capsys)

    assert status == 2
    assert "bytes in 1 segments of" in printed
    buffer.import_all()
    assert run(capsys)[0] == 0


def test_lines_that_cant_be_imported(
    buffer: Buffer, spool_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    buffer.log()
    (segment,) = spool_dir.glob("*.jsonl")
    with segment.open("ab") as file:
        file.write(b"nonsense\n")
    buffer.import_all()
    status, printed = run(capsys)

    assert status == 1
    assert printed.startswith("WARNING: 1 files with lines that can't be imported are in ")


def test_looking_changes_nothing(buffer: Buffer, spool_dir: Path) -> None:
    buffer.log()
    stale = spool_dir / "half.tmp"
    stale.touch()
    os.utime(stale, (0, 0))
    before = sorted(path.name for path in spool_dir.iterdir())
    health.check()

    assert sorted(path.name for path in spool_dir.iterdir()) == before
    assert not Host.objects.exists()
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    "url",
    ["postgres://nobody@127.0.0.1:1/nothing", "sqlite:////nowhere/db.sqlite3", "mysql://x@127.0.0.1:1/x"],
)
def test_a_database_that_is_away(site: Site, smtp: SMTPServer, url: str) -> None:
    if url.startswith("mysql"):
        pytest.importorskip("MySQLdb", reason="mysqlclient isn't installed")
    site.run("import logging; logging.getLogger('shop').error('x')", env={"MAILLOG_WORKER": "none"})
    done = site.manage("flush_maillogs", "--check", "--json", env={"DATABASE_URL": url}, check=False)
    found = json.loads(done.stdout)

    assert done.returncode == 2
    assert found["reasons"][0]["reason"].startswith("The database can't be used: ")
    assert found["spool_segments"] == 1
    assert "failed" not in found


def test_a_database_without_tables(empty_site: Site) -> None:
    done = empty_site.manage("flush_maillogs", "--check", check=False)

    assert done.returncode == 2
    assert done.stdout.startswith("CRITICAL: The database can't be used: ")


def test_a_flush_notes_its_host_once_a_minute(buffer: Buffer) -> None:
    buffer.flush()
    noted = Host.objects.get()
    assert (noted.name, noted.imported_at) == (HOST, buffer.now)
    buffer.wait(30)
    buffer.flush()
    hosts._noted_at.clear()  # another process
    buffer.flush()
    noted.refresh_from_db()
    assert noted.imported_at == buffer.now - timedelta(seconds=30)

    hosts._noted_at.clear()
    buffer.wait(31)
    buffer.flush()
    noted.refresh_from_db()
    assert noted.imported_at == buffer.now


def test_a_host_that_fell_silent_is_named_until_it_is_forgotten(
    buffer: Buffer, smtp: SMTPServer, capsys: pytest.CaptureFixture[str], admin_client: Any
) -> None:
    Host.objects.create(name="web7", imported_at=timezone.now() - timedelta(days=3))
    assert run(capsys) == (1, "WARNING: Host web7 has not imported for 3 days.\n")
    buffer.log()
    buffer.flush()
    body = smtp.messages[0].get_body(("plain",))
    assert body is not None
    assert body.get_content().startswith("*** Silent for more than a day: web7. ")
    assert "web7" in admin_client.get("/admin/django_maillog/batch/").content.decode()

    Segment.objects.create(id="left", host="web7", process=1, seen_at=timezone.now())
    call_command("flush_maillogs", "--forget-host", "web7")
    assert not Segment.objects.filter(host="web7").exists()
    capsys.readouterr()
    assert run(capsys)[0] == 0
    with pytest.raises(Exception, match="No host is called 'web7'"):
        call_command("flush_maillogs", "--forget-host", "web7")


def test_hosts_are_pruned(buffer: Buffer) -> None:
    now = timezone.now()
    Host.objects.create(name="web7", imported_at=now - timedelta(days=31))
    Host.objects.create(name="web8", imported_at=now - timedelta(days=29))
    prune(now - timedelta(days=30), now)

    assert list(Host.objects.values_list("name", flat=True)) == ["web8"]


def test_failed_mails_are_retried_when_it_is_asked_for(
    buffer: Buffer, smtp: SMTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        batch = buffer.seal(f"failed {number}")
        Batch.objects.filter(pk=batch.pk).update(status=Status.FAILED, last_error="550 no")
    with pytest.raises(SystemExit):
        call_command("flush_maillogs")
    assert smtp.messages == []
    call_command("flush_maillogs", "--retry-failed")

    assert len(smtp.messages) == 3
    assert set(Batch.objects.values_list("status", flat=True)) == {Status.SENT}


def test_another_buffers_failure_is_told_by_a_mail_that_goes_out(buffer: Buffer, smtp: SMTPServer) -> None:
    failed = buffer.seal()
    Batch.objects.filter(pk=failed.pk).update(status=Status.FAILED, last_error="550 no such user")
    other = Buffer("audit")
    other.now = timezone.now()
    other.log()
    other.flush()

    body = smtp.messages[0].get_body(("plain",))
    assert body is not None
    said = "*** 1 earlier mail of buffer mail with 1 record could not be delivered: 550 no such user"
    assert body.get_content().startswith(said)


def test_a_dry_run_names_what_the_spool_would_mail(
    buffer: Buffer, capsys: pytest.CaptureFixture[str], spool_dir: Path
) -> None:
    buffer.log("Payment failed", times=3)
    call_command("flush_maillogs", "--dry-run")
    printed = capsys.readouterr().out

    assert "3 records in the spool would be imported first:\n" in printed
    assert "mail: 3 records to ada@example.com\n" in printed
    assert "ERROR ×3 Payment failed" in printed
    call_command("flush_maillogs", "--dry-run", "--json")
    (mail,) = json.loads(capsys.readouterr().out)["spool"]
    assert (mail["buffer"], mail["records"], mail["recipients"]) == ("mail", 3, ["ada@example.com"])
    assert not Batch.objects.exists()


def test_the_plug_in_for_django_health_check(buffer: Buffer, rf: Any) -> None:
    from health_check.exceptions import ServiceUnavailable, ServiceWarning

    from django_maillog.health_check import MaillogHealthCheck

    MaillogHealthCheck().run()
    Host.objects.create(name="web7", imported_at=timezone.now() - timedelta(days=3))
    with pytest.raises(ServiceWarning, match="web7"):
        MaillogHealthCheck().run()
    batch = buffer.seal()
    Batch.objects.filter(pk=batch.pk).update(status=Status.FAILED)
    with pytest.raises(ServiceUnavailable, match="failed for good"):
        MaillogHealthCheck().run()


def test_the_levels_are_nagios() -> None:
    assert [level.value for level in (Level.OK, Level.WARNING, Level.CRITICAL)] == [0, 1, 2]
