"""Bar charts as inline SVG: pure functions from counts to markup, no script and no inline style."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    bars = [(_bar(column, index * step, step, height, highest),) for index, column in enumerate(columns)]
    return format_html(
        '<svg class="maillog-chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-label="{}">{}</svg>',
        len(columns) * step,
        height,
        label,
        format_html_join("", "{}", bars),
    )


def whole(columns: Iterable[float]) -> list[int]:
    """The columns as whole numbers whose sum is theirs."""
    ends = [0, *(round(total) for total in accumulate(columns))]
    return [after - before for before, after in pairwise(ends)]


def _bar(column: Column, left: int, step: int, height: int, highest: float) -> SafeString:
    # A rectangle without colour carries the tooltip of an empty column, too.
    rectangles = [("empty", str(left), "0", str(step), str(height))]
    scale = max(height / highest, THINNEST / column.total) if column.total else 0
    inset, width, top = _short(left + step * GAP / 2), _short(step * (1 - GAP)), float(height)
    for name, number in column.parts.items():
        if number:
            top -= number * scale
            rectangles.append((name, inset, _short(top), width, _short(number * scale)))
    return format_html(
        "<g><title>{}</title>{}</g>",
        column.label,
        format_html_join("", '<rect class="maillog-{}" x="{}" y="{}" width="{}" height="{}"/>', rectangles),
    )


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
