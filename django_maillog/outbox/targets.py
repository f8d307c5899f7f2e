"""Where a batch goes and by which rules: as its handler in this process says, else as its row does."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings

from .. import buffers, compat, digest
from ..models import Batch, Status
from ..policy import Rules

# A process that has a batch's handler sends it first: its people, mailer and rules are never out of date.
OTHERS_FIRST = timedelta(minutes=10)

if TYPE_CHECKING:
    from django.core.mail.backends.base import BaseEmailBackend


def target_of(batch: Batch) -> buffers.Target:
    """The target of its handler in this process, else what its row says."""
    handler = buffers.find(batch.buffer)
    return handler.target if handler is not None else StoredTarget(batch)


def rules_of(batch: Batch) -> Rules:
    """The rules of its handler in this process, else those on its row; the defaults if there are none."""
    handler = buffers.find(batch.buffer)
    if handler is not None:
        return handler.rules
    try:
        return Rules.of(batch.rules)
    except (TypeError, ValueError):
        return Rules()


def is_left_to_others(batch: Batch, now: datetime, *, everything: bool) -> bool:
    """Whether this process leaves a batch to those that have its handler, which it has not.

    For good if only they can send it; else for some minutes after its time, unless everything is to go out.
    """
    if buffers.find(batch.buffer) is not None:
        return False
    if batch.rules.get(buffers.OWN_MAILER) or not compat.has_mailer(batch.using):
        return True
    due_at = _due_at(batch)
    return not everything and (due_at is None or now < due_at + OTHERS_FIRST)


def due_and_left_to_others(batches: Iterable[Batch], now: datetime, *, everything: bool) -> list[Batch]:
    """Those that a flush would deal with, were they not left to others."""

    def is_due(batch: Batch) -> bool:
        due_at = _due_at(batch)
        return (everything and batch.status != Status.SENDING) or (due_at is not None and due_at <= now)

    return [
        batch for batch in batches if is_due(batch) and is_left_to_others(batch, now, everything=everything)
    ]


def _due_at(batch: Batch) -> datetime | None:
    return batch.claimed_until or batch.next_attempt_at or batch.due_at


class StoredTarget:
    """The target of a batch whose handler isn't configured in this process."""

    include_html = False
    has_own_mailer = False

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.using: str | None = batch.using or None

    def __eq__(self, other: object) -> bool:
        """Whether they have the same mailer."""
        return isinstance(other, StoredTarget) and self.using == other.using

    def __hash__(self) -> int:
        return hash(self.using)

    def get_recipients(self) -> list[str]:
        """The row's; ADMINS only where nothing is known of the handler, not where it has no recipients."""
        is_known = bool(self._batch.recipients or self._batch.rules)
        return list(self._batch.recipients) if is_known else compat.addresses("ADMINS")

    def get_sender(self) -> str:
        return self._batch.sender or str(settings.SERVER_EMAIL)

    def get_connection(self) -> BaseEmailBackend:
        return compat.get_connection(using=self.using)

    def get_digest_subject(self, report: digest.Report) -> str:
        return digest.subject(report, prefix=str(settings.EMAIL_SUBJECT_PREFIX))
