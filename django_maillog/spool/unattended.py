"""Segments that nobody imports: named by the system checks, and by who flushes."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .. import conf
from .folder import UnsafeFolder, segment_paths, spool_folder, verify
from .places import other_folders
from .segment import BadSegment, NotOurs, SegmentFile


def problems() -> Iterator[str]:
    """What of this project waits where no import looks, in sentences for a person."""
    try:
        folder = spool_folder()
        if os.path.lexists(folder):
            verify(folder)
    except UnsafeFolder as error:
        yield f"The spool folder can't be used: {error}"
        return
    for why, number in strange_segments(folder).items():
        yield f"{number} segments in {folder} are left alone: {why}."
    for other, number in unattended_folders(folder).items():
        yield f"{number} segments of this project wait in {other}, where nobody imports them."


def unattended_folders(folder: Path) -> dict[Path, int]:
    """This project's other folders without a process that imports them, and how many segments wait there."""
    if conf.testing():
        return {}
    found = {}
    for other in other_folders():
        with contextlib.suppress(UnsafeFolder, OSError):
            verify(other)
            number = 0 if other.resolve() == folder.resolve() else _waiting(other)
            if number:
                found[other] = number
    return found


def strange_segments(folder: Path) -> Counter[str]:
    """How many segments in the folder belong to other projects, users or versions, by what is wrong."""
    found: Counter[str] = Counter()
    for path in segment_paths(folder):
        try:
            with contextlib.suppress(BadSegment, FileNotFoundError), SegmentFile.open(path):
                pass
        except (NotOurs, OSError) as error:
            found[str(error) if isinstance(error, NotOurs) else error.strerror or str(error)] += 1
    return found


def _waiting(folder: Path) -> int:
    """How many segments of this project wait in a folder; none if a living process looks after it."""
    number = 0
    for path in segment_paths(folder):
        with contextlib.suppress(BadSegment, NotOurs, OSError), SegmentFile.open(path) as segment:
            if not segment.is_orphan() and conf.or_default(conf.worker) != "none":
                return 0
            number += 1
    return number
