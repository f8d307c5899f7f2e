"""The tables: questions with the time as an argument, names by hand, and what rows are called."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction

from django_maillog.models import Attempt, Batch, Group, Record, Segment, Status, Tally
from tests.buffers import NOON

pytestmark = pytest.mark.django_db
LATER, EARLIER = NOON + timedelta(seconds=1), NOON - timedelta(seconds=1)


def batch(status: Status, **fields: object) -> Batch:
    return Batch.objects.create(buffer="mail", status=status, opened_at=NOON, **fields)


def test_only_one_batch_of_a_buffer_is_open() -> None:
    batch(Status.OPEN, open_for="mail")
    batch(Status.SENT, open_for=None)
    batch(Status.SENT, open_for=None)

    with pytest.raises(IntegrityError), transaction.atomic():
        batch(Status.OPEN, open_for="mail")


def test_deliverable_is_what_is_ready_and_what_nobody_holds_any_more() -> None:
    wanted = [
        batch(Status.READY, next_attempt_at=NOON),
        batch(Status.SENDING, claimed_until=NOON),
    ]
    batch(Status.READY, next_attempt_at=LATER)
    batch(Status.SENDING, claimed_until=LATER)
    for status in (Status.OPEN, Status.SENT, Status.FAILED, Status.CANCELLED):
        batch(status, next_attempt_at=EARLIER, claimed_until=EARLIER)

    assert list(Batch.objects.deliverable(NOON).order_by("pk")) == wanted


def test_what_was_tried_and_no_server_was_given_holds_its_buffer_back() -> None:
    wanted = [
        batch(Status.READY, record_count=1, attempts=1),
        batch(Status.SENDING, record_count=1, attempts=2),
    ]
    batch(Status.READY, record_count=1)
    batch(Status.SENDING, record_count=1, attempts=1)
    batch(Status.READY, record_count=1, attempts=1, handed_over=True)
    batch(Status.READY, record_count=0, attempts=1)
    batch(Status.SENT, record_count=1, attempts=1)
    batch(Status.FAILED, record_count=1, attempts=1)

    assert list(Batch.objects.holding_back().order_by("pk")) == wanted


def test_undelivered_and_finished_are_told_apart() -> None:
    for status in Status:
        batch(status)

    assert set(Batch.objects.undelivered().values_list("status", flat=True)) == {"open", "ready", "sending"}
    finished = Batch.objects.finished_before(LATER)
    assert set(finished.values_list("status", flat=True)) == {"sent", "cancelled"}
    assert not Batch.objects.finished_before(NOON).exists()


def test_a_group_is_silenced_for_a_time_or_for_ever() -> None:
    group = Group(silenced_at=None)
    assert not group.is_silenced(NOON)
    group.silenced_at = EARLIER
    assert group.is_silenced(NOON)
    group.silenced_until = LATER
    assert group.is_silenced(NOON)
    assert not group.is_silenced(LATER)


def test_rows_have_names_that_a_person_understands() -> None:
    assert str(Batch(pk=7, buffer="mail")) == "mail #7"
    assert str(Batch(subject="3 errors")) == "3 errors"
    assert str(Group(title="KeyError: 'order'")) == "KeyError: 'order'"
    assert str(Record(message="x" * 200, level=logging.ERROR)) == "x" * 100
    assert str(Tally(hour_at=NOON, count=5)) == "5 in 2026-03-02 12:00"
    assert str(Attempt(outcome="sent", tried_at=NOON)) == "sent 2026-03-02 12:00:00"
    assert str(Segment(id="abc")) == "abc"


def test_indexes_and_constraints_are_named_by_hand() -> None:
    names = [
        thing.name
        for model in apps.get_app_config("django_maillog").get_models()
        for thing in [*model._meta.indexes, *model._meta.constraints]
    ]

    assert all(name.startswith("maillog_") and len(name) <= 30 for name in names)
    assert len(set(names)) == len(names)
