"""flush_maillogs and prune_maillogs: what they print, what they change, and how they exit."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import signal
import sys
import termios
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone, translation

from django_maillog.management.commands import flush_maillogs
from django_maillog.models import Batch, Group, Record, Segment, Silence, Status
from django_maillog.prune import Pruner, prune
from tests.buffers import Buffer
from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

OLD_HOSTS = """
from datetime import UTC, datetime
from django_maillog.models import Host
old = datetime(2000, 1, 1, tzinfo=UTC)
Host.objects.bulk_create(Host(name=str(number), imported_at=old) for number in range(300))
"""
KEYS = ["imported", "set_aside", "sealed", "sent", "retrying", "failed", "pending", "sending", "left_alone"]
THREE_KINDS = """
import logging
log = logging.getLogger("shop")
for number in range(20):
    log.error("Payment %s failed", number)
for number in range(4):
    log.error("Mail bounced: %s", number)
try:
    {}["order"]
except KeyError:
    log.exception("No order")
"""

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]


def run(*args: str, **options: Any) -> str:
    output = StringIO()
    call_command(*args, stdout=output, stderr=output, **options)
    return output.getvalue()


def live_buffer(name: str = "mail", **rules: Any) -> Buffer:
    """One whose clock agrees with the command's."""
    buffer = Buffer(name, **rules)
    buffer.now = timezone.now()
    return buffer


def test_25_errors_of_3_kinds_are_one_mail(site: Site, smtp: SMTPServer) -> None:
    site.run(THREE_KINDS, env={"MAILLOG_WORKER": "none"})

    done = site.manage("flush_maillogs", "--json")

    assert json.loads(done.stdout) == dict(zip(KEYS, [25, 0, 1, 1, 0, 0, 0, 0, 0], strict=True))
    (message,) = smtp.messages
    assert (message["X-Maillog-Count"], message["X-Maillog-Groups"]) == ("25", "3")


def test_json_has_these_keys_and_no_others(smtp: SMTPServer) -> None:
    assert list(json.loads(run("flush_maillogs", "--json"))) == KEYS


def test_people_are_told_in_a_sentence(smtp: SMTPServer) -> None:
    buffer = live_buffer()
    buffer.log(times=2)

    assert run("flush_maillogs") == (
        "2 records imported, 1 batch sealed, 1 sent, 0 to be tried again, 0 failed; 0 records pending.\n"
    )


def test_a_line_that_nobody_can_read_is_told_of_and_counts_as_lost(spool_dir: Path, smtp: SMTPServer) -> None:
    live_buffer().log(times=2)
    (path,) = spool_dir.glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"time": 1, "message": "cut sh')
        file.write(b'rt", "buffer": "mail"\n')

    output = StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("flush_maillogs", stdout=output, stderr=output)

    (message,) = smtp.messages
    assert output.getvalue().startswith("3 records imported, 1 batch sealed, 1 sent")
    assert f"1 line of the spool can't be imported: kept in *.lines.bad in {spool_dir}" in output.getvalue()
    assert message["X-Maillog-Count"] == "3"
    body = message.get_body(("plain",))
    assert body is not None
    assert "1 record could not be kept" in body.get_content()


def test_what_is_not_due_stays_for_cron(smtp: SMTPServer) -> None:
    buffer = live_buffer(flushLevel=logging.CRITICAL)
    buffer.log()
    assert json.loads(run("flush_maillogs", "--due", "--json"))["pending"] == 1

    buffer.log(level=logging.CRITICAL)
    assert json.loads(run("flush_maillogs", "--due", "--json"))["sent"] == 1
    assert smtp.messages[0]["X-Maillog-Reason"] == "level"


def test_only_the_named_buffers_are_sent_but_all_are_imported(smtp: SMTPServer) -> None:
    buffers = [live_buffer("one"), live_buffer("two")]
    for buffer in buffers:
        buffer.log()

    summary = json.loads(run("flush_maillogs", "two", "--json"))

    assert (summary["imported"], summary["sent"], summary["pending"]) == (2, 1, 0)
    assert [message["X-Maillog-Buffer"] for message in smtp.messages] == ["two"]
    assert Batch.objects.get(buffer="one").status == Status.OPEN


def test_a_buffer_that_only_the_spool_knows_is_known(smtp: SMTPServer) -> None:
    buffer = live_buffer("elsewhere")
    buffer.log()
    buffer.handler.name = "here"

    assert json.loads(run("flush_maillogs", "elsewhere", "--json"))["sent"] == 1


