"""How a buffer's handler is configured, read from it for processes that don't have it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from django.db import connections

from .. import buffers
from ..buffers import BufferHandler
from .lines import Configuration, encode_configuration


def encode(handler: BufferHandler) -> bytes:
    """The line for a handler. A target that is wrong must not cost the record: a system check reports it."""
    configuration: Configuration = {}
    error = ""
    try:
        configuration["rules"] = handler.rules._asdict()
        with _without_queries():
            addressee = buffers.addressee(handler.target)
        configuration["recipients"] = addressee.recipients
        configuration["sender"] = addressee.sender
        configuration["using"] = addressee.using
    except Exception as raised:  # whatever a project's get_recipients() does
        error = type(raised).__name__
    return encode_configuration(handler.buffer, configuration, error=error)


@contextlib.contextmanager
def _without_queries() -> Iterator[None]:
    """Refuse what a project's get_recipients() asks the database: a logging call waits for none."""

    def refuse(execute: Callable[..., Any], sql: str, *_rest: object) -> NoReturn:
        raise RuntimeError("no query in a logging call")

    with contextlib.ExitStack() as stack:
        for connection in connections.all(initialized_only=True):
            stack.enter_context(connection.execute_wrapper(refuse))
        yield
