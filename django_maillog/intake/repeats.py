"""Repeats in bulk: in a storm nearly all lines only add to a count, and needn't be read one by one.

A repeat's line (``records.encode_repeat``) ends with what all repeats of its kind share. Once a line with
some ending was counted, the next ones with the same are collected by it, and decoded many at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from ..capture.prepare import REPEAT_ENDS_WITH
from .counts import Fold
from .pauses import in_slices

SHARED = {"level", "logger", "fingerprint", "cause", "buffer"}
MAX_BYTES = 1024 * 1024  # of lines that are collected
LONGEST_ENDING = 2_000  # bytes; what is longer is no repeat's
TOGETHER = 100  # lines decoded in one step: nobody else has the interpreter meanwhile

_MARK = b"," + REPEAT_ENDS_WITH
_OTHER_PROCESS = b'"process":'  # in front of the ending: of a record that came from another process


@dataclass(slots=True)
class _Kind:
    """Lines with one ending, without it, and where they count."""

    fold: Fold
    level: int
    beginnings: list[bytes] = field(default_factory=list)


class Repeats:
    """The lines of one process's segment that only count."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, _Kind] = {}
        self._size = 0

    def learn(self, raw: bytes, fold: Fold, level: int) -> None:
        """Lines that end as this one count there, too; if it is a repeat's line."""
        beginning, mark, ending = raw.rpartition(_MARK)
        if not mark or len(ending) > LONGEST_ENDING or _OTHER_PROCESS in beginning or ending in self._kinds:
            return
        if b'"message":' not in ending and _is_shared(ending):
            self._kinds[ending] = _Kind(fold, level)

    def take(self, raw: bytes) -> bool:
        """Whether the line is one of those, and taken."""
        beginning, _mark, ending = raw.rpartition(_MARK)
        kind = self._kinds.get(ending)
        if kind is None or _OTHER_PROCESS in beginning:
            return False
        kind.beginnings.append(beginning)
        self._size += len(raw)
        return True

    def is_full(self) -> bool:
        """Whether they should be counted, as they take memory."""
        return self._size > MAX_BYTES

    def count(self) -> Iterator[bytes]:
        """Count what was taken; yields the lines that have to be read one by one after all."""
        self._size = 0
        for ending, kind in self._kinds.items():
            taken, kind.beginnings = kind.beginnings, []
            for start in in_slices(range(0, len(taken), TOGETHER)):
                some = taken[start : start + TOGETHER]
                try:
                    _count(kind, some)
                except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
                    yield from (beginning + _MARK + ending for beginning in some)


def _count(kind: _Kind, beginnings: list[bytes]) -> None:
    joined = b"},\n".join(beginnings)  # no text of JSON goes on over the end of a line
    if b"\\u0000" in joined or b"\\ud" in joined.lower():
        raise ValueError("what no database takes")
    values = json.loads(b"[" + joined + b"}]")
    if len(values) != len(beginnings):
        raise ValueError("a line isn't one value")
    kind.fold.add_all([(value["time"], value["message"]) for value in values], kind.level)


@lru_cache(maxsize=4096)
def _is_shared(ending: bytes) -> bool:
    """Whether a line's ending tells its group and nothing else does."""
    try:
        shared = json.loads(b"{" + REPEAT_ENDS_WITH + ending)
    except (ValueError, RecursionError):
        return False
    return bool(SHARED - {"cause"} <= shared.keys() <= SHARED)