def test_a_wrong_name_is_answered_with_the_right_ones() -> None:
    buffers = [live_buffer("payments"), live_buffer("mail_admins")]

    with pytest.raises(CommandError) as caught:
        run("flush_maillogs", "payment")

    assert buffers
    assert "No buffer is called 'payment'. There is:" in str(caught.value)
    assert "'mail_admins'" in str(caught.value)
    assert "'payments'" in str(caught.value)


def test_a_dry_run_says_what_would_be_sent_and_changes_nothing(smtp: SMTPServer, spool_dir: Any) -> None:
    buffer = live_buffer(toaddrs=["ada@example.com", "alan@example.com"])
    buffer.log(times=3)
    buffer.import_all()
    buffer.log(times=2)
    rows, files = list(Batch.objects.values()), sorted(path.read_bytes() for path in spool_dir.iterdir())

    output = run("flush_maillogs", "--dry-run")

    assert output.startswith("mail: 3 records to ada@example.com, alan@example.com\n    ")
    assert output.endswith(
        "2 records in the spool would be imported first:\n"
        "mail: 2 records to ada@example.com, alan@example.com\n    [Django] ERROR ×2 Payment failed\n"
    )
    assert list(Batch.objects.values()) == rows
    assert sorted(path.read_bytes() for path in spool_dir.iterdir()) == files
    assert not smtp.messages


def test_a_dry_run_makes_no_folder(spool_dir: Any) -> None:
    assert run("flush_maillogs", "--dry-run") == "Nothing that is imported would be sent.\n"
    assert not spool_dir.exists()


def test_a_dry_run_can_be_read_by_programs() -> None:
    buffer = live_buffer()
    buffer.log(times=3)
    buffer.import_all()

    planned = json.loads(run("flush_maillogs", "--dry-run", "--json"))

    assert planned["spooled"] == 0
    assert [(mail["buffer"], mail["records"], mail["recipients"]) for mail in planned["mails"]] == [
        ("mail", 3, ["ada@example.com"])
    ]


def test_the_exit_status_is_1_while_a_mail_is_retried_or_failed(smtp: SMTPServer) -> None:
    buffer = live_buffer()  # kept: it is the newest of its name while it lives
    buffer.log()
    smtp.answer("451 later")
    smtp.answer("550 no")

    for _each in range(2):
        with pytest.raises(SystemExit) as caught:
            run("flush_maillogs")
        assert caught.value.code == 1
        Batch.objects.filter(status=Status.READY).update(next_attempt_at=timezone.now())
    with pytest.raises(SystemExit):
        run("flush_maillogs")
    assert Batch.objects.get().status == Status.FAILED


def test_no_text_of_others_reaches_the_terminal_as_a_control_sequence(smtp: SMTPServer) -> None:
    buffer = live_buffer()
    buffer.log("\x1b]0;owned\x07\u202e")
    smtp.answer("550 no")
    with pytest.raises(SystemExit):
        run("flush_maillogs")
    Batch.objects.update(last_error="550 \x1b[2J\x9b31m")
    buffer.log("\x1b]0;owned\x07\u202e")
    buffer.import_all()

    output = StringIO()
    call_command("flush_maillogs", "--dry-run", stdout=output, stderr=output)
    with pytest.raises(SystemExit):
        call_command("flush_maillogs", "--due", stdout=output, stderr=output)

    assert not set("\x1b\x07\x9b\u202e") & set(output.getvalue())
    assert "\\x1b[2J" in output.getvalue()


def test_without_tables_the_command_says_what_to_do_and_nothing_is_lost(
    empty_site: Site, smtp: SMTPServer
) -> None:
    empty_site.run(THREE_KINDS, env={"MAILLOG_WORKER": "none"})

    done = empty_site.manage("flush_maillogs", check=False)

    assert done.returncode == 1
    assert "CommandError: The database can't be used" in done.stderr
    assert "manage.py migrate" in done.stderr
    assert "Traceback" not in done.stderr
    empty_site.manage("migrate", "--verbosity=0")
    assert json.loads(empty_site.manage("flush_maillogs", "--json").stdout)["imported"] == 25


