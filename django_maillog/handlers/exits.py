"""Who asks a handler to flush or close: a person, the end of the process, or a new configuration."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

# dictConfig and fileConfig close every handler through this before they make new ones; the old ones stay
# attached to loggers that the new configuration doesn't name.
_clear_handlers: Callable[..., Any] = logging.config._clearExistingHandlers  # type: ignore[attr-defined]


def is_shutdown(frame: FrameType | None) -> bool:
    """Whether ``logging.shutdown`` is among a call's callers: on Python 3.11 it ignores ``flushOnClose``."""
    return logging.shutdown.__code__ in _codes(frame)


def is_reconfiguration(frame: FrameType | None) -> bool:
    """Whether a new logging configuration is among a call's callers: the process goes on, logging waits."""
    return _clear_handlers.__code__ in _codes(frame)


def _codes(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back
