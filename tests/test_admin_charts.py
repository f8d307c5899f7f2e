"""The admin's charts, words and folded tracebacks: pure functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from django_maillog.admin import charts, words
from django_maillog.admin.record_page import folded
from django_maillog.digest.timebar import spread

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_bars_are_as_high_as_their_share_of_the_highest() -> None:
    svg = charts.chart(
        [
            charts.Column("a", {"error": 5, "warning": 5}),
            charts.Column("<b>", {}),
            charts.Column("c", {"error": 1}),
        ],
        label='"all"',
        step=10,
        height=100,
    )

    assert svg == (
        '<svg class="maillog-chart" viewBox="0 0 30 100" preserveAspectRatio="none" role="img" '
        'aria-label="&quot;all&quot;">'
        '<g><title>a</title><rect class="maillog-empty" x="0" y="0" width="10" height="100"/>'
        '<rect class="maillog-error" x="1" y="50" width="8" height="50"/>'
        '<rect class="maillog-warning" x="1" y="0" width="8" height="50"/></g>'
        '<g><title>&lt;b&gt;</title><rect class="maillog-empty" x="10" y="0" width="10" height="100"/></g>'
        '<g><title>c</title><rect class="maillog-empty" x="20" y="0" width="10" height="100"/>'
        '<rect class="maillog-error" x="21" y="90" width="8" height="10"/></g></svg>'
    )


def test_one_record_beside_a_million_is_still_visible() -> None:
    svg = charts.chart([charts.Column("", {"error": 1}), charts.Column("", {"error": 10**6})], label="")

    assert 'height="1.5"' in svg


def test_spans_are_spread_over_whole_columns_and_nothing_is_lost() -> None:
    spans = [
        (NOON, NOON, 1),
        (NOON + MINUTE, NOON + 3.5 * MINUTE, 8),
        (NOON - MINUTE, NOON - MINUTE, 2),
        (NOON + 99 * MINUTE, NOON + 99 * MINUTE, 4),
    ]

    assert charts.whole(spread(spans, NOON, NOON + 4 * MINUTE, width=4)) == [3, 3, 3, 6]


@pytest.mark.parametrize(
    ("level", "name"),
    [(60, "critical"), (50, "critical"), (45, "error"), (30, "warning"), (20, "info"), (5, "debug")],
)
def test_a_level_has_the_colour_of_the_highest_standard_level_below_it(level: int, name: str) -> None:
    assert words.level_class(level) == name


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (NOON - timedelta(hours=2), "10:00"),
        (NOON - timedelta(days=3), "26 Feb 12:00"),
        (NOON - timedelta(days=365), "1 Mar 2025 12:00"),
    ],
)
def test_times_are_as_short_as_can_be(moment: datetime, said: str) -> None:
    assert words.clock(moment, NOON) == said


def test_an_unknown_reason_is_shown_as_it_is() -> None:
    assert words.reason("whatever") == "whatever"


LIBRARY = '  File "/usr/lib/python3.12/json/decoder.py", line 3, in decode\n    x()\n    ^^^'
OWN = '  File "/srv/app/views.py", line 9, in view\n    decode()'


def test_library_frames_are_folded_but_the_one_that_raised() -> None:
    trace = "\n".join(
        ["Traceback (most recent call last):", *[LIBRARY] * 2, OWN, *[LIBRARY] * 2, "ValueError: x", ""]
    )

    assert folded(trace) == [
        ("Traceback (most recent call last):", 0),
        (f"{LIBRARY}\n{LIBRARY}", 2),
        (OWN, 0),
        (LIBRARY, 1),
        (f"{LIBRARY}\nValueError: x", 0),
    ]


def test_nothing_of_a_traceback_is_lost_or_moved() -> None:
    trace = f"""{LIBRARY}
  + Exception Group Traceback (most recent call last):
  |   File "/x/site-packages/lib.py", line 1, in run
  |     await work()
  |   [Previous line repeated 9 more times]
  |   File "/srv/app.py", line 2, in work
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: 1

not a traceback at all
  File "unfinished"""

    assert "\n".join(text for text, _frames in folded(trace)) == trace
    assert [frames for _text, frames in folded(trace)] == [0, 1, 0]
