"""The lines of a segment in portions that one transaction takes; no SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from .. import lines
from ..lines import Line
from ..segments import Source
from .arrivals import KEEP, Arrivals, Occurrences, Value
from .pauses import in_slices

MAX_ROWS = 500  # rows of records that a transaction writes at the most
SQLITE_ROWS = 250  # the same there: the transaction holds its only write lock
MAX_BYTES = 1024 * 1024  # of lines that become rows of their own
MAX_LINES = 50_000

Key = tuple[str, str, str, int]  # buffer, fingerprint, host and process


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
    frequent: set[Key] = field(default_factory=set)  # of which chunks before this one kept enough rows
    _places: dict[Key, Occurrences] = field(default_factory=dict)  # what is in buffers, too

    def add(self, line: Line, length: int) -> None:
        """Take a line of so many bytes."""
        self.lines += 1
        self.end += length
        buffer, value, lost = line
        if value is not None:
            key = buffer, value["fingerprint"], value["host"], value["process"]
            occurrences = self._places.get(key)
            if occurrences is None:
                occurrences = self._places[key] = self._new_place(key, value)
            self.records += 1
            if occurrences.add(value):
                self.rows += 1
                self.size += length
        elif lost:
            self.lost[buffer] += lost
            self.records += lost

    def _new_place(self, key: Key, value: Value) -> Occurrences:
        buffer, fingerprint, host, process = key
        arrivals = self.buffers.setdefault(buffer, {}).setdefault(fingerprint, Arrivals(value))
        occurrences = arrivals.places[host, process] = Occurrences()
        if key in self.frequent:
            occurrences.rows = KEEP
            self.rows += 1  # that of its repeats
        return occurrences

    def sum_up(self) -> None:
        """Count what was taken, outside of the transaction."""
        for groups in self.buffers.values():
            for arrived in in_slices(groups.values()):
                arrived.sum_up()

    def note_frequent(self) -> None:
        """Remember for the next chunks of what enough rows are kept: a storm would make many small ones."""
        self.frequent.update(key for key, occurrences in self._places.items() if occurrences.rows >= KEEP)


class Reader:
    """Reads a segment chunk by chunk."""

    def __init__(self, source: Source, offset: int, max_rows: int) -> None:
        self._source = source
        self._max_rows = min(max_rows, MAX_ROWS)
        self._frequent: set[Key] = set()
        self.seek(offset)

    def seek(self, offset: int) -> None:
        """Go on from this offset."""
        self._offset = offset
        self._lines = in_slices(self._raw_lines(offset))

    def read(self, borders: list[int], limit: int = MAX_LINES) -> Chunk | None:
        """The next lines: ``limit`` at most, and to the next of the (sorted) borders; None at the end."""
        border = next((border for border in borders if border > self._offset), None)
        chunk = Chunk(self._offset, self._offset, frequent=self._frequent)
        for raw in self._lines:
            chunk.add(lines.parse(raw, self._source), len(raw) + 1)
            is_large = chunk.rows >= self._max_rows or chunk.size >= MAX_BYTES
            if is_large or chunk.lines >= limit or chunk.end == border:
                self._offset = chunk.end
                break
        else:
            self.seek(chunk.end)  # the owner may write more meanwhile
        chunk.sum_up()
        chunk.note_frequent()
        return chunk if chunk.lines else None

    def skip_line(self, offset: int) -> Chunk:
        """Set aside the line at this offset; an empty chunk that goes past it."""
        self.seek(offset)
        raw = next(self._lines, b"")
        self._source.set_aside(raw)
        self._offset = offset + len(raw) + 1
        return Chunk(offset, self._offset, lines=1)

    def _raw_lines(self, offset: int) -> Iterator[bytes]:
        while True:
            found, offset = self._source.read(offset)
            if not found:
                return
            yield from found
