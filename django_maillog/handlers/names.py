"""The SMTPHandlers by name, for handlers that name their target."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Callable
from types import FrameType
from typing import Any

from django.core.exceptions import ImproperlyConfigured

# fileConfig makes all handlers in it.
_install_handlers: Callable[..., Any] = logging.config._install_handlers  # type: ignore[attr-defined]
# The newest SMTPHandler of each name. logging holds its handlers by weak references only, and nobody else
# holds one that is named as a target but attached to no logger.
_named: dict[str, logging.Handler] = {}


def remember(name: str, handler: logging.Handler) -> None:
    """Keep a handler that others may name."""
    _named[name] = handler


def in_section(frame: FrameType | None) -> str | None:
    """The ``target`` of the section that ``fileConfig`` is reading, which uses it for MemoryHandler alone."""
    while frame is not None and frame.f_code is not _install_handlers.__code__:
        frame = frame.f_back
    return frame.f_locals["section"].get("target") or None if frame is not None else None


def find_any(name: str) -> logging.Handler | None:
    """The handler of that name, whether or not a logger has it."""
    # getHandlerByName is new in Python 3.12; this is what it reads.
    current: logging.Handler | None = logging._handlers.get(name)  # type: ignore[attr-defined]
    return current if current is not None else _named.get(name)


def find(name: str) -> Any:
    """The SMTPHandler of that name; ImproperlyConfigured says what there is instead."""
    found = find_any(name)
    if found is None:
        there = "there is no handler of that name"
    elif found is _named.get(name):
        return found
    else:
        there = f"that is a {type(found).__module__}.{type(found).__qualname__}"
    known = ", ".join(map(repr, sorted(_named))) or "none is configured"
    raise ImproperlyConfigured(
        f"target={name!r} must name a django_maillog.handlers.SMTPHandler in LOGGING ({known}), but {there}."
    )
