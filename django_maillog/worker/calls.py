"""What handlers ask of the worker: a record is there, flush, the process ends."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from functools import cache

from django.db import connections

from .. import buffers, conf
from ..buffers import BufferHandler
from ..outbox.options import FlushOptions
from ..spool.journal import journal
from ..transactions import put_off
from .thread import worker

# That a call of flush() waits at the most.
FLUSH_SECONDS = 120.0
# That the end of a process waits, however many handlers it closes.
EXIT_SECONDS = 5.0

log = logging.getLogger("django_maillog")


def notify(*, urgent: bool = False) -> None:
    """A record is in the spool: have it imported within a second, an urgent one at once."""
    # True only where the mode is "thread".
    if worker.notify(urgent=urgent):
        return
    mode = _mode()
    if mode == "inline":
        # A segment of its own: a test that rolls back leaves nothing behind.
        journal.rotate()
        _do(_flushing(None), FLUSH_SECONDS)
    elif mode == "thread" and _forks_behind_python():
        # So that those that it forks may import what it has logged.
        journal.rotate()
    elif mode == "thread" and worker.start():
        worker.notify(urgent=urgent)


def wake() -> None:
    """Look once for what earlier processes left behind."""
    if _mode() == "thread" and not _forks_behind_python():
        worker.start()


def _forks_behind_python() -> bool:
    """Whether this is uWSGI's master: if it had threads when it forks, what it forks would hang."""
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi is not None and uwsgi.worker_id() == 0


def request_flush(handler: BufferHandler) -> None:
    """Have the worker call the handler's flush(), without waiting for it."""
    mode = _mode()
    if mode == "inline":
        handler.flush()
    elif mode == "thread":
        worker.request(handler.flush)


def flush(buffer: str) -> None:
    """Mail everything that a buffer holds, whatever the rules say; returns when its delivery was tried.

    Where no thread works, and the caller is in a transaction, that is once it is committed.
    """
    _do(_flushing(buffer), FLUSH_SECONDS)


def close(handler: BufferHandler, *, everything: bool) -> None:
    """At the end of a process: import; mail everything, or else the news; all within a few seconds.

    What doesn't fit waits in spool and database.
    """
    journal.write_lost()
    if _mode() == "none":
        return
    seconds = _exit_seconds_left()
    give_up_at = time.monotonic() + seconds
    # So that what is imported now leaves no file behind.
    journal.rotate()
    options = FlushOptions(
        buffers=[handler.buffer],
        everything=everything,
        at_exit=True,
        others=False,
        stop=lambda: time.monotonic() > give_up_at,
    )

    def work() -> None:
        worker.flush(options)
        if worker.is_current_thread():
            connections.close_all()

    try:
        _do(work, seconds)
    except Exception as error:  # an exit must not end in a traceback: the next process imports and mails it
        log.warning("flush at exit failed: error=%s: %s", type(error).__name__, error)


def end() -> None:
    """The process ends: a thread that is busy meanwhile can crash it, so do only what is asked for."""
    worker.inbox.end()


@cache  # the same function each time: it is put off once
def _flushing(buffer: str | None) -> Callable[[], None]:
    """Mails everything that a buffer holds; without one what is due, of all."""

    def flush_buffer() -> None:
        options = FlushOptions(everything=False) if buffer is None else FlushOptions(buffers=[buffer])
        worker.flush(options)

    return flush_buffer


def _exit_seconds_left() -> float:
    """The first call sets the time that is left, as does one long after it: the process has gone on."""
    now = time.monotonic()
    if now > worker.exit_at + EXIT_SECONDS:
        worker.exit_at = now + EXIT_SECONDS
    return max(0.0, worker.exit_at - now)


def _mode() -> str:
    """The setting; while tests run, no thread starts by itself, and after them nothing is done."""
    if conf.tested():
        return "none"
    mode = conf.or_default(conf.worker)
    return "none" if mode == "thread" and conf.testing() else mode


def _do(work: Callable[[], object], seconds: float) -> None:
    """In the worker's thread where there is one, else here: at once, or after the caller's transaction."""
    if conf.tested():
        return
    if worker.is_current_thread() or _mode() != "thread":
        with buffers.muted():  # a project's router may log
            if not put_off(work):
                work()
        return
    done = worker.request(work)
    if done is not None and not done.wait(seconds):
        log.warning("flush not finished in time: seconds=%s", seconds)
