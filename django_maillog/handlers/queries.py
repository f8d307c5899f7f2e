"""Queries as lines of context, for the handlers that ask for them."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable
from typing import Any

from django.db.backends.signals import connection_created

from .. import buffers
from ..capture.context import LINE_LIMIT
from ..capture.text import class_name

# As Django names the logger that has them under DEBUG.
LOGGER = "django.db.backends"


_noting: weakref.WeakSet[Any] = weakref.WeakSet()


def note_for(handler: logging.Handler) -> None:
    """Have this handler get a line for each query of the connections that are opened from now on."""
    _noting.add(handler)
    connection_created.connect(_watch, dispatch_uid="django_maillog.queries")


def _watch(connection: Any, **_kwargs: Any) -> None:
    """Watch a connection; not with ``force_debug_cursor``, which keeps every query of a request.

    First in its list, which is the outermost: ``execute_wrapper()`` takes the last one off when it is done.
    """
    if _noting and _execute not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _execute)


def _execute(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    began_at = time.perf_counter()
    exception = ""
    try:
        return execute(sql, params, many, context)
    except Exception as error:
        exception = class_name(type(error))
        raise
    finally:
        if not buffers.thread.muted:
            _note(sql, time.perf_counter() - began_at, exception)


def _note(sql: Any, seconds: float, exception: str) -> None:
    # Parameters are left out, and what is no text may hold some.
    text = sql if type(sql) is str else f"<{class_name(type(sql))}>"
    message = f"({seconds * 1000:.1f} ms) {text[:LINE_LIMIT]}"
    length = len(message) + max(len(text) - LINE_LIMIT, 0)
    line = (time.time(), logging.DEBUG, LOGGER, message, length, exception)
    for handler in _noting:
        handler.note_line(line)
