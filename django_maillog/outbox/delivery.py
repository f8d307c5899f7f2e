"""The life of a sealed batch: claim, render, store, hand over, settle; one batch at a time."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, TypeVar

from django.core.mail import EmailMultiAlternatives
from django.db import Error, InterfaceError, OperationalError, connections
from django.template import TemplateDoesNotExist

from .. import buffers
from ..models import Attempt, Batch, Outcome, Status
from ..signals import batch_failed, batch_sent
from ..transactions import is_full, is_refused, write_alias
from .claim_lock import ClaimLock, end_abandoned
from .claims import claim, mend_times, outcome_of, settle, store
from .connection import Mailers
from .groups import mark_mailed
from .mails import make_mail, reduced
from .notes import Notes
from .options import FlushOptions
from .rows import forget, read_ahead
from .targets import is_left_to_others, target_of
from .verdicts import Verdict

PAGE = 50  # batches that are read together
FRESH_SECONDS = 1.0  # for which what is read of them holds
# How long the outcome of a mail is tried to be recorded: else it would be sent again.
SETTLE_SECONDS = 60.0

Result = TypeVar("Result")

log = logging.getLogger("django_maillog")


class _Settlement(NamedTuple):
    """How an attempt ended, to be recorded."""

    batch: Batch
    attempt: Attempt
    verdict: Verdict
    at: datetime


# What this process has sent and could not record yet: it is recorded before anything is sent again.
_unsettled: dict[int, _Settlement] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unsettled.clear)


class Delivered(NamedTuple):
    """How each try ended, and the batches that were not tried, since their mailer could not be reached."""

    outcomes: Counter[Outcome]
    passed_over: set[int]


def deliver(options: FlushOptions | None = None, *, only: Batch | None = None) -> Delivered:
    """Deliver every sealed batch whose time has come (of some buffers, or just one).

    A mailer that can't be reached is left alone for the rest of the call. Raises django.db.Error if the
    database can't be used.
    """
    options = options or FlushOptions()
    delivered = Delivered(Counter(), set())
    for settlement in list(_unsettled.values()):
        delivered.outcomes[_settle(settlement)] += 1
    # Most flushes have nothing to deliver, and ask no more than this.
    if not Batch.objects.filter(status__in=[Status.READY, Status.SENDING]).exists():
        return delivered
    mend_times(options.clock())
    end_abandoned(options.clock())
    with _Delivery(options) as delivery:
        for batch in delivery.batches(only):
            if options.stop() or delivered.outcomes.total() == options.limit:
                break
            if delivery.is_unreachable(batch):
                delivered.passed_over.add(batch.pk)
            elif attempt := delivery.claim(batch):
                delivered.outcomes[delivery.deliver(batch, attempt)] += 1
    return delivered


class _Delivery:
    """The steps of a batch that is delivered, and what all batches of one delivery share."""

    def __init__(self, options: FlushOptions) -> None:
        self._options = options
        self._mailers = Mailers()
        self._claims = ClaimLock()
        self._notes = Notes(options.clock())

    def __enter__(self) -> _Delivery:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._mailers.close()
        # What this process can't tell the database, its file tells others when it has ended.
        self._claims.release(keep=bool(_unsettled))

    def batches(self, only: Batch | None) -> Iterator[Batch]:
        """The batches whose time has come, oldest first, each once."""
        last = 0
        while True:
            now = self._options.clock()
            rows = Batch.objects.deliverable(now).filter(pk__gt=last).exclude(pk__in=_unsettled)
            if only is not None:
                rows = rows.filter(pk=only.pk)
            if self._options.buffers is not None:
                rows = rows.filter(buffer__in=self._options.buffers)
            page = list(rows.order_by("pk")[:PAGE])
            ours = [batch for batch in page if not self._is_left(batch, now)]
            read_ahead(ours)
            fresh_until = time.monotonic() + FRESH_SECONDS
            self._notes = Notes(now)
            for batch in ours:
                if time.monotonic() > fresh_until:  # a mail server was slow: some may have been erased since
                    forget(batch)
                yield batch
            if len(page) < PAGE:
                return
            last = page[-1].pk

    def _is_left(self, batch: Batch, now: datetime) -> bool:
        return is_left_to_others(batch, now, everything=self._options.everything)

    def is_unreachable(self, batch: Batch) -> bool:
        """Whether its mailer could not be reached a moment ago."""
        try:
            return self._mailers.is_unreachable(target_of(batch))
        except Exception:  # a wrong target: the batch is claimed, and fails with the reason
            return False

    def claim(self, batch: Batch) -> Attempt | None:
        """Take it, before anything of it is done; None if somebody else was faster."""
        return claim(batch, self._options.clock(), token=self._claims.token)

    def deliver(self, batch: Batch, attempt: Attempt) -> Outcome:
        """Render, store, hand over and settle a batch that is claimed."""
        # After a person's Ctrl-C, whether the server has it is unknown.
        verdict = Verdict(retry=True, error="The delivery was interrupted.")
        try:
            with buffers.muted():
                verdict = self._send(batch)
            if verdict.sent:
                self._claims.note_sent(batch)
        finally:
            now = self._options.clock()
            outcome = _settle(_Settlement(batch, attempt, verdict, now))
        if outcome is Outcome.FAILED:
            self._notes = Notes(now)  # the next mail says so
        self._tell(batch, outcome)
        return outcome

    def _send(self, batch: Batch) -> Verdict:
        """Make the mail and hand it over."""
        try:
            target = target_of(batch)
            is_new = not batch.text
            mail = make_mail(batch, target, self._options.clock(), self._notes)
        except (OperationalError, InterfaceError, ImportError, OSError, TemplateDoesNotExist) as error:
            # The database, or a file of a release that was removed: not the mail's fault, but this moment's
            # or this process's.
            return Verdict(retry=True, handed_over=False, error=_described(error))
        except Exception as error:  # a batch that can't be rendered fails alone and never stops the queue
            log.exception("batch can't be rendered: batch=%s", batch.pk)
            return Verdict(handed_over=False, error=_described(error))
        note = ""
        if is_new and not store(batch):
            note = "The mail's text can't be stored in this database."
        verdict = self._hand_over(mail, target)
        return replace(verdict, error=f"{verdict.error} {note}".strip()) if note else verdict

    def _hand_over(self, mail: EmailMultiAlternatives, target: buffers.Target) -> Verdict:
        """Give it to its mailer; a mail that the server finds too large, with less and less of it."""
        with self._options.sending():
            for smaller in reduced(mail):
                verdict = self._mailers.send(target, smaller)
                if not verdict.too_large:
                    break
        return verdict

    def _tell(self, batch: Batch, outcome: Outcome) -> None:
        """Tell the project of a mail that is out, or that nobody will get."""
        if outcome is Outcome.RETRY:
            return
        told = batch_failed if outcome is Outcome.FAILED else batch_sent
        if told.has_listeners(Batch):
            batch.refresh_from_db()
            with self._options.sending():
                told.send_robust(Batch, batch=batch)


def _settle(settlement: _Settlement) -> Outcome:
    """Record the outcome, for a while also against a locked or restarting database."""
    batch = settlement.batch
    _unsettled[batch.pk] = settlement
    try:
        outcome = _insist(lambda: settle(*settlement))
        if outcome in (Outcome.SENT, Outcome.UNCONFIRMED):
            _insist(lambda: mark_mailed(batch, settlement.at))
    except Error as error:
        if _is_passing(error):
            raise
        # It stays in _unsettled: this process records it later, and sends nothing twice meanwhile.
        log.exception("outcome can't be stored: batch=%s", batch.pk)
        return outcome_of(batch, settlement.verdict, settlement.at)
    del _unsettled[batch.pk]
    if outcome is not Outcome.SENT:
        log.warning(
            "mail not sent: batch=%s outcome=%s error=%s", batch.pk, outcome, settlement.verdict.error
        )
    return outcome


def _insist(write: Callable[[], Result]) -> Result:
    give_up_at = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            return write()
        except Error as error:
            late = time.monotonic() > give_up_at or connections[write_alias()].in_atomic_block
            if late or not _is_passing(error):
                raise
            log.warning("outcome can't be stored, trying again: error=%s", error)
            connections[write_alias()].close_if_unusable_or_obsolete()
            time.sleep(0.5)


def _is_passing(error: Error) -> bool:
    """Whether the same write may succeed later."""
    is_refusal = is_full(error) or is_refused(error)
    return isinstance(error, (OperationalError, InterfaceError)) and not is_refusal


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
