"""The thread that imports and flushes, and beside it a clock that notices when the database is away.

Both are daemon threads that the first record (or a process's first request) starts. The *worker* alone uses the database,
and may be stuck in it for ever; the *clock* therefore runs in a thread of its own, and mails straight from the spool
when the worker has not got through for ``MAILLOG_OUTAGE_WAIT`` seconds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import Error, connections
from django.utils import timezone

from . import conf, outage, queue
from .spool import spool

if TYPE_CHECKING:
    from .handlers import BufferingHandler

TICK = 1.0  # seconds from a record to its import
RETRY = 2.0  # seconds from a database error to the next try
IDLE = 30.0  # seconds without work after which the database connection is given back
HEARTBEAT = 300.0  # seconds after which an idle worker looks for what other processes may have left behind
EXIT_DEADLINE = 5.0  # seconds that the end of a process may wait for us, in all
FLUSH_DEADLINE = 120.0  # seconds that a call of flush() waits at the most
ROTATE_ABOVE = 64 * 1024  # bytes from which a segment that is imported to its end is given up, so that it can go
PRUNE_EVERY = 6 * 3600.0

log = logging.getLogger("django_maillog")


class Request:
    """Something that a thread wants the worker to do, and may wait for."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._done = threading.Event()

    def run(self) -> None:
        try:
            self._work()
        finally:
            self._done.set()

    def wait(self, seconds: float) -> bool:
        """Whether it was done in time."""
        return self._done.wait(seconds)


class Worker:
    """The background work of one process."""

    def __init__(self) -> None:
        self._wake = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._clock: threading.Thread | None = None
        self._requests: list[Request] = []
        self._urgent = False
        self._asleep = False  # waiting for more than a tick: a record must wake it
        self._seen = -1  # spool.appended when the worker last looked: -1 so that it looks at least once
        self._busy_since: float | None = None  # since when the database has owed an answer
        self._pruned_at = 0.0
        self._exit_at: float | None = None

    # Called by other threads

    def start(self) -> bool:
        """Make sure that the threads run; False if the interpreter starts no more."""
        with self._wake:
            if self._thread is None or not self._thread.is_alive():
                try:
                    self._thread = self._run_thread("maillog-worker", self._work)
                    self._clock = self._run_thread("maillog-clock", self._watch)
                except RuntimeError:  # at the end of the interpreter: what the spool holds waits for the next process
                    return False
            return True

    def notify(self, *, urgent: bool) -> None:
        """There is a new line in the spool."""
        if self._thread is None:
            self.start()
        if urgent or self._asleep:
            self._knock(urgent=urgent)

    def request(self, work: Callable[[], object]) -> Request | None:
        """Have the worker's thread call this as soon as it can; None if there is no thread to do it."""
        if not self.start():
            return None
        request = Request(work)
        with self._wake:
            self._requests.append(request)
            self._wake.notify_all()
        return request

    def is_current_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def exit_seconds(self) -> float:
        """What is left of the time that the end of the process may take; the first call starts it."""
        now = time.monotonic()
        if self._exit_at is None or now > self._exit_at + EXIT_DEADLINE:
            self._exit_at = now + EXIT_DEADLINE
        return max(0.0, self._exit_at - now)

    def _knock(self, *, urgent: bool) -> None:
        with self._wake:
            self._urgent = self._urgent or urgent
            self._asleep = False
            self._wake.notify_all()

    def _run_thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._muted, args=[work], name=name, daemon=True)
        thread.start()
        return thread

    def _muted(self, work: Callable[[], None]) -> None:
        with conf.muted():
            work()

    # The worker's thread

    def _work(self) -> None:
        wait = 0.0
        while True:
            for request in self._wait(wait):
                self._guarded(request.run)
            wait = self._round()

    def _wait(self, seconds: float) -> list[Request]:
        """Wait for a request, an urgent record, or the time; any record ends a sleep of more than a tick."""
        with self._wake:
            self._asleep = asleep = seconds > TICK
            if spool.appended != self._seen:  # asked after _asleep is set, as notify() appends before it asks
                self._asleep = False
            self._wake.wait_for(lambda: self._called() or self._asleep != asleep, seconds)
            if asleep and not self._asleep:
                self._wake.wait_for(self._called, TICK)  # a record: its companions come along
            self._asleep = self._urgent = False
            requests, self._requests = self._requests, []
            self._wake.notify_all()  # the clock watches again
        return requests

    def _called(self) -> bool:
        return bool(self._requests) or self._urgent

    def _round(self) -> float:
        """Import, seal and deliver what is due; how many seconds the worker may sleep now."""
        self._seen = spool.appended
        spool.write_lost()
        pause = RETRY
        if self._guarded(lambda: _flush(None, everything=False)):
            spool.rotate_if_imported(larger_than=ROTATE_ABOVE)
            self._guarded(self._prune)
            pause = self._pause()
        if spool.appended != self._seen:
            return min(pause, TICK)
        if pause > IDLE:
            connections.close_all()
        return pause

    def _pause(self) -> float:
        seconds = HEARTBEAT

        def ask() -> None:
            nonlocal seconds
            moment = queue.next_event()
            if moment is not None:
                seconds = max(0.2, min(HEARTBEAT, (moment - timezone.now()).total_seconds()))

        self._guarded(ask)
        return seconds

    def _prune(self) -> None:
        if time.monotonic() - self._pruned_at > PRUNE_EVERY or not self._pruned_at:
            self._pruned_at = time.monotonic()
            now = timezone.now()
            queue.prune(now - timedelta(days=conf.retention_days()), now)

    def _guarded(self, work: Callable[[], object]) -> bool:
        """Do something that needs the database, under the clock's eyes; whether it worked."""
        if self._busy_since is None:
            self._busy_since = time.monotonic()
        try:
            for connection in connections.all(initialized_only=True):
                connection.close_if_unusable_or_obsolete()
            work()
        except Exception as error:  # the thread must outlive everything: what went wrong is tried again
            log.warning("flush failed, trying again: error=%s: %s", type(error).__name__, error)
            with contextlib.suppress(Exception):
                connections.close_all()
            return False
        self._busy_since = None
        return True

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """While a mail server is waited for, the database owes nothing."""
        self._busy_since = None
        try:
            yield
        finally:
            self._busy_since = time.monotonic()

    # The clock's thread

    def _watch(self) -> None:
        mailer = outage.Mailer()
        while True:
            with self._wake:
                self._wake.wait_for(lambda: not self._asleep or self._busy_since is not None)
            since, patience = self._busy_since, conf.outage_wait()
            if since is not None and time.monotonic() - since >= patience:
                try:
                    mailer.mail()
                except Exception:  # the clock must go on, whatever a target or template does
                    log.exception("the spool can't be mailed")
            time.sleep(min(1.0, patience / 4))


