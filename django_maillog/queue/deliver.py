"""Claim, render, deliver: each sealed batch becomes one mail."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from django.core.mail import EmailMultiAlternatives
from django.db import router
from django.utils import timezone

from .. import conf, digest
from ..delivery import Connection, Target, Verdict, message
from ..models import Batch, Outcome, Status
from .batches import claim, merge_waiting, retry_waiting, settle
from .contents import report
from .targets import target_of

PAGE = 50

log = logging.getLogger("django_maillog")


def deliver(
    *,
    clock: Callable[[], datetime] = timezone.now,
    buffers: Iterable[str] | None = None,
    only: Batch | None = None,
    sending: Callable[[], AbstractContextManager[object]] = nullcontext,
    stop: Callable[[], bool] = lambda: False,
) -> Counter[Outcome]:
    """Deliver every sealed batch whose time has come (of these buffers, or just one); how each try ended.

    One connection serves all batches of a mailer. A mailer that can't be reached is left alone until the next call.
    ``sending`` is entered while a mail server is waited for, ``stop`` asked before each batch.
    """
    outcomes: Counter[Outcome] = Counter()
    connections = _Connections()
    merged: set[str] = set()
    tried: set[int] = set()
    try:
        while not stop():
            batch = _next(clock(), buffers, only, tried, connections.unreachable)
            if batch is None:
                return outcomes
            if only is None and batch.buffer not in merged:
                merged.add(batch.buffer)
                if merge_waiting(batch.buffer, clock()):
                    continue
            tried.add(batch.pk)
            if not claim(batch, clock()):
                continue
            verdict = _send(batch, connections, sending)
            outcome = settle(batch, verdict, clock())
            outcomes[outcome] += 1
            if outcome is Outcome.SENT:
                retry_waiting(batch.buffer, clock())
            else:
                log.warning("mail not sent: batch=%s outcome=%s error=%s", batch.pk, outcome, verdict.error)
    finally:
        connections.close()
    return outcomes


def preview(batch: Batch) -> digest.Digest:
    """The mail of a batch: as it was sent, or as it would be now."""
    if batch.text:
        return digest.Digest(subject=batch.subject, text=batch.text, html=batch.html)
    with conf.muted():
        return _render(report(batch, timezone.now()), target_of(batch))


def eml(batch: Batch) -> bytes:
    """The mail of a batch as a file that mail programs open."""
    with conf.muted():
        return _mail(batch, target_of(batch)).message().as_bytes()


class _Connections:
    """The connections of one call of deliver, one a target."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Target, Connection]] = {}
        self.unreachable: set[str] = set()  # buffers whose mailer didn't answer

    def to(self, target: Target) -> Connection:
        # Kept together: an id is only unique while its object lives.
        return self._open.setdefault(id(target), (target, Connection(target)))[1]

    def close(self) -> None:
        for _target, connection in self._open.values():
            connection.close()


def _next(
    now: datetime, buffers: Iterable[str] | None, only: Batch | None, tried: set[int], unreachable: set[str]
) -> Batch | None:
    rows = Batch.objects.using(router.db_for_write(Batch)).deliverable(now).exclude(buffer__in=unreachable)
    if only is not None:
        rows = rows.filter(pk=only.pk)
    if buffers is not None:
        rows = rows.filter(buffer__in=buffers)
    return next((batch for batch in rows.order_by("pk")[: PAGE + len(tried)] if batch.pk not in tried), None)


def _send(
    batch: Batch, connections: _Connections, sending: Callable[[], AbstractContextManager[object]]
) -> Verdict:
    with conf.muted():
        try:
            target = target_of(batch)
            mail = _mail(batch, target)
        except Exception as error:  # a batch that can't be rendered fails alone and never stops the queue
            log.exception("batch can't be rendered: batch=%s", batch.pk)
            return Verdict(reached=False, error=f"{type(error).__name__}: {error}")
        with sending():
            verdict = connections.to(target).send(mail)
    if not verdict.reached:
        connections.unreachable.add(batch.buffer)
    return verdict


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
