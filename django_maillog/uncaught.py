"""Log what nobody catches: uncaught exceptions of commands, scripts and threads; off by default."""

from __future__ import annotations

import logging
import os
import sys
import threading
from types import TracebackType

LOGGER = "uncaught"


def log_uncaught() -> None:
    """Have uncaught exceptions logged as errors of the logger "uncaught", then told as ever.

    Call it in the ``ready()`` of one of the project's apps. Python tells nobody but standard error of what
    ends a command or a thread; Django logs what ends a request.
    """
    if getattr(sys.excepthook, "__module__", "") == __name__:
        return
    process_before, thread_before = sys.excepthook, threading.excepthook

    def process_hook(kind: type[BaseException], error: BaseException, tb: TracebackType | None) -> None:
        command = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:2]]) if sys.argv else "Python"
        _log(f"{command} ended by an uncaught exception", error, tb)
        process_before(kind, error, tb)

    def thread_hook(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "a thread"
        if args.exc_value is not None:
            _log(f"{name} ended by an uncaught exception", args.exc_value, args.exc_traceback)
        thread_before(args)

    sys.excepthook, threading.excepthook = process_hook, thread_hook


def _log(message: str, error: BaseException, tb: TracebackType | None) -> None:
    # Not KeyboardInterrupt and SystemExit, by which somebody ends it on purpose.
    if isinstance(error, Exception):
        logging.getLogger(LOGGER).error("%s", message, exc_info=(type(error), error, tb))
