"""The lines of a segment in portions that one transaction takes, and what each holds, counted; no SQL."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from .. import lines
from ..lines import Line
from ..segments import Source

KEEP = 3  # rows of a group and process in a batch that are stored one by one; the rest is folded into one
MAX_ROWS = 120  # rows a transaction inserts at the most, for it holds SQLite's write lock
MAX_BYTES = 512 * 1024  # of lines that become rows of their own: MySQL's packets are limited
MAX_LINES = 20_000
MAX_MESSAGES = 8  # distinct messages counted in a folded row
MESSAGE_LENGTH = 200
SLICE = 32  # lines between two pauses
PAUSE = (
    20e-6  # seconds in which a thread that logs can have the interpreter: it would wait 5 ms for a busy one
)

Value = dict[str, Any]
Place = tuple[str, int]  # host and process
Frequent = tuple[str, str, str, int]  # buffer, fingerprint, host and process of which enough rows are kept


@dataclass(slots=True)
class Fold:
    """Repeats of one group in one process, which share a row."""

    value: Value
    count: int = 0
    first: float = float("inf")
    last: float = float("-inf")
    messages: dict[str, int] = field(default_factory=dict)

    def add(self, value: Value) -> None:
        self.count += 1
        moment = value["time"]
        self.first = min(self.first, moment)
        self.last = max(self.last, moment)
        count_message(self.messages, value["message"], 1)

    def copy(self) -> Fold:
        return replace(self, messages=dict(self.messages))


@dataclass(slots=True)
class Occurrences:
    """What a chunk holds of one group from one process: values for rows of their own, and the rest."""

    rows: int = 0  # of this place that are kept, here or in an earlier chunk
    kept: list[Value] = field(default_factory=list)
    has_full: bool = False
    fold: Fold | None = None

    def add(self, value: Value) -> bool:
        """Take a value; whether it may need a row of its own."""
        full = "full" in value
        if self.rows >= KEEP and (self.has_full or not full):
            if self.fold is None:
                self.fold = Fold(value)
            self.fold.add(value)
            return False
        self.kept.append(value)
        self.rows += 1
        self.has_full = self.has_full or full
        return True


@dataclass(slots=True)
class Arrivals:
    """What a chunk holds of one fingerprint in one buffer."""

    first_value: Value
    frequent: set[Frequent] = field(default_factory=set)
    count: int = 0
    level: int = -(2**31)
    first: float = float("inf")
    last: float = float("-inf")
    hours: Counter[tuple[int, int]] = field(default_factory=Counter)  # by hour since 1970, and level
    places: dict[Place, Occurrences] = field(default_factory=dict)

    def add(self, value: Value) -> bool:
        """Take a value; whether it may need a row of its own."""
        moment, level = value["time"], value["level"]
        self.count += 1
        if level > self.level:
            self.level = level
        if moment < self.first:
            self.first = moment
        if moment > self.last:
            self.last = moment
        self.hours[int(moment // 3600), level] += 1
        place = value["host"], value["process"]
        occurrences = self.places.get(place)
        if occurrences is None:
            frequent = (self.first_value["buffer"], self.first_value["fingerprint"], *place) in self.frequent
            occurrences = self.places[place] = Occurrences(rows=KEEP if frequent else 0)
        return occurrences.add(value)

    def best_value(self) -> Value:
        """The value that describes the group best: the first that was captured in full, else the first."""
        kept = (value for occurrences in self.places.values() for value in occurrences.kept)
        return next((value for value in kept if "full" in value), self.first_value)

    @property
    def first_at(self) -> datetime:
        return datetime.fromtimestamp(self.first, UTC)

    @property
    def last_at(self) -> datetime:
        return datetime.fromtimestamp(self.last, UTC)


@dataclass(slots=True)
class Chunk:
    """The lines between two offsets of a segment."""

    start: int
    end: int
    lines: int = 0
    rows: int = 0
    size: int = 0  # bytes of the lines that may become rows of their own
    records: int = 0
    buffers: dict[str, dict[str, Arrivals]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    frequent: set[Frequent] = field(default_factory=set)  # in the chunks before this one

    def add(self, line: Line, length: int) -> None:
        """Take a line of so many bytes."""
        self.lines += 1
        self.end += length
        if line.value is not None:
            groups = self.buffers.get(line.buffer)
            if groups is None:
                groups = self.buffers[line.buffer] = {}
            fingerprint = line.value["fingerprint"]
            arrivals = groups.get(fingerprint)
            if arrivals is None:
                arrivals = groups[fingerprint] = Arrivals(line.value, self.frequent)
            self.records += 1
            if arrivals.add(line.value):
                self.rows += 1
                self.size += length
        elif line.lost:
            self.lost[line.buffer] += line.lost
            self.records += line.lost

    def note_frequent(self) -> None:
        """Remember for the next chunks of what enough rows are kept: a storm would make many small ones."""
        for buffer, groups in self.buffers.items():
            for fingerprint, arrived in groups.items():
                for place, occurrences in arrived.places.items():
                    if occurrences.rows >= KEEP:
                        self.frequent.add((buffer, fingerprint, *place))

    def is_large(self) -> bool:
        """Whether it is all that one transaction should take."""
        return self.rows >= MAX_ROWS or self.size >= MAX_BYTES or self.lines >= MAX_LINES


class Reader:
    """Reads a segment chunk by chunk."""

    def __init__(self, source: Source, offset: int) -> None:
        self._source = source
        self._frequent: set[Frequent] = set()
        self.seek(offset)

    def seek(self, offset: int) -> None:
        """Go on from this offset."""
        self._offset = offset
        self._lines: Iterator[bytes] = iter(())

    def read(self, borders: list[int], limit: int = MAX_LINES) -> Chunk | None:
        """The next lines: ``limit`` at most, and to the next of the (sorted) borders; None at the end."""
        border = next((border for border in borders if border > self._offset), None)
        chunk = Chunk(self._offset, self._offset, frequent=self._frequent)
        while not chunk.is_large() and chunk.lines < limit and chunk.end != border:
            raw = self._next_line(chunk.end)
            if raw is None:
                break
            chunk.add(lines.parse(raw, self._source), len(raw) + 1)
            if not chunk.lines % SLICE:
                time.sleep(PAUSE)
        self._offset = chunk.end
        chunk.note_frequent()
        return chunk if chunk.lines else None

    def skip_line(self, offset: int) -> Chunk:
        """Set aside the line at this offset; an empty chunk that goes past it."""
        self.seek(offset)
        raw = self._next_line(offset) or b""
        self._source.set_aside(raw)
        self._offset = offset + len(raw) + 1
        return Chunk(offset, self._offset, lines=1)

    def _next_line(self, offset: int) -> bytes | None:
        raw = next(self._lines, None)
        if raw is None:
            found, _end = self._source.read(offset)
            self._lines = iter(found)
            raw = next(self._lines, None)
        return raw


def count_message(messages: dict[str, int], message: str, number: int) -> None:
    """Count a message among the distinct ones; beyond MAX_MESSAGES under ``""``."""
    text = message[:MESSAGE_LENGTH]
    if text not in messages and len(messages) >= MAX_MESSAGES:
        text = ""
    messages[text] = messages.get(text, 0) + number
