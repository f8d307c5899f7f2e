"""The handlers of ours that logging has now, wherever they came from."""

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.utils.module_loading import import_string

from .. import buffers

PACKAGE = "django_maillog.handlers"


class Found(NamedTuple):
    """A handler of ours; ``implicit``: the target that a BufferingHandler makes where it is given none."""

    name: str
    handler: Any
    implicit: bool = False
    # Another handler, or a queue's listener, has it.
    is_passed_to: bool = False


def loggers() -> list[logging.Logger]:
    known = [logging.root, *logging.root.manager.loggerDict.values()]
    return [each for each in known if isinstance(each, logging.Logger)]


def reached(logger: logging.Logger) -> Iterator[logging.Logger]:
    """The loggers whose handlers get the records of a logger: itself, and those that it passes them on to."""
    current: logging.Logger | None = logger
    while current is not None:
        yield current
        current = current.parent if current.propagate else None


def live_handlers() -> list[Found]:
    """Our handlers that logging has now, with targets and listeners' handlers, however they came there."""
    waiting: list[Any] = [handler for logger in loggers() for handler in logger.handlers]
    waiting += [*logging._handlers.values(), *buffers.configured().values()]  # type: ignore[attr-defined]
    found: dict[int, Found] = {}
    passed_to: set[int] = set()
    while waiting:
        handler = waiting.pop(0)
        if id(handler) in found:
            continue
        found[id(handler)] = Found(getattr(handler, "name", None) or type(handler).__name__, handler)
        held = [item for item in _held(handler) if isinstance(item, logging.Handler)]
        passed_to |= {id(item) for item in held}
        waiting += held
    ours = {key: item for key, item in found.items() if _is_ours(item.handler)}
    return [item._replace(is_passed_to=key in passed_to) for key, item in ours.items()]


def distinct_targets(found: list[Found]) -> list[Found]:
    """Each SMTPHandler once, whether it is a handler itself or the target of a buffer."""
    targets = {id(item.handler): item for item in found if hasattr(item.handler, "get_digest_subject")}
    for item in found:
        target = getattr(item.handler, "_target", None)
        if hasattr(target, "get_digest_subject"):
            targets.setdefault(id(target), Found(item.name, target, implicit=True))
    return list(targets.values())


def is_buffering(handler: Any) -> bool:
    return hasattr(handler, "rules") and _is_ours(handler)


def is_callable(path: str) -> bool:
    try:
        return callable(import_string(path))
    except Exception:  # ImportError, or whatever the module raises when it is imported
        return False


def _held(handler: Any) -> Iterator[Any]:
    """The handlers behind a handler: a MemoryHandler's target, a QueueHandler's listener's."""
    if isinstance(handler, logging.handlers.MemoryHandler):
        yield handler.target
    if isinstance(handler, logging.handlers.QueueHandler):
        yield from getattr(getattr(handler, "listener", None), "handlers", ())


def _is_ours(handler: Any) -> bool:
    return any(f"{base.__module__}.".startswith(f"{PACKAGE}.") for base in type(handler).__mro__)
