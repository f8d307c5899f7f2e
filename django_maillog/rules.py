"""What a BufferingHandler is told about when; ``policy`` makes times of it.

On its own, since every process that configures logging has it, and few ever ask when a batch is due.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple


class _Arguments(NamedTuple):
    capacity: int = 10_000
    flush_level: int = logging.CRITICAL
    group_wait: float = 30
    group_interval: float = 300
    repeat_interval: float = 14_400
    resolve_timeout: float = 21_600
    burst: int = 5


class Rules(_Arguments):
    """The arguments of one BufferingHandler that say when; all times are seconds.

    Raises ValueError for an argument out of its range, with its name and value.
    """

    __slots__ = ()

    def __new__(cls, *arguments: Any, **named: Any) -> Rules:
        rules = super().__new__(cls, *arguments, **named)
        for name in ("capacity", "burst"):
            value = getattr(rules, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}.")
        for name in ("group_wait", "group_interval", "repeat_interval", "resolve_timeout"):
            value = getattr(rules, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 10**9:
                raise ValueError(f"{name} must be a number of seconds, at least 0, not {value!r}.")
        return rules
