"""Claim, render, deliver: each sealed batch becomes one mail."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from django.core.mail import EmailMultiAlternatives
from django.db import Error, connections, router
from django.utils import timezone

from .. import conf, digest
from ..delivery import Connection, Target, Verdict, message
from ..models import Batch, Outcome, Status
from .claims import claim, mend_times, settle
from .contents import report
from .merging import merge_waiting
from .targets import mailer_of, target_of

PAGE = 50
SETTLE_SECONDS = (
    60.0  # how long the outcome of a mail is tried to be written down: else it would be sent again
)

log = logging.getLogger("django_maillog")

Sending = Callable[[], AbstractContextManager[object]]


def never() -> bool:
    """The default answer to "shall we stop?"."""
    return False


def deliver(
    *,
    clock: Callable[[], datetime] = timezone.now,
    buffers: Collection[str] | None = None,
    only: Batch | None = None,
    sending: Sending = nullcontext,
    stop: Callable[[], bool] = never,
) -> Counter[Outcome]:
    """Deliver every sealed batch whose time has come (of these buffers, or just one); how each try ended.

    One connection serves all batches of a mailer. A mailer that can't be reached is left alone for this call.
    ``sending`` is entered while a mail server is waited for, ``stop`` asked before each batch.
    """
    mend_times(clock())
    if only is None:
        _merge(clock(), buffers)
    delivery = _Delivery(clock, sending)
    try:
        for key in _keys(clock, buffers, only):
            if stop():
                break
            delivery.try_batch(key)
    finally:
        delivery.close()
    return delivery.outcomes


def preview(batch: Batch) -> digest.Digest:
    """The mail of a batch: as it was sent, or as it would be now."""
    if batch.text:
        return digest.Digest(subject=batch.subject, text=batch.text, html=batch.html)
    with conf.muted():
        shown = report(batch, timezone.now())
        shown.records = None  # what would be attached is not looked at
        return _render(shown, target_of(batch))


def eml(batch: Batch) -> bytes:
    """The mail of a batch as a file that mail programs open."""
    with conf.muted():
        return _mail(batch, target_of(batch)).message().as_bytes()


class _Delivery:
    """One call of deliver: its connections, and how each try ended."""

    def __init__(self, clock: Callable[[], datetime], sending: Sending) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self._clock = clock
        self._sending = sending
        self._connections: dict[object, Connection] = {}
        self._unreachable: set[object] = set()

    def try_batch(self, key: int) -> None:
        """Claim a batch and try to deliver it, unless somebody else has it or its mailer can't be reached."""
        if self._unreachable and self._is_unreachable(key):
            return
        batch = claim(key, self._clock())
        if batch is None:
            return
        try:
            verdict = self._send(batch)
        except BaseException:  # a person's Ctrl-C: whether the server has it is unknown
            _settle(batch, Verdict(retry=True, error="The delivery was interrupted."), self._clock)
            raise
        outcome = _settle(batch, verdict, self._clock)
        self.outcomes[outcome] += 1
        if outcome is not Outcome.SENT:
            log.warning("mail not sent: batch=%s outcome=%s error=%s", batch.pk, outcome, verdict.error)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    def _is_unreachable(self, key: int) -> bool:
        batch = Batch.objects.using(_alias()).only("buffer", "using").filter(pk=key).first()
        try:
            return batch is None or mailer_of(target_of(batch)) in self._unreachable
        except Exception:  # a wrong target: the batch is claimed, and fails with the reason
            return False

    def _send(self, batch: Batch) -> Verdict:
        with conf.muted():
            try:
                target = target_of(batch)
                mail = _mail(batch, target)
            except Error:
                raise
            except Exception as error:  # a batch that can't be rendered fails alone and never stops the queue
                log.exception("batch can't be rendered: batch=%s", batch.pk)
                return Verdict(reached=False, error=f"{type(error).__name__}: {error}")
            mailer = mailer_of(target)
            connection = self._connections.setdefault(mailer, Connection(target))
            with self._sending():
                verdict = connection.send(mail)
        if verdict.unreachable:
            self._unreachable.add(mailer)
        return verdict


def _keys(
    clock: Callable[[], datetime], buffers: Collection[str] | None, only: Batch | None
) -> Iterator[int]:
    """The batches whose time has come, oldest first, each once."""
    last = 0
    while True:
        rows = Batch.objects.using(_alias()).deliverable(clock()).filter(pk__gt=last)
        if only is not None:
            rows = rows.filter(pk=only.pk)
        if buffers is not None:
            rows = rows.filter(buffer__in=buffers)
        keys = list(rows.order_by("pk").values_list("pk", flat=True)[:PAGE])
        if not keys:
            return
        yield from keys
        last = keys[-1]


def _merge(now: datetime, buffers: Collection[str] | None) -> None:
    rows = Batch.objects.using(_alias()).deliverable(now)
    for buffer in sorted(set(rows.order_by().values_list("buffer", flat=True))):
        if buffers is None or buffer in buffers:
            merge_waiting(buffer, now)


def _settle(batch: Batch, verdict: Verdict, clock: Callable[[], datetime]) -> Outcome:
    """Write down the outcome, for a while also against a locked or restarting database."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            return settle(batch, verdict, clock())
        except Error as error:
            if time.monotonic() > deadline or connections[_alias()].in_atomic_block:
                raise
            log.warning("outcome can't be stored, trying again: batch=%s error=%s", batch.pk, error)
            connections[_alias()].close_if_unusable_or_obsolete()
            time.sleep(0.5)


def _mail(batch: Batch, target: Target) -> EmailMultiAlternatives:
    """The batch's mail; what is rendered once is kept on the batch, so that every retry says the same."""
    shown = report(batch, timezone.now())
    shown.include_html = target.include_html
    rendered = _render(shown, target)
    if batch.text:
        rendered.subject, rendered.text, rendered.html = batch.subject, batch.text, batch.html
    elif batch.status != Status.OPEN:
        batch.subject, batch.text, batch.html = rendered.subject[:200], rendered.text, rendered.html
    recipients = list(batch.recipients) or target.get_recipients()
    sender = batch.sender or target.get_sender()
    return message(rendered, digest.headers(shown), sender=sender, recipients=recipients)


def _render(shown: digest.Report, target: Target) -> digest.Digest:
    return digest.render(shown, subject=target.get_digest_subject(shown))


def _alias() -> str:
    return router.db_for_write(Batch)
