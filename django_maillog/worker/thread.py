"""The thread that imports and flushes, and beside it a clock that notices when the database is away.

Both are daemon threads that the first record (or a process's first request) starts. The *worker* alone uses
the database, and may be stuck in it for ever; the *clock* therefore runs in a thread of its own, and mails
straight from the spool when the worker has not got through for ``MAILLOG_OUTAGE_WAIT`` seconds.

A record is imported within a second, as the design says, but for a storm's repeats: these within five.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.utils import timezone

from .. import buffers, conf
from .. import flush as flushing
from ..flush import next_event
from ..models import Batch
from ..prune import prune
from ..spool import sources
from ..spool.journal import journal
from . import outage

if TYPE_CHECKING:
    from ..handlers import BufferingHandler

TICK = 1.0  # seconds from a record to its import
STORM = 100  # records in a round from which on there is a storm
STORM_TICK = 5.0  # seconds at the most from a repeat to its import then; it costs the same with many more
RETRY = 2.0  # seconds from a database error to the next try
IDLE = 30.0  # seconds without work after which the database connection is given back
LOOK_EVERY = (
    10.0  # seconds between two looks of an idle worker at the folder: have processes left something there?
)
HEARTBEAT = 300.0  # seconds after which an idle worker asks the database what has become due
EXIT_DEADLINE = 5.0  # seconds that the end of a process may wait for us, in all
FLUSH_DEADLINE = 120.0  # seconds that a call of flush() waits at the most
ENQUEUE_EVERY = 60.0  # seconds between two tasks for batches that wait
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
        self._wake = threading.Condition()  # re-entrant: a signal handler may log while it is held
        self._thread: threading.Thread | None = None
        self._clock: threading.Thread | None = None
        self._starting = False
        self._requests: list[Request] = []
        self._urgent = False
        self._asleep = False  # waiting for more than a tick: a record must wake it, in a storm news
        self._storm = False  # the last round imported so much that repeats may wait for more
        self._news = False  # a record came that is no repeat
        self._ending = False  # the interpreter ends: only what is asked for is still done
        self._seen = -1  # journal.appended when the worker last looked: -1 so that it looks at least once
        self._orphans: set[Path] = set()  # what the last round left of segments without an owner
        self._busy_since: float | None = None  # since when the database has owed an answer
        self._pruned_at: float | None = None
        self._enqueued_at: float | None = None
        self._exit_at: float | None = None

    # Called by other threads

    def start(self) -> bool:
        """Make sure that the threads run; False if the interpreter starts no more."""
        with self._wake:
            if self._thread is not None and self._thread.is_alive():
                return True
            if self._starting:  # a signal handler that logs has interrupted this very call
                return False
            self._starting = True
            try:
                self._clock = self._run_thread("maillog-clock", self._watch)
                self._thread = self._run_thread("maillog-worker", self._work)
            except RuntimeError:  # the interpreter ends: what the spool holds waits for the next process
                return False
            finally:
                self._starting = False
            return True

    def notify(self, *, urgent: bool, news: bool) -> bool:
        """There is a new line in the spool; whether there is a thread to import it."""
        if self._thread is None:
            return False
        if news:
            self._news = True
        if urgent or (self._asleep and (news or not self._storm)):
            self._knock(urgent=urgent)
        return True

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

    def end(self) -> None:
        """Start nothing by itself any more: a thread that is busy while the interpreter ends can crash it."""
        with self._wake:
            self._ending = True
            self._wake.notify_all()

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
        with buffers.muted():
            work()

    # The worker's thread

    def _work(self) -> None:
        wait = 0.0
        while True:
            for request in self._wait(wait):
                self._guarded(request.run)
            if not self._ending:
                wait = self._round()

    def _wait(self, seconds: float) -> list[Request]:
        """Wait for a request, an urgent record, or the time; any record ends a sleep of more than a tick."""
        until = time.monotonic() + seconds
        while not self._doze(seconds):
            seconds = until - time.monotonic()
            if not self._ending and (seconds <= 0 or sources.orphans() - self._orphans):
                break
        with self._wake:
            self._asleep = self._urgent = False
            requests, self._requests = self._requests, []
            self._wake.notify_all()  # the clock watches again
        return requests

    def _doze(self, seconds: float) -> bool:
        """Wait so long, or until there is something to do, or until a look at the folder is due (False)."""
        with self._wake:
            self._asleep = seconds > TICK and not self._has_come()  # notify() appends before it asks
            if self._ending:
                return self._wake.wait_for(lambda: bool(self._requests))
            if seconds > TICK:
                self._wake.wait_for(lambda: self._called() or not self._asleep, min(seconds, LOOK_EVERY))
                if self._asleep or self._called():
                    return self._called()
                seconds = TICK  # a record: its companions come along
            self._wake.wait_for(self._called, seconds)
            return True

    def _called(self) -> bool:
        return bool(self._requests) or self._urgent or self._ending

    def _has_come(self) -> bool:
        """Whether there is something to import that doesn't wait for more."""
        return self._news if self._storm else journal.appended != self._seen

    def _round(self) -> float:
        """Import, seal and deliver what is due; how many seconds the worker may sleep now."""
        self._news = False
        self._seen = journal.appended
        began_at = timezone.now()
        if not self._guarded(self._flush_and_tidy):
            return RETRY
        pause = HEARTBEAT

        def ask() -> None:
            nonlocal pause
            moment = next_event(began_at)
            if moment is not None:
                pause = max(0.2, min(HEARTBEAT, (moment - timezone.now()).total_seconds()))

        if not self._guarded(ask):
            return RETRY
        if journal.appended != self._seen:
            tick = random.uniform(0.6, 1.0) * STORM_TICK  # processes that began together draw apart
            return min(pause, tick if self._storm else TICK)
        self._storm = False
        if pause > IDLE:
            connections.close_all()
        return pause

    def _flush_and_tidy(self) -> None:
        orphans = sources.orphans()
        imported = _flush(None, everything=False, others=False)
        self._storm = imported > STORM
        journal.rotate_if_imported()
        self._orphans = orphans & sources.orphans()  # what came meanwhile is looked at soon
        now = time.monotonic()
        if self._pruned_at is None or now - self._pruned_at > PRUNE_EVERY:
            self._pruned_at = now
            moment = timezone.now()
            prune(
                moment - timedelta(days=conf.retention_days()),
                moment,
                progress=lambda _rows: self._answered(),
            )

    def _guarded(self, work: Callable[[], object]) -> bool:
        """Do something that needs the database, under the clock's eyes; whether it worked."""
        if self._busy_since is None:
            self._answered()
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

    def _answered(self) -> None:
        self._busy_since = time.monotonic()

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """While a mail server is waited for, the database owes nothing."""
        self._busy_since = None
        try:
            yield
        finally:
            self._answered()

    def enqueue(self, *, urgent: bool) -> None:
        """Have a task deliver; if nothing was sealed just now, only what waits, and at most once a minute."""
        now = time.monotonic()
        recently = self._enqueued_at is not None and now - self._enqueued_at < ENQUEUE_EVERY
        batches = Batch.objects.using(router.db_for_write(Batch))
        if urgent or (not recently and batches.deliverable(timezone.now()).exists()):
            from .. import tasks  # only where something runs them

            self._enqueued_at = now
            tasks.enqueue()

    # The clock's thread

    def _watch(self) -> None:
        mailer = outage.Mailer()
        while not self._ending:
            try:
                patience = conf.outage_wait()
                if self._silent_for() >= patience:
                    mailer.mail()
            except Exception:  # the clock must go on, whatever a setting, a target or a template does
                log.exception("the spool can't be mailed")
                patience = RETRY
            with self._wake:
                self._wake.wait_for(lambda: self._ending, min(1.0, patience / 4))
                self._wake.wait_for(lambda: not self._asleep or self._busy_since is not None)

    def _silent_for(self) -> float:
        """How many seconds the database has owed an answer: an import that gets on is one."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - max(since, journal.progress_at)


worker = Worker()


def notify(*, urgent: bool = False, news: bool = True) -> None:
    """A record is in the spool: have it imported at once or within a second, in a storm repeats in five."""
    if worker.notify(urgent=urgent, news=news):  # which says that the mode is "thread"
        return
    mode = _mode()
    if mode == "inline":
        with buffers.muted():
            journal.rotate()  # a segment of its own: a test that rolls back leaves nothing behind
            _flush(None, everything=False)
    elif mode == "thread" and worker.start():
        worker.notify(urgent=urgent, news=news)


def wake() -> None:
    """Look once for what earlier processes left behind."""
    if _mode() == "thread":
        worker.start()


def request_flush(handler: BufferingHandler) -> None:
    """Have the worker call the handler's flush(), without waiting for it."""
    mode = _mode()
    if mode == "inline":
        handler.flush()
    elif mode == "thread":
        worker.request(handler.flush)


