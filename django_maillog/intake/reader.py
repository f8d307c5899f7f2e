"""The lines of a segment in portions that one transaction takes; no SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..spool import lines
from ..spool.segment import Source
from .counts import KEEP, Arrivals, Occurrences, Value
from .pauses import in_slices
from .repeats import Repeats

MAX_ROWS = 500  # rows of records that a transaction writes at the most
SQLITE_ROWS = 250  # the same there: the transaction holds its only write lock
MAX_BYTES = 1024 * 1024  # of lines that become rows of their own
MAX_LINES = 200_000  # what a transaction costs depends on groups and rows, not on lines

Key = tuple[str, str, str, int]  # buffer, fingerprint, host and process


@dataclass(slots=True)
class Chunk:
    """The lines between two offsets of a segment."""

    source: Source
    start: int
    end: int
    lines: int = 0
    rows: int = 0
    size: int = 0  # bytes of the lines that may become rows of their own
    records: int = 0
    buffers: dict[str, dict[str, Arrivals]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    frequent: set[Key] = field(default_factory=set)  # of which chunks before this one kept enough rows
    _places: dict[Key, Occurrences] = field(default_factory=dict)  # what is in buffers, too
    _repeats: Repeats = field(default_factory=Repeats)

    def add(self, raw: bytes) -> None:
        """Take a line."""
        self.lines += 1
        self.end += len(raw) + 1
        if not self._repeats.take(raw):
            self._add(raw)
        elif self._repeats.is_full():
            self._count_repeats()

    def sum_up(self) -> None:
        """Count what was taken, outside of the transaction."""
        self._count_repeats()
        for groups in self.buffers.values():
            for arrived in in_slices(groups.values()):
                arrived.sum_up()
                self.records += arrived.count
        self.records += self.lost.total()

    def note_frequent(self) -> None:
        """Tell the next chunks of what enough rows are stored: a storm would make many small ones."""
        self.frequent.update(key for key, occurrences in self._places.items() if occurrences.rows >= KEEP)

    def _count_repeats(self) -> None:
        for raw in self._repeats.count():
            self._add(raw)

    def _add(self, raw: bytes) -> None:
        buffer, value, lost = lines.parse(raw, self.source)
        if lost:
            self.lost[buffer] += lost
        if value is None:
            return
        key = buffer, value["fingerprint"], value["host"], value["process"]
        occurrences = self._places.get(key) or self._new_place(key, value)
        if occurrences.add(value):
            self.rows += 1
            self.size += len(raw)
        elif occurrences.fold is not None:
            self._repeats.learn(raw, occurrences.fold, value["level"])

    def _new_place(self, key: Key, value: Value) -> Occurrences:
        buffer, fingerprint, host, process = key
        arrivals = self.buffers.setdefault(buffer, {}).setdefault(fingerprint, Arrivals(value))
        occurrences = arrivals.places[host, process] = self._places[key] = Occurrences()
        if key in self.frequent:
            occurrences.rows = KEEP
            self.rows += 1  # that of its repeats
        return occurrences


class Reader:
    """Reads a segment chunk by chunk, as far as it goes now: its owner may be faster than we are."""

    def __init__(self, source: Source, offset: int, max_rows: int) -> None:
        self._source = source
        self._max_rows = min(max_rows, MAX_ROWS)
        self._frequent: set[Key] = set()
        self._end = source.size
        self.seek(offset)

    def seek(self, offset: int) -> None:
        """Go on from this offset."""
        self._offset = offset
        self._lines = in_slices(self._raw_lines(offset))

    def read(self, borders: list[int], limit: int = MAX_LINES) -> Chunk | None:
        """The next lines: ``limit`` at most, and to the next of the (sorted) borders; None at the end."""
        border = next((border for border in borders if border > self._offset), None)
        chunk = Chunk(self._source, self._offset, self._offset, frequent=self._frequent)
        for raw in self._lines:
            chunk.add(raw)
            is_large = chunk.rows >= self._max_rows or chunk.size >= MAX_BYTES
            if is_large or chunk.lines >= limit or chunk.end == border:
                self._offset = chunk.end
                break
        else:
            self._offset = chunk.end
        chunk.sum_up()
        return chunk if chunk.lines else None

    def skip_line(self, offset: int) -> Chunk:
        """Set aside the line at this offset; an empty chunk that goes past it."""
        self.seek(offset)
        raw = next(self._lines, b"")
        self._source.set_aside(raw)
        self._offset = offset + len(raw) + 1
        return Chunk(self._source, offset, self._offset, lines=1)

    def _raw_lines(self, offset: int) -> Iterator[bytes]:
        while offset < self._end:
            found, offset = self._source.read(offset)
            if not found:
                return
            yield from found
