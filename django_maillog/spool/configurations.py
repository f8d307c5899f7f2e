"""How a buffer's handler is configured, as a line of its segment: for processes without that handler."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, TypeVar

from django.db import connections

from ..capture.text import safe_text
from ..policy import Rules

if TYPE_CHECKING:
    from ..handlers import BufferingHandler

T = TypeVar("T")

START = b'{"configures"'
BUFFER_CHARACTERS = 200
ADDRESS_CHARACTERS = 320
MAX_RECIPIENTS = 1_000


class Configuration(TypedDict, total=False):
    """Whom a buffer's mails go to, through which mailer, and by which rules; nothing secret."""

    recipients: list[str]
    sender: str
    using: str
    rules: dict[str, Any]


def encode(handler: BufferingHandler) -> bytes:
    """The line for a handler. A target that is wrong must not cost the record: a system check reports it."""
    value: dict[str, Any] = {"configures": handler.buffer}
    try:
        value["rules"] = handler.rules._asdict()
        with _without_queries():
            target = handler.target
            recipients = [str(address) for address in target.get_recipients()]
            value |= {"recipients": recipients, "sender": str(target.get_sender())}
            value["using"] = target.using or ""
        return json.dumps(value).encode() + b"\n"
    except Exception as error:  # whatever a project's get_recipients() does
        value["error"] = type(error).__name__
        return json.dumps(value, default=str).encode() + b"\n"


def parse(value: dict[str, Any]) -> tuple[str, Configuration]:
    """The buffer and its configuration that a line says; raises ValueError or TypeError if it is none."""
    found: Configuration = {}
    if "rules" in value:
        found["rules"] = Rules(**_checked("rules", value["rules"], dict))._asdict()
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
