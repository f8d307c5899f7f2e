"""The life of a process, as handlers see it: when the database side is there, a fork, who asks for an end."""

from __future__ import annotations

import atexit
import logging
import logging.config
import os
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, ModuleType
from typing import Any

from django.apps import apps

from .. import buffers
from ..buffers import BufferHandler

# dictConfig and fileConfig close every handler through this before they make new ones; the old ones stay
# attached to loggers that the new configuration doesn't name.
_clear_handlers: Callable[..., Any] = logging.config._clearExistingHandlers  # type: ignore[attr-defined]


class Process:
    """What this process has to report before it ends; a fork's child begins afresh."""

    def __init__(self, *, is_fork: bool = False) -> None:
        self.ending = False
        # By buffer, the handlers with records that came since they were last closed. Strong references: a
        # second dictConfig takes handlers out of the list that logging.shutdown walks, and lets go of those
        # that no logger holds.
        self.unreported: dict[str, BufferHandler] = {}
        self._is_fork = is_fork
        self._has_finalizer = False
        self._calls: ModuleType | None = None

    def worker_calls(self) -> ModuleType | None:
        """The database side; None while apps load, and without the app (check E001)."""
        if self._calls is None and apps.ready and apps.is_installed("django_maillog"):
            # The app's ready() has imported it.
            from ..worker import calls

            self._calls = calls
        return self._calls

    def note(self, handler: BufferHandler) -> None:
        """A handler has records of this process."""
        self.unreported[handler.buffer] = handler
        if self._has_finalizer:
            return
        self._has_finalizer = True
        # multiprocessing (and billiard) ends children with os._exit; its finalizers run before that.
        util = sys.modules.get("multiprocessing.util")
        if util is not None and (self._is_fork or _is_child()):
            util.Finalize(None, self.finish, exitpriority=0)

    def finish(self) -> None:
        """Report what is unreported: the process ends now."""
        self.ending = True
        if calls := self.worker_calls():
            calls.end()
        for handler in list(self.unreported.values()):
            handler.close()


def _is_child() -> bool:
    """Whether multiprocessing has started this process, be it by a fork of a server without us."""
    started = sys.modules.get("multiprocessing.process")
    return started is not None and started.parent_process() is not None


def is_shutdown(frame: FrameType | None) -> bool:
    """Whether ``logging.shutdown`` is among a call's callers: on Python 3.11 it ignores ``flushOnClose``."""
    return logging.shutdown.__code__ in _codes(frame)


def is_reconfiguration(frame: FrameType | None) -> bool:
    """Whether a new logging configuration is among a call's callers: the process goes on, logging waits."""
    return _clear_handlers.__code__ in _codes(frame)


def _codes(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def _after_fork_in_child() -> None:
    """The parent reports what it has recorded; the child has seen nothing yet."""
    process.__init__(is_fork=True)  # type: ignore[misc]
    for handler in buffers.living():
        handler.forget_sights()


process = Process()

# Before logging.shutdown, which was registered earlier.
atexit.register(process.finish)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
