"""When a group's records came, as a small bar."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby

BLOCKS = "·▁▂▃▄▅▆▇█"
TALLEST = len(BLOCKS) - 1
# Records that lie evenly between two times, and how many.
Span = tuple[datetime, datetime, int]


def spread(spans: Iterable[Span], first_at: datetime, last_at: datetime, *, width: int) -> list[float]:
    """How many records fall into each of ``width`` columns between the two times; each span is even."""
    length = (last_at - first_at).total_seconds()
    if length <= 0:
        return []
    columns = [0.0] * width
    for start, end, count in spans:
        left = _place(start, first_at, length, width)
        right = max(left, _place(end, first_at, length, width))
        first, last = min(int(left), width - 1), min(int(right), width - 1)
        for column in range(first, last + 1):
            covered = min(right, column + 1) - max(left, column)
            columns[column] += count * covered / (right - left) if last > first else count
    return columns


def heights(spans: Iterable[Span], first_at: datetime, last_at: datetime, *, width: int) -> list[int]:
    """How tall each column is, from 0 (nothing) to 8."""
    columns = spread(spans, first_at, last_at, width=width)
    most = max(columns, default=0)
    return [-int(-column * TALLEST // most) if column > 0 else 0 for column in columns] if most > 0 else []


def blocks(columns: Iterable[int]) -> str:
    """The bar as characters."""
    return "".join(BLOCKS[height] for height in columns)


def cells(columns: list[int]) -> list[tuple[str, str]]:
    """The bar as runs of equal columns: the width in per cent, and the height in pixels, empty for none.

    Strings, since a template localises numbers, which needs the app registry.
    """
    return [
        (f"{100 * len(list(run)) / len(columns):.4g}", str(2 * height) if height else "")
        for height, run in groupby(columns)
    ]


def _place(moment: datetime, first_at: datetime, length: float, width: int) -> float:
    return min(max((moment - first_at).total_seconds() / length, 0.0), 1.0) * width
