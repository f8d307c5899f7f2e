"""What one flush is asked to do, handed through all of its steps."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime

from ..database_clock import DatabaseClock


def never() -> bool:
    """The default answer to "shall we stop?"."""
    return False


@dataclass(frozen=True, kw_only=True)
class FlushOptions:
    """What one flush is asked to do.

    ``buffers``: those named, else all. ``everything``: open batches are sealed and waiting ones tried again,
    whatever rules and back-off say, of other services, too; else what is due, ``at_exit`` with what
    ``policy.due_at_exit`` allows.
    ``others=False``: what other living processes import themselves is left to them. ``send=False``: nothing
    is delivered; ``limit``: at most so many batches are. ``clock`` says what time it is, by default the
    database's. ``sending`` is entered while a mail server is waited for, ``stop`` asked between steps.
    """

    buffers: Collection[str] | None = None
    everything: bool = True
    at_exit: bool = False
    others: bool = True
    send: bool = True
    clock: Callable[[], datetime] = field(default_factory=DatabaseClock)
    limit: int | None = None
    sending: Callable[[], AbstractContextManager[object]] = nullcontext
    stop: Callable[[], bool] = never
