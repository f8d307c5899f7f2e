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

# What a transaction costs depends on groups and rows, not on lines.
ROW_COST = 4  # of a record in a row of its own
REPEATS_COST = 1  # of a process's repeats of one group, however many
MAX_COST = 2_000  # of one transaction
SQLITE_COST = 200  # of one that holds the only write lock there is: at most 25 ms
MAX_BYTES = 1024 * 1024  # of lines that become rows of their own
MAX_LINES = 50_000

Key = tuple[str, str, str, int]  # buffer, fingerprint, host and process


@dataclass(slots=True)
class Chunk:
    """The lines between two offsets of a segment."""

    source: Source
    start: int
    end: int
    codec: str = charset.EVERYTHING
    lines: int = 0
    cost: int = 0
    size: int = 0  # bytes of the lines that may become rows of their own
    records: int = 0
    set_aside: int = 0  # lines that nobody can import
    buffers: dict[str, dict[str, Arrivals]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    kept: dict[Key, int] = field(default_factory=dict)  # rows that chunks before this one have stored
    overflowing: OverflowingSites = field(default_factory=dict)
    _places: dict[Key, Occurrences] = field(default_factory=dict)  # what is in buffers, too

    def add(self, raw: bytes) -> None:
        """Take a line."""
        self.lines += 1
        self.end += len(raw) + 1
        line = parse(raw, self.source)
        buffer, value = line.buffer, line.value
        if value is None:
            self.lose(line)
            return
        if self.codec:
            buffer, value = self._storable(buffer, value)
        if self.overflowing and is_beyond(self.overflowing, buffer, value):
            value = overflowing(value)
        key = buffer, value["fingerprint"], value["host"], value["process"]
        occurrences = self._places.get(key) or self._new_place(key, value)
        if occurrences.add(value):
            self.cost += ROW_COST
            self.size += len(raw)

    def lose(self, line: Line) -> None:
        """Count the records that a line stands for as lost, if it can be told whose they were."""
        self.set_aside += line.is_bad
        if line.buffer and line.lost:
            self.lost[charset.escaped(self.codec, line.buffer)[:200]] += line.lost

    def sum_up(self) -> None:
        """Count what was taken, outside of the transaction."""
        for groups in self.buffers.values():
            for arrived in groups.values():
                arrived.sum_up()
                self.records += arrived.count
        self.records += self.lost.total()

    def note_kept(self) -> None:
        """Tell the next chunks how many rows are stored: a storm would make many small ones."""
        self.kept.update((key, occurrences.rows) for key, occurrences in self._places.items())

    def _storable(self, buffer: str, value: CapturedRecord) -> tuple[str, CapturedRecord]:
        """Both as the database takes them: now, since groups are looked for by what is stored."""
        value = charset.escaped(self.codec, value)
        value |= {"fingerprint": value["fingerprint"][:64], "cause": value["cause"][:64]}
        value["site"] = value["site"][:64]
        return charset.escaped(self.codec, buffer)[:200], value

    def _new_place(self, key: Key, value: CapturedRecord) -> Occurrences:
        buffer, fingerprint, host, process = key
        arrivals = self.buffers.setdefault(buffer, {}).setdefault(fingerprint, Arrivals(value))
        occurrences = arrivals.places[host, process] = self._places[key] = Occurrences(self.kept.get(key, 0))
        if occurrences.rows >= KEEP:
            self.cost += REPEATS_COST
        return occurrences


class Reader:
    """Reads a segment chunk by chunk, as far as it goes now: its owner may be faster than we are."""

    def __init__(
        self, source: Source, offset: int, *, max_cost: int, codec: str = charset.EVERYTHING
    ) -> None:
        self._source = source
        self._max_cost = max_cost
        self._codec = codec
        self._kept: dict[Key, int] = {}
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
        chunk = self._chunk()
        for raw in self._lines:
            chunk.add(raw)
            is_large = chunk.cost >= self._max_cost or chunk.size >= MAX_BYTES
            if is_large or chunk.lines >= limit or chunk.end == border:
                break
        self.offset = chunk.end
        chunk.sum_up()
        return chunk if chunk.lines else None

    def skip_line(self, offset: int) -> Chunk:
        """Set aside the line at this offset; a chunk that goes past it, and counts it as lost."""
        self.seek(offset)
        raw = next(self._lines, b"")
        chunk = self._chunk()
        chunk.lines, chunk.end = 1, offset + len(raw) + 1
        self._source.set_aside(raw)
        chunk.lose(lost_with(raw, self._source))
        chunk.sum_up()
        self.offset = chunk.end
        return chunk

    def _chunk(self) -> Chunk:
        return Chunk(
            self._source,
            self.offset,
            self.offset,
            self._codec,
            kept=self._kept,
            overflowing=self.overflowing,
        )

    def _raw_lines(self, offset: int) -> Iterator[bytes]:
        while offset < self._end:
            found, offset = self._source.read(offset)
            if not found:
                return
            yield from found
