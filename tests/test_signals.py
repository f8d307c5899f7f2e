"""What a project is told of its batches, and that its receivers change nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from django_maillog.flush import flush_batch
from django_maillog.models import Batch, Status
from django_maillog.signals import batch_failed, batch_sealed, batch_sent
from tests.buffers import Buffer
from tests.smtp import SMTPServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]
SIGNALS = {"sealed": batch_sealed, "sent": batch_sent, "failed": batch_failed}


@pytest.fixture
def told() -> Iterator[list[tuple[str, str, str]]]:
    """Each signal's name, the batch's status then, and its subject."""
    found: list[tuple[str, str, str]] = []
    receivers = []
    for name, each in SIGNALS.items():

        def receive(sender: type[Batch], batch: Batch, name: str = name, **_kwargs: Any) -> None:
            assert sender is Batch
            assert not connection.in_atomic_block
            found.append((name, batch.status, batch.subject))

        each.connect(receive, weak=False)
        receivers.append((each, receive))
    yield found
    for each, receive in receivers:
        each.disconnect(receive)


def test_a_batch_is_sealed_then_sent(told: list[tuple[str, str, str]], smtp: SMTPServer) -> None:
    buffer = Buffer()
    buffer.log()
    buffer.flush()

    assert told == [("sealed", "ready", ""), ("sent", "sent", "[Django] ERROR Payment failed")]


def test_a_batch_that_is_flushed_by_hand_is_told_as_well(
    told: list[tuple[str, str, str]], smtp: SMTPServer
) -> None:
    buffer = Buffer()
    buffer.log()
    buffer.import_all()
    flush_batch(Batch.objects.get())

    assert [name for name, _status, _subject in told] == ["sealed", "sent"]


def test_a_mail_that_waits_is_not_told_and_one_that_failed_is(
    told: list[tuple[str, str, str]], smtp: SMTPServer
) -> None:
    buffer = Buffer()
    buffer.log()
    smtp.answer("451 later")
    buffer.flush()
    assert [name for name, _status, _subject in told] == ["sealed"]
    smtp.answer("550 no")
    buffer.flush()

    assert told[1:] == [("failed", "failed", "[Django] ERROR Payment failed")]


def test_a_receiver_that_raises_changes_nothing(smtp: SMTPServer, caplog: pytest.LogCaptureFixture) -> None:
    def fail(**_kwargs: Any) -> None:
        raise RuntimeError("a chat is away")

    for each in SIGNALS.values():
        each.connect(fail)
    buffer = Buffer()
    buffer.log()
    with caplog.at_level(logging.ERROR, "django.dispatch"):
        summary = buffer.flush()
    for each in SIGNALS.values():
        each.disconnect(fail)

    assert (summary.sealed, summary.sent) == (1, 1)
    assert Batch.objects.get().status == Status.SENT
    assert len(caplog.records) == 2
