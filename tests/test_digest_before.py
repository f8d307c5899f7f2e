"""What led to an error, as the mail and the admin show it."""

from __future__ import annotations

import gzip
import html
import json
import logging
from typing import Any

import pytest

from django_maillog import digest
from django_maillog.digest import mail
from django_maillog.digest.before import SHOWN, Before
from tests.mail_samples import NOON, group, report, sample, traceback


def context(
    lines: int, *, scope: str = "request", text: str = "looking for hat", **fields: Any
) -> dict[str, Any]:
    now = NOON.timestamp() - 600
    return {
        "scope": scope,
        "lines": [
            {"time": now - (lines - number) / 4, "level": 10, "logger": "shop", "message": f"{text} {number}"}
            | fields
            for number in range(lines)
        ],
    }


def unescaped(rendered: digest.Digest) -> str:
    return html.unescape(rendered.html)


def test_the_mail_says_what_led_to_an_error() -> None:
    rendered = digest.render(report(group(sample=sample(context=context(3)))))

    block = (
        "Before it, in this request:\n"
        "   -0.750 s  DEBUG shop: looking for hat 0\n"
        "   -0.500 s  DEBUG shop: looking for hat 1\n"
        "   -0.250 s  DEBUG shop: looking for hat 2"
    )
    assert block in rendered.text
    heading, _, lines = block.partition(":\n")
    assert heading in unescaped(rendered)
    assert lines in unescaped(rendered)
    assert rendered.text.index("Traceback") < rendered.text.index("Before it")


def test_the_last_twenty_are_shown_and_how_many_there_are() -> None:
    rendered = digest.render(report(group(sample=sample(context=context(50)))))

    assert f"Before it, in this request, the last {SHOWN} of 50 lines:" in rendered.text
    assert "hat 29" not in rendered.text
    assert "hat 30\n" in rendered.text
    assert "hat 49\n\nGET:" in rendered.text


def test_all_of_them_are_attached_even_to_the_mail_of_one_record() -> None:
    value = sample(context=context(50))

    rendered = digest.render(report(group(sample=value), records=lambda: iter([value])))

    [attached] = rendered.attachments
    assert attached.name == "records.jsonl.gz"
    assert json.loads(gzip.decompress(attached.content))["context"] == value["context"]


@pytest.mark.parametrize("scope", ["request", "task", "thread"])
def test_the_heading_says_where(scope: str) -> None:
    assert Before(sample(context=context(1, scope=scope))).heading == f"Before it, in this {scope}"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "-0.000 s"),
        (59.9994, "-59.999 s"),
        (60, "-1.0 min"),
        (7_199, "-120.0 min"),
        (90_000, "-25.0 h"),
        (-5, "-0.000 s"),
    ],
)
def test_times_are_relative(seconds: float, said: str) -> None:
    value = sample(context=context(1))
    value["context"]["lines"][0]["time"] = value["time"] - seconds

    assert Before(value).lines[0].ago == said


def test_an_exception_is_named_and_what_is_hidden_becomes_visible() -> None:
    lines = Before(sample(context=context(1, text="\u202etxt.exe\x1b[31m", exception="OSError"))).lines

    assert lines[0].message == "\\u202etxt.exe\\x1b[31m 0 [OSError]"


def test_long_lines_are_one_line_each() -> None:
    rendered = digest.render(report(group(sample=sample(context=context(2, text="SELECT\n  " + "x" * 900)))))

    [first] = [line for line in rendered.text.splitlines() if "-0.500 s" in line]
    assert first.endswith("…")
    assert len(first) < 320


@pytest.mark.parametrize("scope", ["<b>", "{{ x }}"])
def test_nothing_in_it_is_markup(scope: str) -> None:
    rendered = digest.render(report(group(sample=sample(context=context(2, text=scope, logger=scope)))))

    assert "<b> 0" not in rendered.html
    assert scope in rendered.text


@pytest.mark.parametrize(
    "broken",
    [
        "…",
        {},
        {"scope": 7, "lines": "…"},
        {"lines": ["…", 7, None, {}, {"time": "noon", "level": "high", "message": ["x"], "logger": None}]},
    ],
)
def test_what_is_no_context_is_left_out(broken: Any) -> None:
    rendered = digest.render(report(group(sample=sample(context=broken))))

    assert "ZeroDivisionError" in rendered.text


def test_it_is_the_first_to_go() -> None:
    text = "looking for <hat> & more, of which there is hardly any left, as everybody knows " * 3
    groups = [group(number, sample=sample(context=context(50, text=text))) for number in range(20)]
    without = digest.render(report(*[group(number) for number in range(20)]))

    rendered = digest.render(report(*groups))

    assert len(rendered.html.encode()) < mail.HTML_LIMIT
    # Of everything else as much is there as without it.
    assert rendered.text.count("Traceback") == without.text.count("Traceback") == 20
    assert rendered.text.count("frames left out") == without.text.count("frames left out")
    assert "Before it, in this request, the last " in rendered.text


def test_where_there_is_no_room_for_it_the_mail_says_so() -> None:
    long = traceback(
        "ValueError: x", own=tuple(("/srv/shop/x.py", n, "f" * 40, "g()" * 30) for n in range(600))
    )
    value = sample(traceback=long, context=context(50))

    rendered = digest.render(report(*[group(number, sample=value) for number in range(3)]))

    assert "Before it" not in rendered.text
    assert "3 samples shortened to keep this mail small." in rendered.text


def test_levels_have_their_names() -> None:
    logging.addLevelName(7, "TRACE")

    assert Before(sample(context=context(1, level=7))).lines[0].level == "TRACE"
