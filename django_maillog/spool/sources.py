"""The segments of this host, for who imports them."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from .folder import segment_paths
from .journal import journal
from .memory import MemorySegment
from .segment import SegmentFile, open_segment

# A segment to import from.
Source = SegmentFile | MemorySegment


def segments(*, others: bool = True) -> Generator[Source, None, None]:
    """Every segment on this host that may hold something new: this process's, then others, oldest first.

    Each file is open for its turn, and claimed if nobody has it. ``others=False`` leaves out those that a
    living process has: its owner, or one that imports it just now.
    """
    if journal.memory:
        yield journal.memory
    for path in sorted(segment_paths(), key=lambda path: path.stem not in journal.imported):
        segment = open_segment(path)
        if segment is None:
            continue
        with segment:
            is_mine = path.stem in journal.imported
            if (segment.claim() or others or is_mine) and not journal.is_imported(segment):
                yield segment


def everything() -> list[Source]:
    """All segments of this host, memory first, whoever has them; open, and the caller's to close."""
    files = map(open_segment, segment_paths())
    return [source for source in (journal.memory, *files) if source is not None]


def orphans() -> set[Path]:
    """The segments on this host whose owner is gone: what a process that ended has left to be imported."""
    found = set()
    for path in segment_paths():
        if segment := open_segment(path):
            with segment:
                if segment.is_orphan():
                    found.add(path)
    return found