def flush(buffer: str) -> None:
    """Mail everything that a buffer holds, whatever the rules say; returns when its delivery was tried."""
    _do(lambda: _flush([buffer], everything=True), FLUSH_DEADLINE)


def close(handler: BufferingHandler, *, everything: bool) -> None:
    """At the end of a process: import; mail everything, or else the news; all within EXIT_DEADLINE seconds.

    What doesn't fit waits in spool and database.
    """
    journal.write_lost()
    if _mode() == "none":
        return
    seconds = worker.exit_seconds()
    deadline = time.monotonic() + seconds
    journal.rotate()  # so that what is imported now leaves no file behind
    buffers = [handler.buffer]

    def work() -> None:
        stop = lambda: time.monotonic() > deadline  # noqa: E731
        _flush(buffers, everything=everything, at_exit=True, others=False, stop=stop)
        if worker.is_current_thread():
            connections.close_all()

    try:
        _do(work, seconds)
    except Exception as error:  # an exit must not end in a traceback: the next process imports and mails it
        log.warning("flush at exit failed: error=%s: %s", type(error).__name__, error)


def _mode() -> str:
    """The setting; while tests run, no thread starts by itself."""
    try:
        mode = conf.worker()
    except ImproperlyConfigured:  # a system check reports it; the records come first
        mode = "thread"
    return "none" if mode == "thread" and conf.testing() else mode


def _flush(
    buffers: Collection[str] | None,
    *,
    everything: bool,
    at_exit: bool = False,
    others: bool = True,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """queue.flush as MAILLOG_DELIVERY wants it; ``others`` as in spool.segments. The records imported."""
    journal.write_lost()
    delivery = conf.delivery()
    summary = flushing.flush(
        buffers,
        everything=everything,
        at_exit=at_exit,
        others=others,
        send=delivery == "worker",
        sending=worker.sending if worker.is_current_thread() else contextlib.nullcontext,
        stop=stop,
    )
    if delivery == "task":
        worker.enqueue(urgent=summary.sealed > 0)
    return summary.imported


def _do(work: Callable[[], object], seconds: float) -> None:
    """In the worker's thread where there is one, else here."""
    if worker.is_current_thread() or _mode() != "thread":
        with buffers.muted():
            work()
        return
    request = worker.request(work)
    if request is not None and not request.wait(seconds):
        log.warning("flush not finished in time: seconds=%s", seconds)


def _reset_after_fork() -> None:
    worker.__init__()  # type: ignore[misc]  # the child has neither the threads nor a right to the locks' state


atexit.register(
    worker.end
)  # before the handlers' own, which was registered earlier: that may still ask for work
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
