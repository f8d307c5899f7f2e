"""The lines of a segment in portions that one transaction takes; no SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from .. import charset
from ..capture.captured import CapturedRecord
from ..capture.kinds import overflowing
from ..spool.lines import Line, lost_with, parse
from ..spool.sources import Source
from .counts import KEEP, Arrivals, Occurrences
from .sites import OverflowingSites, is_beyond

# Records of one transaction that are stored one by one, and folds: its time depends on them, not on lines.
MAX_ROWS = 500
SQLITE_ROWS = 200  # of one that holds the only write lock there is: at most 25 ms
MAX_BYTES = 1024 * 1024  # of lines that become rows of their own
MAX_LINES = 50_000

Key = tuple[str, str, str, int]  # buffer, fingerprint, host and process


@dataclass(slots=True)
class Chunk:
    """What the lines between two offsets of a segment hold."""

    start: int
    end: int
    lines: int = 0
    rows: int = 0
    size: int = 0  # bytes of the lines that may become rows of their own
    records: int = 0
    set_aside: int = 0  # lines that nobody can import
    buffers: dict[str, dict[str, Arrivals]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    places: dict[Key, Occurrences] = field(default_factory=dict)  # what is in buffers, too

    def new_place(self, key: Key, value: CapturedRecord, rows: int) -> Occurrences:
        """Where the records of a group and process are counted; ``rows`` of them other chunks have stored."""
        buffer, fingerprint, host, process = key
        arrivals = self.buffers.setdefault(buffer, {}).setdefault(fingerprint, Arrivals(value))
        occurrences = self.places[key] = Occurrences(arrivals.hours, rows)
        arrivals.places[host, process] = occurrences
        self.rows += rows >= KEEP  # they have a fold
        return occurrences

    def all_buffers(self) -> list[str]:
        """The buffers that records came or were lost in, in the one order in which importers lock them."""
        return sorted(self.buffers.keys() | self.lost.keys())

    def sum_up(self) -> None:
        """Count what was taken, outside of the transaction."""
        for groups in self.buffers.values():
            for arrived in groups.values():
                arrived.sum_up()
                self.records += arrived.count
        self.records += self.lost.total()


class Reader:
    """Reads a segment chunk by chunk, as far as it goes now: its owner may be faster than we are."""

    def __init__(
        self, source: Source, offset: int, *, max_rows: int, codec: str = charset.EVERYTHING
    ) -> None:
        self._source = source
        self._max_rows = max_rows
        self._codec = codec
        self._stored_rows: dict[Key, int] = {}
        self.overflowing: OverflowingSites = {}
        self._end = source.size
        self.seek(offset)

    def seek(self, offset: int) -> None:
        """Go on from this offset."""
        self.offset = offset
        self._lines = self._raw_lines(offset)

    def escape_more(self) -> bool:
        """Escape whatever isn't ASCII from now on; False if that is done already."""
        before, self._codec = self._codec, charset.LEAST
        return before != charset.LEAST

    def read(self, borders: list[int], limit: int = MAX_LINES) -> Chunk | None:
        """The next lines: ``limit`` at most, and to the next of the (sorted) borders; None at the end."""
        border = next((border for border in borders if border > self.offset), None)
        chunk = Chunk(self.offset, self.offset)
        lines, end = 0, self.offset
        for raw in self._lines:
            lines += 1
            end += len(raw) + 1
            self._take(raw, chunk)
            is_large = chunk.rows >= self._max_rows or chunk.size >= MAX_BYTES
            if is_large or lines >= limit or end == border:
                break
        self.offset, chunk.lines, chunk.end = end, lines, end
        chunk.sum_up()
        return chunk if chunk.lines else None

    def skip_line(self, offset: int) -> Chunk:
        """Set aside the line at this offset; a chunk that goes past it, and counts it as lost."""
        self.seek(offset)
        raw = next(self._lines, b"")
        self.offset = offset + len(raw) + 1
        chunk = Chunk(offset, self.offset, lines=1)
        self._source.set_aside(raw)
        self._lose(lost_with(raw, self._source), chunk)
        chunk.sum_up()
        return chunk

    def note_stored(self, chunk: Chunk) -> None:
        """Remember how many rows are stored: a storm would make many small chunks."""
        self._stored_rows.update((key, occurrences.rows) for key, occurrences in chunk.places.items())

    def _take(self, raw: bytes, chunk: Chunk) -> None:
        line = parse(raw, self._source)
        buffer, value = line.buffer, line.value
        if value is None:
            self._lose(line, chunk)
            return
        if self._codec:  # now, since groups are looked for by what is stored
            buffer, value = self._escaped(buffer), charset.escaped(self._codec, value)
        if self.overflowing and is_beyond(self.overflowing, buffer, value):
            value = overflowing(value)
        key = buffer, value["fingerprint"], value["host"], value["process"]
        occurrences = chunk.places.get(key) or chunk.new_place(key, value, self._stored_rows.get(key, 0))
        if occurrences.add(value):
            chunk.rows += 1
            chunk.size += len(raw)

    def _lose(self, line: Line, chunk: Chunk) -> None:
        """Count the records that a line stands for as lost, if it can be told whose they were."""
        chunk.set_aside += line.is_bad
        if line.buffer and line.lost:
            chunk.lost[self._escaped(line.buffer)] += line.lost

    def _escaped(self, buffer: str) -> str:
        return str(charset.escaped(self._codec, buffer))[:200]

    def _raw_lines(self, offset: int) -> Iterator[bytes]:
        while offset < self._end:
            found, offset = self._source.read(offset)
            if not found:
                return
            yield from found
