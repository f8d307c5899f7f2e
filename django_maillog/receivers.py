"""Receivers of signals: a process's first request, Celery's set-up of logging, the end of its children."""

from __future__ import annotations

import logging
import sys
from typing import Any

from django.core.signals import request_started
from django.db.backends.signals import connection_created

from . import buffers, conf
from .checks.live import reached
from .handlers import scopes
from .handlers.incoming import Incoming
from .handlers.lifecycle import process
from .worker import calls

UID = "django_maillog"
TASK = "celery.task"
# The loggers whose handlers Celery takes away (worker_hijack_root_logger), beside the tasks'.
EMPTIED = ("root", "celery", "celery.redirected")

# The very lists that dictConfig fills and empties. Celery puts new ones in their place, so that these go on
# saying what was attached.
_attached: dict[str, list[logging.Handler]] = {}
_task_logger_passed_on = True


def connect() -> None:
    """Connect what every process needs, and Celery's signals where it is in use."""
    request_started.connect(_wake, dispatch_uid=UID)
    connection_created.connect(_note_test_run, dispatch_uid=UID)
    connect_celery()


def connect_celery() -> None:
    """Have Celery's set-up of logging keep our handlers; nothing where Celery isn't imported.

    Celery's own command imports it before it sets Django up; a receiver of ``setup_logging`` would switch off
    all of Celery's own configuration.
    """
    celery = sys.modules.get("celery.signals")
    if celery is None or _attached:
        return
    scopes.connect_celery()
    for name in (*EMPTIED, TASK):
        _attached[name] = logging.getLogger(name).handlers
    celery.after_setup_logger.connect(_put_back, dispatch_uid=UID)
    celery.after_setup_task_logger.connect(_put_back_on_task_logger, dispatch_uid=UID)
    celery.worker_process_shutdown.connect(_finish, dispatch_uid=UID)


def _wake(**_kwargs: Any) -> None:
    """What an earlier process left behind goes out after a restart, even if nothing is ever logged again."""
    request_started.disconnect(dispatch_uid=UID)
    if buffers.configured():
        calls.wake()


def _note_test_run(**_kwargs: Any) -> None:
    """A test run that logs nothing is to be known all the same, when it is over."""
    conf.testing()


def _put_back(**_kwargs: Any) -> None:
    """Celery has emptied its loggers; the tasks' comes next, without a console if it has a handler."""
    global _task_logger_passed_on  # noqa: PLW0603  # Celery switches it off next
    _task_logger_passed_on = bool(logging.getLogger(TASK).propagate)
    for name in EMPTIED:
        _attach(name, _attached[name])


def _put_back_on_task_logger(**_kwargs: Any) -> None:
    """Celery's task logger passes nothing on any more: it gets the handlers that its records would reach."""
    _attach(TASK, _attached[TASK])
    if _task_logger_passed_on:
        for logger in reached(logging.getLogger(TASK).parent or logging.root):
            _attach(TASK, logger.handlers)


def _attach(name: str, handlers: list[logging.Handler]) -> None:
    """Attach those that are ours, once; from now on this is what a logger has."""
    logger = logging.getLogger(name)
    for handler in handlers:
        if isinstance(handler, Incoming) and handler not in logger.handlers:
            logger.addHandler(handler)
    _attached[name] = logger.handlers


def _finish(**_kwargs: Any) -> None:
    """A child of Celery's pool ends with os._exit, which runs nothing that atexit knows."""
    process.finish()
