"""A flusher that goes on until it is told to stop: what ``flush_maillogs --watch`` runs."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any, Self

from django.db import Error, connections

from .flush import Summary, flush, next_event
from .outbox.options import FlushOptions
from .prune import Pruner
from .throttle import Throttle

# From the signal, for what is under way: a mail server may not have answered yet.
GRACE_SECONDS = 5.0


class Termination:
    """While it is entered, the signals stop the work between two steps, and after 5 s where it is.

    The second signal stops it at once: both raise KeyboardInterrupt. Python tells its main thread alone.
    """

    def __init__(self, *signals: signal.Signals) -> None:
        self._signals = signals
        self._before: dict[signal.Signals, Any] = {}
        self._is_asked = False
        self._has_alarm = False
        self._pipe = (-1, -1)

    def is_asked(self) -> bool:
        return self._is_asked

    def wait(self, seconds: float) -> None:
        """Return after this time, or as soon as a signal comes."""
        if os.name == "nt":  # where select() takes sockets alone
            time.sleep(min(seconds, 1.0))
        elif not self._is_asked:
            select.select([self._pipe[0]], [], [], seconds)

    def __enter__(self) -> Self:
        self._pipe = os.pipe()
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._ask) for each in self._signals}
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._has_alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in self._before.items():
            signal.signal(each, handler)
        for fd in self._pipe:
            os.close(fd)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._is_asked:
            self._interrupt(number, frame)
        self._is_asked = True
        # No lock can be waited for in a signal handler: the pipe ends a wait.
        os.write(self._pipe[1], b".")
        # Only now: until it is needed the alarm is the project's, and Windows has none.
        if hasattr(signal, "setitimer"):
            self._has_alarm = True
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._interrupt)
            signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt


def watch(
    options: FlushOptions,
    *,
    interval: float,
    stop: Termination,
    tell: Callable[[Summary], object],
    warn: Callable[..., object],
    ready: Callable[[], object],
) -> None:
    """Flush what is due, again and again, until it is stopped, and prune; any number of processes may.

    ``interval``: seconds between two looks at the spool, at most; what becomes due in the database is sealed
    when it is. ``tell`` is called with what a flush did, if it did anything, ``warn`` with a message and its
    arguments, ``ready`` after the first flush. An outage of the database or a mail server is survived: it is
    warned of, and tried again.
    """
    failures, pruner = Throttle(warn), Pruner()
    tell_ready = functools.cache(ready)  # once
    while not stop.is_asked():
        seconds = interval
        try:
            # With a clock of its own.
            asked = replace(options, clock=FlushOptions().clock, stop=stop.is_asked)
            done = flush(asked)
            pruner.prune_if_time(asked.clock, stop=stop.is_asked)
            failures.reset()
            if done.imported or done.set_aside or done.sealed or done.outcomes:
                tell(done)
            seconds = min(interval, _seconds_to_next_event(asked))
        except Exception as error:  # a service outlives everything: what went wrong is tried again
            failures.warn("flush failed, trying again: error=%s: %s", type(error).__name__, error)
            if isinstance(error, Error):
                with contextlib.suppress(Exception):
                    connections.close_all()
        tell_ready()
        stop.wait(seconds)


def _seconds_to_next_event(options: FlushOptions) -> float:
    now = options.clock()
    moment = next_event(now)
    return float("inf") if moment is None else max(0.2, (moment - now).total_seconds())


def notify_systemd(state: str) -> None:
    """Tell a service manager, if it asked for it (sd_notify(3)), for example "READY=1"."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):  # an abstract socket
        address = f"\0{address[1:]}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.sendto(state.encode(), address)
