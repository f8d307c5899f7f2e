"""Claim, render, deliver: each sealed batch becomes one mail.

Batches are claimed a page at a time, as many as go out in a moment, and how they fared is written down for
several together, HOLD seconds after the first: that is how long a crash repeats mails. As soon as a mail
server takes its time, what is known is written down, and what was not tried is given back.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime

from django.core.mail import EmailMultiAlternatives
from django.db import Error, connections, router
from django.utils import timezone

from .. import buffers
from ..models import Batch, Outcome
from .claims import PAGE_LEASE, Try, claim, keep, mend_times, release, settle
from .connection import Connection, Target, Verdict
from .contents import Contents
from .groups import mark_mailed
from .mails import make_mail
from .merging import merge_waiting
from .targets import mailer_of, target_of

PAGE = 100  # batches claimed together at the most
PAGE_RECORDS = 200  # that they may have together; one with more is a page of its own
HOLD = 0.5  # seconds that an outcome may wait for others to be written down with
SETTLE_SECONDS = (
    60.0  # how long the outcome of a mail is tried to be written down: else it would be sent again
)

log = logging.getLogger("django_maillog")

Sending = Callable[[], AbstractContextManager[object]]
Mail = tuple[Target, EmailMultiAlternatives]


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
    delivery = _Delivery(clock, sending, stop)
    try:
        for keys in delivery.pages(buffers, only):
            delivery.work(keys)
    finally:
        delivery.close()
    return delivery.outcomes


class _Delivery:
    """One call of deliver: its connections, its page of batches, and how each try ended."""

    def __init__(self, clock: Callable[[], datetime], sending: Sending, stop: Callable[[], bool]) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self._clock = clock
        self._sending = sending
        self._stop = stop
        self._connections: dict[object, Connection] = {}
        self._unreachable: set[object] = set()
        self._last = 0  # every batch up to this key had its chance
        self._size = 1
        self._page: list[Batch] = []  # claimed together
        self._rest: deque[Batch] = deque()  # of the page, not tried yet
        self._trust_until = datetime.min  # the claims on the rest
        self._contents: Contents | None = None
        self._prepared: Mail | Verdict | None = None  # of the first of the rest
        self._tries: list[Try] = []  # not written down yet
        self._write_at = 0.0
        self._at_server = ExitStack()

    def pages(self, buffers: Collection[str] | None, only: Batch | None) -> Iterator[list[int]]:
        """The batches whose time has come, oldest first, each once; as many at a time as go out quickly."""
        while not self._stop():
            rows = Batch.objects.using(_alias()).deliverable(self._clock()).filter(pk__gt=self._last)
            if only is not None:
                rows = rows.filter(pk=only.pk)
            if buffers is not None:
                rows = rows.filter(buffer__in=buffers)
            number = PAGE if self._unreachable else self._size
            found = list(rows.only("buffer", "using", "record_count").order_by("pk")[:number])
            if not found:
                return
            keys = _together([batch for batch in found if not self._is_unreachable(batch)][: self._size])
            self._last = keys[-1] if keys else found[-1].pk
            if keys:
                yield keys

    def work(self, keys: list[int]) -> None:
        """Claim a page of batches and try to deliver each that nobody else has."""
        now = self._clock()
        self._page = claim(keys, now)
        self._rest.extend(self._page)
        self._trust_until = now + PAGE_LEASE / 2
        self._size = min(2 * self._size, PAGE)
        try:
            self._contents = _read(self._page)
            while self._rest and not self._stop() and self._is_in_time():
                self._try_next()
        finally:
            self._write()
            self._let_go()

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    def _is_unreachable(self, batch: Batch) -> bool:
        try:
            return bool(self._unreachable) and mailer_of(target_of(batch)) in self._unreachable
        except Exception:  # a wrong target: the batch is claimed, and fails with the reason
            return False

    def _is_in_time(self) -> bool:
        """Whether the claim will last for another mail: who sends one batch alone has a long one."""
        return len(self._page) == 1 or self._clock() < self._trust_until

    def _try_next(self) -> None:
        batch = self._rest.popleft()
        verdict = Verdict(retry=True, error="The delivery was interrupted.")
        try:
            mail, self._prepared = self._prepared or self._prepare(batch), None
            verdict = mail if isinstance(mail, Verdict) else self._send(*mail)
        finally:  # after a person's Ctrl-C, whether the server has it is unknown
            if not self._tries:
                self._write_at = time.monotonic() + HOLD
            self._tries.append(Try(batch, verdict, self._clock()))
        if time.monotonic() > self._write_at:
            self._write()

    def _prepare(self, batch: Batch) -> Mail | Verdict:
        with buffers.muted():
            try:
                target = target_of(batch)
                contents = self._contents or Contents([batch])
                return target, make_mail(batch, contents.report(batch, timezone.now()), target)
            except Error:
                raise
            except Exception as error:  # a batch that can't be rendered fails alone and never stops the queue
                log.exception("batch can't be rendered: batch=%s", batch.pk)
                return Verdict(reached=False, error=f"{type(error).__name__}: {error}")

    def _send(self, target: Target, mail: EmailMultiAlternatives) -> Verdict:
        mailer = mailer_of(target)
        connection = self._connections.get(mailer)
        if connection is None:
            connection = Connection(target, meanwhile=self._prepare_next, waiting=self._be_patient)
            self._connections[mailer] = connection
        with buffers.muted(), self._at_server:
            self._at_server.enter_context(self._sending())
            verdict = connection.send(mail)
        if verdict.unreachable:
            self._unreachable.add(mailer)
            self._let_go()
        return verdict

    def _prepare_next(self) -> None:
        """Render the next mail while the server is busy with this one."""
        if self._rest and self._prepared is None:
            with self._away_from_server():
                self._prepared = self._prepare(self._rest[0])

    def _be_patient(self) -> None:
        """The server may take its time: a crash must cost no more than the one mail that is on its way."""
        self._size = 1
        with self._away_from_server():
            self._write()
            self._let_go()
            if len(self._page) > 1:
                keep(self._page, self._clock())

    @contextmanager
    def _away_from_server(self) -> Iterator[None]:
        """Amid a delivery, the database owes us something again; its errors come back in their turn."""
        self._at_server.close()
        try:
            with suppress(Error):
                yield
        finally:
            self._at_server.enter_context(self._sending())

    def _let_go(self) -> None:
        """Give back what was not tried; if its mailer can be reached, it comes again in the next page."""
        self._prepared = None
        if self._rest:
            release(self._rest)
            self._last = self._rest[0].pk - 1
            self._size = 1
            self._rest.clear()

    def _write(self) -> None:
        """Write down how the tries ended."""
        if not self._tries:
            return
        _insist(lambda: settle(self._tries))
        tries, self._tries = self._tries, []
        for each in tries:
            self.outcomes[each.outcome] += 1
            if each.outcome is not Outcome.SENT:
                log.warning(
                    "mail not sent: batch=%s outcome=%s error=%s",
                    each.batch.pk,
                    each.outcome,
                    each.verdict.error,
                )
        sent = [each.batch for each in tries if each.verdict.sent]
        _insist(lambda: mark_mailed(sent, tries[-1].at))


def _together(batches: Iterable[Batch]) -> list[int]:
    """The keys of as many batches as may be read together."""
    keys: list[int] = []
    records = 0
    for batch in batches:
        records += batch.record_count
        if keys and records > PAGE_RECORDS:
            break
        keys.append(batch.pk)
    return keys


def _read(batches: list[Batch]) -> Contents | None:
    """What the batches hold; None if one of them spoils it for the others: each is read alone, then."""
    try:
        return Contents(batches)
    except Error:
        raise
    except Exception:  # a value that is no JSON, say
        return None


def _merge(now: datetime, buffers: Collection[str] | None) -> None:
    rows = Batch.objects.using(_alias()).deliverable(now)
    for buffer in sorted(set(rows.order_by().values_list("buffer", flat=True))):
        if buffers is None or buffer in buffers:
            merge_waiting(buffer, now)


def _insist(write: Callable[[], None]) -> None:
    """Write it, for a while also against a locked or restarting database."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            return write()
        except Error as error:
            if time.monotonic() > deadline or connections[_alias()].in_atomic_block:
                raise
            log.warning("outcome can't be stored, trying again: error=%s", error)
            connections[_alias()].close_if_unusable_or_obsolete()
            time.sleep(0.5)


def _alias() -> str:
    return router.db_for_write(Batch)
