"""When requests and tasks begin and end, for the handlers that keep something of each."""

from __future__ import annotations

import sys
from typing import Any

from django.core.signals import request_finished, request_started

from .. import compat
from ..capture import context

UID = "django_maillog.scopes"

_is_connected = False


def connect() -> None:
    """Connect the signals of requests and tasks; only a handler that needs them asks for it."""
    global _is_connected  # noqa: PLW0603  # Celery may be imported later
    _is_connected = True
    request_started.connect(_begin_request, dispatch_uid=UID)
    request_finished.connect(_end, dispatch_uid=UID)
    if tasks := compat.task_signals():
        tasks.task_started.connect(_begin_task, dispatch_uid=UID)
        tasks.task_finished.connect(_end, dispatch_uid=UID)
    connect_celery()


def connect_celery() -> None:
    """Connect Celery's signals, where it is imported by now."""
    celery = sys.modules.get("celery.signals")
    if celery is not None and _is_connected:
        celery.task_prerun.connect(_begin_task, dispatch_uid=UID)
        celery.task_postrun.connect(_end, dispatch_uid=UID)


def _begin_request(**_kwargs: Any) -> None:
    context.begin("request")


def _begin_task(**_kwargs: Any) -> None:
    context.begin("task")


def _end(**_kwargs: Any) -> None:
    context.end()
