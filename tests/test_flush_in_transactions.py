"""A flush that is asked for in a transaction of the project's: a rollback loses and repeats nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from django_maillog.flush import flush, flush_batch
from django_maillog.models import Record, Status
from django_maillog.spool.journal import journal
from tests.buffers import Buffer
from tests.smtp import SMTPServer

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django.fixtures import Settings  # an older pytest-django has it under another name

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]


@contextmanager
def rolled_back_block() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@contextmanager
def rolled_back_by_hand() -> Iterator[None]:
    transaction.set_autocommit(False)
    try:
        yield
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)


rollbacks = pytest.mark.parametrize("rolled_back", [rolled_back_block, rolled_back_by_hand])


@pytest.fixture
def buffer() -> Iterator[Buffer]:
    made = Buffer()
    yield made
    journal.rotate()


@rollbacks
def test_what_a_handler_is_to_flush_is_mailed_once_however_often_that_is_rolled_back(
    buffer: Buffer, smtp: SMTPServer, rolled_back: Callable[[], AbstractContextManager[None]]
) -> None:
    buffer.log()
    call_command("flush_maillogs", "--due", verbosity=0)

    for _again in range(2):
        with rolled_back():
            buffer.handler.flush()
    sent = len(smtp.messages)
    buffer.handler.flush()

    assert (sent, len(smtp.messages)) == (0, 1)


@rollbacks
def test_a_handler_s_flush_that_is_rolled_back_loses_nothing(
    buffer: Buffer,
    smtp: SMTPServer,
    spool_dir: Path,
    rolled_back: Callable[[], AbstractContextManager[None]],
) -> None:
    buffer.log()
    journal.rotate()  # as if its process had ended
    before = {path: path.read_bytes() for path in spool_dir.glob("*.jsonl")}

    with rolled_back():
        buffer.handler.flush()
    left = {path: path.read_bytes() for path in spool_dir.glob("*.jsonl")}
    buffer.handler.flush()

    assert left == before
    assert [mail["X-Maillog-Count"] for mail in smtp.messages] == ["1"]


def test_a_handler_flushes_once_after_the_commit(buffer: Buffer, smtp: SMTPServer) -> None:
    with transaction.atomic():
        buffer.log()
        buffer.handler.flush()
        with transaction.atomic():
            buffer.handler.flush()
        waiting = len(connection.run_on_commit)
        sent = len(smtp.messages)

    assert (waiting, sent) == (1, 0)
    assert [mail["X-Maillog-Count"] for mail in smtp.messages] == ["1"]


def test_inline_a_record_is_imported_after_the_commit(buffer: Buffer, settings: Settings) -> None:
    settings.MAILLOG_WORKER = "inline"

    with rolled_back_block():
        buffer.log("rolled back")
        inside = Record.objects.count()
    after = Record.objects.count()
    with transaction.atomic():
        buffer.log("committed")

    assert (inside, after) == (0, 0)
    assert set(Record.objects.values_list("message", flat=True)) == {"rolled back", "committed"}


@rollbacks
@pytest.mark.parametrize(
    "command",
    [["flush_maillogs"], ["flush_maillogs", "--due"], ["flush_maillogs", "--watch"], ["test_maillog"]],
)
def test_a_command_refuses_to_flush_in_a_transaction(
    buffer: Buffer,
    smtp: SMTPServer,
    rolled_back: Callable[[], AbstractContextManager[None]],
    command: list[str],
) -> None:
    buffer.log()

    with rolled_back(), pytest.raises(CommandError, match="Call it outside of the transaction"):
        call_command(*command)
    call_command("flush_maillogs", verbosity=0)

    assert [mail["X-Maillog-Count"] for mail in smtp.messages] == ["1"]


def test_what_flushes_nothing_is_answered_in_a_transaction(
    buffer: Buffer, capsys: pytest.CaptureFixture[str]
) -> None:
    buffer.log()

    with transaction.atomic():
        call_command("flush_maillogs", "--dry-run")

    assert "1 record in the spool would be imported first" in capsys.readouterr().out


def test_no_batch_is_sent_in_a_transaction(buffer: Buffer, smtp: SMTPServer) -> None:
    batch = buffer.seal()

    with transaction.atomic():
        with pytest.raises(RuntimeError, match="part of a transaction"):
            flush_batch(batch)
        with pytest.raises(RuntimeError, match="part of a transaction"):
            flush()

    batch.refresh_from_db()
    assert (batch.status, smtp.messages) == (Status.READY, [])


@pytest.mark.django_db(transaction=False)
def test_in_a_test_case_a_transaction_of_the_project_s_is_the_test_s(
    buffer: Buffer, smtp: SMTPServer, settings: Settings
) -> None:
    settings.MAILLOG_WORKER = "inline"

    with transaction.atomic():
        buffer.log()
        imported = Record.objects.count()
        buffer.handler.flush()

    assert (imported, len(smtp.messages)) == (1, 1)