worker = Worker()


def notify(*, urgent: bool = False) -> None:
    """A record is in the spool: have it imported within a second, or at once."""
    mode = conf.worker()
    if mode == "inline":
        with conf.muted():
            spool.rotate()  # a segment of its own: a test that rolls back leaves nothing behind
            _flush(None, everything=False)
    elif mode == "thread" and not conf.testing():
        worker.notify(urgent=urgent)


def wake() -> None:
    """Look once for what earlier processes left behind."""
    if conf.worker() == "thread" and not conf.testing():
        worker.start()


def request_flush(handler: BufferingHandler) -> None:
    """Have the worker call the handler's flush(), without waiting for it."""
    if conf.worker() == "thread" and not conf.testing():
        worker.request(handler.flush)
    else:
        handler.flush()


def flush(buffer: str) -> None:
    """Mail everything that a buffer holds, whatever the rules say; returns when its delivery was tried."""
    _do(lambda: _flush([buffer], everything=True), FLUSH_DEADLINE)


def close(handler: BufferingHandler, *, everything: bool) -> None:
    """At the end of a process: import; mail everything, or else the news; all within EXIT_DEADLINE seconds.

    What doesn't fit waits in spool and database.
    """
    if conf.worker() == "none" or (conf.testing() and conf.worker() != "inline"):
        return
    seconds = worker.exit_seconds()
    deadline = time.monotonic() + seconds
    spool.write_lost()
    _do(
        lambda: _flush([handler.buffer], everything=everything, at_exit=True, stop=lambda: time.monotonic() > deadline),
        seconds,
    )


def _flush(
    buffers: Collection[str] | None,
    *,
    everything: bool,
    at_exit: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> queue.Summary:
    """queue.flush as MAILLOG_DELIVERY wants it."""
    send = conf.delivery() == "worker"
    sending = worker.sending if worker.is_current_thread() else contextlib.nullcontext
    return queue.flush(buffers, everything=everything, at_exit=at_exit, send=send, sending=sending, stop=stop)


def _do(work: Callable[[], object], seconds: float) -> None:
    """In the worker's thread where there is one, else here."""
    if worker.is_current_thread() or conf.worker() != "thread" or conf.testing():
        with conf.muted():
            work()
        return
    request = worker.request(work)
    if request is not None and not request.wait(seconds):
        log.warning("flush not finished in time: seconds=%s", seconds)


def _reset_after_fork() -> None:
    worker.__init__()  # type: ignore[misc]  # the child has neither the threads nor a right to the locks' state


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
