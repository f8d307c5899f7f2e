"""What the buttons of a batch do, and how the outcome is told; it happens in ``flush`` and ``outbox``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib import messages
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from ..flush import flush_batch
from ..models import Batch, Status
from ..outbox.batches import cancel, retry, send_again
from ..outbox.targets import is_left_to_others
from . import words


class Told(NamedTuple):
    """A message for the person: how it ended (a level of ``django.contrib.messages``), and in words."""

    level: int
    text: str


class Step(NamedTuple):
    """One thing that a person can do with a batch in one of ``statuses``."""

    label: Any  # a lazy text
    statuses: frozenset[str]
    run: Callable[[Batch, datetime], Told]

    def fits(self, batch: Batch) -> bool:
        return batch.status in self.statuses

    def take(self, batch: Batch, now: datetime) -> Told:
        """Do it, unless the batch is past it by now."""
        if not self.fits(batch):
            facts = {"subject": words.subject(batch), "status": batch.get_status_display()}
            return Told(messages.WARNING, _("“%(subject)s” is %(status)s: nothing to do.") % facts)
        return self.run(batch, now)


def outcome(batch: Batch, now: datetime) -> Told:
    """How a try to deliver a batch ended, with what the mail server said."""
    facts = {"subject": words.subject(batch), "error": _error(batch)}
    if batch.status == Status.READY and is_left_to_others(batch, now, everything=True):
        said = _("“%(subject)s” will be sent by a process that has the handler of its buffer.")
        return Told(messages.INFO, said % facts)
    if batch.status == Status.SENT:
        facts["recipients"] = ", ".join(batch.recipients)
        return Told(messages.SUCCESS, _("“%(subject)s” was sent to %(recipients)s.") % facts)
    if batch.status == Status.FAILED:
        said = _("“%(subject)s” failed for good: %(error)s Mend the cause, then “Retry now”; or “Cancel”.")
        return Told(messages.ERROR, said % facts)
    if batch.status == Status.READY and batch.attempts and batch.next_attempt_at:
        facts["time"] = words.clock(batch.next_attempt_at, now)
        said = _("“%(subject)s” was not sent, and is retried at %(time)s: %(error)s")
        return Told(messages.ERROR, said % facts)
    if batch.status == Status.SENDING:
        return Told(messages.INFO, _("“%(subject)s” is being sent by another process right now.") % facts)
    facts["status"] = batch.get_status_display()
    return Told(messages.WARNING, _("“%(subject)s” is %(status)s.") % facts)


def _error(batch: Batch) -> str:
    return batch.last_error.strip() or _("nothing was said")


def _flush(batch: Batch, now: datetime) -> Told:
    flushed = flush_batch(batch)
    if flushed.status != Status.OPEN:
        return outcome(flushed, now)
    facts = {"subject": words.subject(batch)}
    waiting = Batch.objects.holding_back().filter(buffer=batch.buffer).first()
    if waiting is None:
        return Told(messages.WARNING, _("“%(subject)s” has no records, or nobody to send them to.") % facts)
    said = _("“%(subject)s” waits for “%(earlier)s”, which was tried first: %(error)s")
    facts |= {"earlier": words.subject(waiting), "error": _error(waiting)}
    return Told(messages.ERROR, said % facts)


def _retry(batch: Batch, now: datetime) -> Told:
    retry(batch, now)
    batch.refresh_from_db()
    return outcome(flush_batch(batch), now)


def _cancel(batch: Batch, now: datetime) -> Told:
    facts = {"subject": words.subject(batch)}
    if cancel(batch, now):
        return Told(messages.SUCCESS, _("“%(subject)s” was cancelled: it will not be sent.") % facts)
    return Told(messages.WARNING, _("“%(subject)s” could not be cancelled any more.") % facts)


def _send_again(batch: Batch, now: datetime) -> Told:
    copy = send_again(batch, now)
    if copy is None:
        facts = {"subject": words.subject(batch)}
        return Told(messages.WARNING, _("“%(subject)s” holds no mail that could be sent again.") % facts)
    return outcome(flush_batch(copy), now)


STEPS = {
    "flush": Step(gettext_lazy("Flush now"), frozenset([Status.OPEN]), _flush),
    "retry": Step(gettext_lazy("Retry now"), frozenset([Status.READY, Status.FAILED]), _retry),
    "cancel": Step(
        pgettext_lazy("batch", "Cancel"), frozenset([Status.OPEN, Status.READY, Status.FAILED]), _cancel
    ),
    "again": Step(gettext_lazy("Send again"), frozenset([Status.SENT, Status.FAILED]), _send_again),
}