# Who starts the tests in the background has their processes ignore SIGINT.
INTERRUPTIBLE = """
import signal
from django.core.management import execute_from_command_line
signal.signal(signal.SIGINT, signal.default_int_handler)
execute_from_command_line()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT")
def test_ctrl_c_ends_it_without_a_traceback(site: Site, smtp: SMTPServer) -> None:
    site.run(THREE_KINDS, env={"MAILLOG_WORKER": "none"})
    smtp.hang(at="EHLO")
    with (site.folder / "stderr").open("w+") as stderr:
        # Not in development mode, which warns of the socket that the interrupt has left open.
        command = [sys.executable, "-c", INTERRUPTIBLE, "flush_maillogs"]
        process = site.popen(command, env={"PYTHONDEVMODE": ""}, stderr=stderr)
        smtp.wait_for_connections(1)
        process.send_signal(signal.SIGINT)

        status = process.wait(60)
        stderr.seek(0)
        assert (status, stderr.read()) == (
            130,
            "CommandError: Interrupted. Nothing is lost: the next flush goes on from here.\n",
        )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["silence_maillogs", "--match", "x", "--for", "1m"], r"\u201cx\u201d in every buffer is silenced"),
        (["flush_maillogs", "--dry-run"], r"ERROR \xd72 no hats"),
        (["test_maillog"], r"h\xfcte"),
    ],
    ids=["silence", "flush", "test"],
)
def test_what_the_terminal_cant_show_is_an_escape(
    site: Site, smtp: SMTPServer, command: list[str], said: str
) -> None:
    handlers = {"h\xfcte": LOGGING["handlers"]["mail"]}
    site.configure_logging({**LOGGING, "handlers": handlers, "root": {"handlers": list(handlers)}})
    site.run("import logging; [logging.error('no hats') for _ in '12']", env={"MAILLOG_WORKER": "none"})

    done = site.manage(*command, env={"PYTHONIOENCODING": "ascii", "MAILLOG_WORKER": "none"})

    assert said in done.stdout
    assert done.stderr == ""


def test_the_stream_of_a_caller_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout.errors
    call_command("silence_maillogs")

    assert sys.stdout.errors == before
    assert capsys.readouterr().out == "Nothing is silenced.\n"


def old_batch(buffer: Buffer, days: float) -> Batch:
    batch = buffer.seal()
    then = timezone.now() - timedelta(days=days)
    Batch.objects.filter(pk=batch.pk).update(status=Status.SENT, opened_at=then)
    return batch


def test_pruning_deletes_what_is_older_than_the_setting(settings: Any) -> None:
    settings.MAILLOG_RETENTION_DAYS = 7
    buffer = Buffer()
    old, young = old_batch(buffer, 8), old_batch(buffer, 6)

    output = run("prune_maillogs")

    assert output.endswith(" rows deleted.\n")
    assert list(Batch.objects.all()) == [young]
    assert not Record.objects.filter(batch=old.pk).exists()


@pytest.mark.parametrize("days", [1_000_000, "365"])
def test_by_a_wrong_setting_nothing_is_pruned_and_the_command_says_so(settings: Any, days: Any) -> None:
    settings.MAILLOG_RETENTION_DAYS = days
    batch = old_batch(Buffer(), 400)

    Pruner().prune_if_time(timezone.now)
    with pytest.raises(CommandError, match="MAILLOG_RETENTION_DAYS must be a positive number below 100,000"):
        run("prune_maillogs")

    assert list(Batch.objects.all()) == [batch]


def test_pruning_takes_the_days_from_the_command() -> None:
    batch = old_batch(Buffer(), 2)

    run("prune_maillogs", "--days", "3")
    assert list(Batch.objects.all()) == [batch]
    run("prune_maillogs", "--days", "1.5")
    assert not Batch.objects.exists()


def test_a_dry_run_of_pruning_counts_what_pruning_deletes_and_deletes_nothing() -> None:
    buffer = Buffer()
    old_batch(buffer, 40)
    buffer.log("of a mail that is kept", fingerprint="kept")
    old_batch(buffer, 2)
    failed = buffer.seal()
    Batch.objects.filter(pk=failed.pk).update(status=Status.FAILED)
    long_ago = timezone.now() - timedelta(days=50)
    Group.objects.update(last_seen_at=long_ago)
    Silence.objects.create(starts_at=long_ago, ends_at=long_ago)
    Segment.objects.create(id="gone", host="web1", process=1, seen_at=long_ago)

    with translation.override("de"):
        said = run("prune_maillogs", "--dry-run")
    deleted = run("prune_maillogs")

    assert said.startswith("Would be deleted: 1 batches, 1 records, ")
    assert deleted == f"{sum(map(int, re.findall('[0-9]+', said)))} rows deleted.\n"
    assert run("prune_maillogs", "--dry-run") == "Would be deleted: nothing.\n"
    assert Batch.objects.count() == 2


def test_there_is_no_look_ahead_at_what_would_be_erased() -> None:
    with pytest.raises(CommandError, match="there is no such look ahead"):
        run("prune_maillogs", "--dry-run", "--user", "ada")


@pytest.mark.parametrize("days", ["many", "-1", "nan", "1e9"])
def test_days_that_are_none_are_refused(days: str) -> None:
    with pytest.raises(CommandError, match="is not a number of days"):
        run("prune_maillogs", f"--days={days}")


def test_pruning_keeps_failed_and_undelivered_batches() -> None:
    buffer = Buffer()
    for status in Status:
        batch = buffer.seal()
        Batch.objects.filter(pk=batch.pk).update(status=status)

    prune(timezone.now(), timezone.now())

    assert set(Batch.objects.values_list("status", flat=True)) == {"open", "ready", "sending", "failed"}


def test_what_is_pruned_of_a_segment_that_comes_back_is_not_imported_again() -> None:
    buffer = Buffer()
    buffer.log()
    buffer.import_all()
    now = timezone.now()
    Segment.objects.create(
        id="gone", host="web1", process=1, seen_at=now, finished_at=now - timedelta(days=2)
    )

    prune(now, now)

    assert Segment.objects.count() == 0
    assert buffer.import_all() == 0


def test_pruning_is_done_in_short_steps_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["django_maillog.prune"], "CHUNK", 10)
    buffer = Buffer()
    for number in range(35):
        buffer.log(fingerprint=str(number))
    buffer.import_all()
    Batch.objects.update(status=Status.SENT, open_for=None)
    steps: list[int] = []

    prune(timezone.now(), timezone.now(), progress=steps.append, stop=lambda: len(steps) == 2)

    assert steps == [10, 10]
    assert Record.objects.count() == 15


@pytest.mark.skipif(sys.platform == "win32", reason="pty")
def test_pruning_counts_on_a_terminal_only(site: Site) -> None:
    site.run(OLD_HOSTS)
    assert site.manage("prune_maillogs").stderr == ""
    site.run(OLD_HOSTS)
    master, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (25, 80))
    with os.fdopen(terminal, "w") as stderr:
        process = site.popen([sys.executable, "-m", "django", "prune_maillogs"], stderr=stderr)
        assert process.wait(60) == 0
    assert os.read(master, 1000) == b"\r250 rows\r300 rows\r\n"
    os.close(master)


def test_a_database_error_is_a_clear_command_error() -> None:
    table = Batch._meta.db_table
    with connection.schema_editor() as editor:
        editor.alter_db_table(Batch, table, f"{table}_away")
    try:
        for command in ("flush_maillogs", "prune_maillogs"):
            with pytest.raises(CommandError, match="The database can't be used"):
                run(command)
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(Batch, f"{table}_away", table)


def test_a_wrong_setting_is_a_clear_command_error(settings: Any) -> None:
    settings.MAILLOG_RETENTION_DAYS = "soon"
    settings.MAILLOG_SPOOL_DIR = 5

    with pytest.raises(CommandError, match="MAILLOG_RETENTION_DAYS"):
        run("prune_maillogs")
    with pytest.raises(CommandError, match="MAILLOG_SPOOL_DIR"):
        run("flush_maillogs", "--dry-run")


@pytest.mark.parametrize("url", ["postgres://nobody@127.0.0.1:1/nothing", "sqlite:////nowhere/db.sqlite3"])
@pytest.mark.parametrize("command", ["flush_maillogs", "prune_maillogs", "silence_maillogs"])
def test_each_command_says_in_one_sentence_that_the_database_is_away(
    empty_site: Site, command: str, url: str
) -> None:
    done = empty_site.manage(command, env={"DATABASE_URL": url}, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: The database can't be used: ")
    assert "Traceback" not in done.stderr


def test_what_a_flush_has_found_is_told_even_if_the_database_goes_away_then(
    spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> Iterator[str]:
        raise OperationalError("it is gone")
        yield ""

    live_buffer().log()
    (path,) = spool_dir.glob("*.jsonl")
    path.write_bytes(path.read_bytes() + b"no JSON\n")
    monkeypatch.setattr(flush_maillogs, "problems", gone)
    stderr = StringIO()

    with pytest.raises(CommandError, match="it is gone"):
        call_command("flush_maillogs", due=True, stdout=StringIO(), stderr=stderr)

    assert "1 line of the spool can't be imported" in stderr.getvalue()


def test_a_database_that_is_away_is_told_of_where_the_spool_is_nowhere_too(empty_site: Site) -> None:
    env = {"DATABASE_URL": "sqlite:////nowhere/db.sqlite3", "MAILLOG_SPOOL_DIR": "relative"}

    done = empty_site.manage("flush_maillogs", env=env, check=False)

    assert done.stderr.startswith("CommandError: The database can't be used: ")
