"""The buffers that this process has configured, and the muting of what django_maillog itself logs."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from django.utils.functional import Promise

from .policy import Rules

if TYPE_CHECKING:
    from django.core.mail.backends.base import BaseEmailBackend


OWN_MAILER = "own_mailer"


class Target(Protocol):
    """Where mail goes: what delivery needs of an SMTPHandler; a project may have overridden any of it."""

    using: str | None
    include_html: bool

    @property
    def has_own_mailer(self) -> bool: ...
    def get_recipients(self) -> Any: ...
    def get_sender(self) -> Any: ...
    def get_connection(self) -> BaseEmailBackend: ...
    def get_digest_subject(self, report: Any) -> str: ...


class BufferHandler(Protocol):
    """What a BufferingHandler is to the rest of the package."""

    @property
    def buffer(self) -> str: ...
    @property
    def rules(self) -> Rules: ...
    @property
    def target(self) -> Target: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
    def forget_sights(self) -> None: ...


class Addressee(NamedTuple):
    """To whom a buffer is mailed, from whom, and through which mailer (empty: the default one)."""

    recipients: list[str]
    sender: str
    using: str


def addressee(target: Target) -> Addressee:
    """The target's addressee now, as plain strings, whatever iterable of whatever strings it gives.

    Raises whatever the target raises.
    """
    recipients = target.get_recipients()
    if isinstance(recipients, (str, Promise)):
        recipients = [recipients]
    addresses = [str(address) for address in recipients or ()]
    return Addressee(addresses, str(target.get_sender())[:320], str(target.using or "")[:200])


def stored_rules(handler: BufferHandler) -> dict[str, Any]:
    """Its rules as a line and a row hold them, with whether only who has this handler can send its mails.

    It stands among the rules, as versions that don't know it read of them what they know.
    """
    rules = handler.rules._asdict()
    with suppress(Exception):  # a wrong target: a check names it
        if handler.target.has_own_mailer:
            rules[OWN_MAILER] = True
    return rules


# The newest handler of a name wins: dictConfig replaces handlers, and the old
# ones live on while a logger holds them.
_handlers: weakref.WeakValueDictionary[int, BufferHandler] = weakref.WeakValueDictionary()
_number_of = itertools.count()


def register(handler: BufferHandler) -> None:
    """Remember a BufferingHandler, whatever way it was made."""
    _handlers[next(_number_of)] = handler


def configured() -> dict[str, BufferHandler]:
    """The BufferingHandlers alive in this process, by buffer name."""
    return {handler.buffer: handler for handler in living()}


def living() -> list[BufferHandler]:
    """All BufferingHandlers alive in this process, the oldest first."""
    # valuerefs() is one step: other threads may make handlers meanwhile.
    handlers = [reference() for reference in _handlers.valuerefs()]
    return [handler for handler in handlers if handler is not None]


def find(name: str) -> BufferHandler | None:
    """The newest BufferingHandler of that buffer in this process, if there is one."""
    return configured().get(name)


class _Thread(threading.local):
    """What holds for what this thread logs now."""

    def __init__(self) -> None:
        self.muted = False  # it comes from our own work
        self.depth = 0  # handlers of ours at work, one within another


thread = _Thread()


@contextmanager
def muted() -> Iterator[None]:
    """Keep what this thread logs meanwhile out of our handlers: no mails about mails."""
    before, thread.muted = thread.muted, True
    try:
        yield
    finally:
        thread.muted = before
