"""The lines that say how a buffer's handler is configured, for processes that don't have it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypedDict, TypeVar

from django.db import connections

from .. import buffers
from ..buffers import BufferHandler
from ..capture.plain import json_line
from ..capture.text import safe_text
from ..policy import Rules
from .lines import BUFFER_CHARACTERS, json_object

LINE_START = b'{"configures"'
ADDRESS_CHARACTERS = 320
MAX_RECIPIENTS = 1_000
T = TypeVar("T")


class Configuration(TypedDict, total=False):
    """Whom a buffer's mails go to, through which mailer, and by which rules; nothing secret.

    Among the rules is whether the mailer is the handler's own (``buffers.stored_rules``).
    """

    recipients: list[str]
    sender: str
    using: str
    rules: dict[str, Any]


def encode(handler: BufferHandler) -> bytes:
    """The line for a handler. A target that is wrong must not cost the record: a system check names it."""
    value: dict[str, Any] = {"configures": handler.buffer}
    with contextlib.suppress(Exception), _without_queries():  # whatever a project's get_recipients() does
        value["rules"] = buffers.stored_rules(handler)
        value |= buffers.addressee(handler.target)._asdict()
    return json_line(value)


def parse(line: bytes) -> tuple[str, Configuration]:
    """The buffer and its configuration that a line says; raises ValueError or TypeError if it is none."""
    value = json_object(line)
    found: Configuration = {}
    if "rules" in value:
        rules = _checked("rules", value["rules"], dict)
        found["rules"] = Rules.of(rules)._asdict()
        if rules.get(buffers.OWN_MAILER) is True:
            found["rules"][buffers.OWN_MAILER] = True
    if "recipients" in value:
        recipients = _checked("recipients", value["recipients"], list)[:MAX_RECIPIENTS]
        found["recipients"] = [_text("recipients", address, ADDRESS_CHARACTERS) for address in recipients]
    if "sender" in value:
        found["sender"] = _text("sender", value["sender"], ADDRESS_CHARACTERS)
    if "using" in value:
        found["using"] = _text("using", value["using"], BUFFER_CHARACTERS)
    return _text("configures", value["configures"], BUFFER_CHARACTERS), found


def _text(name: str, value: object, limit: int) -> str:
    return safe_text(_checked(name, value, str), limit)


def _checked(name: str, value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is a {type(value).__name__}, not a {kind.__name__}")
    return value


@contextlib.contextmanager
def _without_queries() -> Iterator[None]:
    """Refuse what a project's get_recipients() asks the database: a logging call waits for none."""

    def refuse(execute: Callable[..., Any], sql: str, *_rest: object) -> NoReturn:
        raise RuntimeError("no query in a logging call")

    with contextlib.ExitStack() as stack:
        for connection in connections.all(initialized_only=True):
            stack.enter_context(connection.execute_wrapper(refuse))
        yield
