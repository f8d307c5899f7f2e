"""The thread that imports and flushes, and beside it a clock that notices when the database is away.

Both are daemon threads that the first record (or a process's first request) starts. The *worker* alone uses
the database, and may be stuck in it for ever; the *clock* therefore runs in a thread of its own, and mails
straight from the spool when the worker has not got through for ``MAILLOG_OUTAGE_WAIT`` seconds.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from django.db import connections

from .. import buffers, conf
from .. import flush as flushing
from ..flush import next_event
from ..forks import forks
from ..outbox.options import FlushOptions
from ..outbox.preload import preload
from ..prune import Pruner
from ..spool import sources
from ..spool.journal import journal
from ..throttle import Throttle
from ..transactions import is_crowded, leave_pools
from . import outage
from .enqueuer import Enqueuer
from .heartbeat import Heartbeat
from .inbox import Inbox

# From a record to its import.
TICK_SECONDS = 1.0
# From an error to the next try.
RETRY_SECONDS = 2.0
# Without work, after which the database connection is given back.
IDLE_SECONDS = 30.0
# Between two looks of an idle worker at the folder: have other processes left something there?
LOOK_SECONDS = 10.0
# After which an idle worker asks the database what has become due.
WAKE_SECONDS = 300.0
# So much longer than a database that is away is waited for one that has no connection for us.
CROWDED_FACTOR = 10

log = logging.getLogger("django_maillog")
T = TypeVar("T")


class Worker:
    """The background work of one process."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.heartbeat = Heartbeat()
        self.enqueuer = Enqueuer(self.heartbeat)
        self.exit_at = -math.inf  # until when the end of the process may wait (monotonic)
        # Lines of this process that an import has seen; at first none, so that it looks once.
        self._appended = -1
        # Segments without an owner that an import has left as they are.
        self._orphans: set[Path] = set()
        self._thread: threading.Thread | None = None
        self._starting = False
        self._pruner = Pruner()
        self._failures = Throttle()

    # Called by other threads

    def start(self) -> bool:
        """Make sure that the threads run; False if the interpreter starts no more."""
        with self.inbox.changed:
            if self._thread is not None and self._thread.is_alive():
                return True
            # A signal handler that logs has interrupted this very call.
            if self._starting:
                return False
            self._starting = True
            try:
                self._run_thread("maillog-clock", self._watch)
                self._thread = self._run_thread("maillog-worker", self._work)
            except RuntimeError:  # the interpreter ends: what the spool holds waits for the next process
                return False
            finally:
                self._starting = False
            return True

    def notify(self, *, urgent: bool) -> bool:
        """There is a new line in the spool; whether there is a thread to import it."""
        if self._thread is None or conf.testing():
            return False
        if urgent or self.inbox.idle:
            self.inbox.wake(urgent=urgent)
        return True

    def request(self, work: Callable[[], object]) -> threading.Event | None:
        """Have the worker's thread call this as soon as it can; None if there is no thread to do it."""
        return self.inbox.put(work) if self.start() else None

    def is_current_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def flush(self, options: FlushOptions) -> None:
        """``flush.flush`` as MAILLOG_DELIVERY wants it; in the thread that calls."""
        with buffers.muted():
            journal.write_lost()
            delivery = conf.or_default(conf.delivery)
            options = replace(options, send=delivery == "worker", sending=self.heartbeat.resting)
            sealed = flushing.flush(options).sealed
            if delivery == "task":
                self.enqueuer.deliver(sealed=sealed > 0)

    def _run_thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def muted() -> None:
            # Of wrong settings the first flush tells.
            with contextlib.suppress(Exception):
                leave_pools()
            with buffers.muted():
                work()

        thread = threading.Thread(target=muted, name=name, daemon=True)
        thread.start()
        return thread

    # The worker's thread

    def _work(self) -> None:
        seconds = 0.0
        while True:
            requests = self._wait(seconds)
            # A record has started the thread before the test run began: the database is the tests' from here.
            if conf.testing():
                break
            with forks.put_off():
                for request in requests:
                    self._watched(request)
                if not self.inbox.ending:
                    seconds = self._round()
        connections.close_all()
        # The clock, which ends with us, sleeps as long as we do.
        self.inbox.wake(urgent=False)

    def _wait(self, seconds: float) -> list[Callable[[], object]]:
        """Wait for a request, an urgent record, or the time; any record makes it a tick from then."""
        until = time.monotonic() + seconds
        while not (self.inbox.is_called() or conf.testing()):
            left = until - time.monotonic()
            if left <= 0 and not self.inbox.ending:
                break
            if self._has_come():
                # Its companions come along.
                until = min(until, time.monotonic() + TICK_SECONDS)
                self.inbox.wait(until - time.monotonic())
            else:
                self.inbox.wait(min(left, LOOK_SECONDS), self._has_come)
                # A process that ended has left something.
                if sources.orphans() - self._orphans:
                    break
        return self.inbox.take()

    def _has_come(self) -> bool:
        """Whether this process has appended anything that no import has seen."""
        return journal.appended != self._appended

    def _round(self) -> float:
        """Import, seal and deliver what is due; how many seconds the worker may wait now."""
        self._appended = journal.appended
        seconds = self._watched(self._flush_and_prune)
        if seconds is None:
            return RETRY_SECONDS
        if self._has_come():
            return min(seconds, TICK_SECONDS)
        if seconds > IDLE_SECONDS:
            connections.close_all()
        return seconds

    def _flush_and_prune(self) -> float:
        """One round's work; how many seconds later there is more."""
        options = FlushOptions(everything=False, others=False, stop=conf.testing)
        began_at = options.clock()
        orphans = sources.orphans()
        self.flush(options)
        journal.rotate_if_imported()
        self._orphans = orphans & sources.orphans()
        self._pruner.prune_if_time(options.clock, progress=lambda _rows: self.heartbeat.beat())
        moment = next_event(began_at)
        seconds = math.inf if moment is None else (moment - options.clock()).total_seconds()
        return max(0.2, min(WAKE_SECONDS, self.enqueuer.retry_seconds(), seconds))

    def _watched(self, work: Callable[[], T]) -> T | None:
        """What something that needs the database returns, under the clock's eyes; None if it failed."""
        self.heartbeat.expect()
        try:
            for connection in connections.all(initialized_only=True):
                connection.close_if_unusable_or_obsolete()
            found = work()
        except Exception as error:  # the thread must outlive everything: what went wrong is tried again
            self._failures.warn("flush failed, trying again: error=%s: %s", type(error).__name__, error)
            self.heartbeat.is_crowded = is_crowded(error)
            with contextlib.suppress(Exception):
                connections.close_all()
            return None
        self.heartbeat.rest()
        self._failures.reset()
        return found

    # The clock's thread

    def _watch(self) -> None:
        preload()
        mailer = outage.Mailer()
        while not (self.inbox.ending or conf.testing()):
            try:
                patience = conf.or_default(conf.outage_wait)
                is_crowded = self.heartbeat.is_crowded
                if self.heartbeat.silent_seconds() >= patience * (CROWDED_FACTOR if is_crowded else 1):
                    mailer.mail(crowded=is_crowded)
            except Exception:  # the clock must go on, whatever a setting, a target or a template does
                log.exception("the spool can't be mailed")
                patience = RETRY_SECONDS
            self.inbox.wait_beside(min(1.0, patience / 4), self.heartbeat.is_owed)


worker = Worker()

if hasattr(os, "register_at_fork"):
    # The child has neither the threads nor a right to the locks' state.
    os.register_at_fork(after_in_child=worker.__init__)  # type: ignore[misc]
