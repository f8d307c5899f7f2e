"""Bar charts as inline SVG: pure functions from counts to markup, no script and no inline style."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

# A bar that stands for anything at all is never thinner than this, in viewBox units.
THINNEST = 1.5
GAP = 0.2


class Column(NamedTuple):
    """One bar: what it covers in words, and its counts by colour (a CSS class), drawn from the ground up."""

    label: str
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def chart(columns: Sequence[Column], *, label: str, step: int = 4, height: int = 20) -> SafeString:
    """An SVG with a bar a column, ``step`` units wide; ``label`` is what a screen reader says of it all."""
    highest = max((column.total for column in columns), default=0)
    bars = format_html_join(
        "", "{}", ((_bar(c, i * step, step, height, highest),) for i, c in enumerate(columns))
    )
    return format_html(
        '<svg class="maillog-chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-label="{}">{}</svg>',
        len(columns) * step,
        height,
        label,
        bars,
    )


def buckets(start: datetime, size: timedelta, count: int) -> list[datetime]:
    """The starts of ``count`` stretches of time, each ``size`` long."""
    return [start + size * index for index in range(count)]


def whole(columns: Iterable[float]) -> list[int]:
    """The columns as whole numbers whose sum is theirs."""
    ends = [0, *(round(total) for total in accumulate(columns))]
    return [after - before for before, after in pairwise(ends)]


def _bar(column: Column, left: float, step: float, height: float, highest: float) -> SafeString:
    total = column.total
    # A rectangle without colour carries the tooltip of an empty column, too.
    empty = format_html(
        '<rect class="maillog-empty" x="{}" y="0" width="{}" height="{}"/>', left, step, height
    )
    drawn = max(total / highest * height, THINNEST) if total else 0
    return format_html(
        "<g><title>{}</title>{}{}</g>",
        column.label,
        empty,
        _stack(column.parts, total, left, step, height, drawn),
    )


def _stack(
    parts: Mapping[str, float], total: float, left: float, step: float, height: float, drawn: float
) -> SafeString:
    pieces = []
    top = height
    for name, number in parts.items():
        if not number:
            continue
        tall = number / total * drawn
        top -= tall
        pieces.append(
            (name, _short(left + step * GAP / 2), _short(top), _short(step * (1 - GAP)), _short(tall))
        )
    return format_html_join("", '<rect class="maillog-{}" x="{}" y="{}" width="{}" height="{}"/>', pieces)


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
