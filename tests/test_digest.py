"""The mail: what it says, how large it may get, what it must not do, and whose templates it uses."""

from __future__ import annotations

import gzip
import json
import os
import platform
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import django
import pytest
from django.template import engines
from django.utils import timezone
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_maillog import digest
from django_maillog.capture.captured import CapturedRecord
from django_maillog.digest import excerpts, samples, templating, timebar, words
from django_maillog.outbox import connection
from django_maillog.policy import Reason
from tests import mail_samples
from tests.examples import examples
from tests.mail_samples import NOON, group, report, sample, traceback

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings  # an older pytest-django has it under another name

VOID = {"meta", "br"}
TAGS = {
    *VOID, "html", "head", "title", "style", "body", "table", "tr", "td", "div", "span", "b", "a",
}  # fmt: skip


class Page(HTMLParser):
    """What a browser makes of the HTML: words by line, tags, attributes; raises if tags don't match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in {"div", "br", "td"}:
            self.words += "\n"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in {"div", "td"}:
            self.words += "\n"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and "title" not in self.open:
            self.words += data

    @property
    def lines(self) -> list[str]:
        return [line for line in map(str.strip, self.words.splitlines()) if line]


@pytest.fixture(autouse=True)
def _berlin(settings: Settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"


VERSIONS = f"Python {platform.python_version()}, Django {django.get_version()}"
SINGLE = f"""\
ZeroDivisionError: division by zero
  at shop/orders/models.py:112 in price_per_item
  GET /orders/7/checkout/ → 500
  ERROR in django.request
  10:00:30 (Europe/Berlin)
  User: 3 anna
  View: orders.views.checkout (orders/<int:pk>/checkout/)
  Host: web-1
  Process: 4711

  Internal Server Error: /orders/7/checkout/

Traceback (most recent call last):
  File "/srv/shop/.venv/lib/python3.13/site-packages/django/core/handlers/base.py", line 181, in get_0
    response = wrapped_callback(request, *callback_args, **callback_kwargs)
  File "/srv/shop/orders/views.py", line 48, in checkout
    price = order.price_per_item()
  File "/srv/shop/orders/models.py", line 112, in price_per_item
    return self.total / self.items.count()
ZeroDivisionError: division by zero

GET:
  step = 2

----
Sent because something broke that was not seen before.
Buffer maillog. Times are in Europe/Berlin. {VERSIONS}.
"""


def short_single() -> digest.Report:
    error = "ZeroDivisionError: division by zero"
    return report(group(sample=sample(traceback=traceback(error, library_frames=1))))


def test_a_single_record_reads_like_a_mail_about_one_error() -> None:
    rendered = digest.render(short_single(), subject=digest.subject(short_single(), prefix="[Shop] "))

    assert rendered.subject == "[Shop] ERROR ZeroDivisionError: division by zero"
    assert rendered.text == SINGLE
    assert rendered.attachments == []


def test_the_html_of_a_single_record_says_the_same_as_its_text() -> None:
    lines = Page(digest.render(short_single()).html).lines

    assert lines == [
        "ZeroDivisionError: division by zero",
        "shop/orders/models.py:112 in price_per_item",
        "GET /orders/7/checkout/ → 500",
        "ERROR in django.request · 10:00:30 (Europe/Berlin)",
        "User: 3 anna · View: orders.views.checkout (orders/<int:pk>/checkout/)"
        " · Host: web-1 · Process: 4711",
        "Internal Server Error: /orders/7/checkout/",
        "Traceback (most recent call last):",
        f'File "{mail_samples.SITE}/django/core/handlers/base.py", line 181, in get_0',
        "response = wrapped_callback(request, *callback_args, **callback_kwargs)",
        'File "/srv/shop/orders/views.py", line 48, in checkout',
        "price = order.price_per_item()",
        'File "/srv/shop/orders/models.py", line 112, in price_per_item',
        "return self.total / self.items.count()",
        "ZeroDivisionError: division by zero",
        "GET",
        "step",
        "2",
        "Sent because something broke that was not seen before.",
        f"Buffer maillog. Times are in Europe/Berlin. {VERSIONS}.",
    ]


REPEATS = f"""\
1,204 warnings in 1 problem, none new, 06:10–10:08 (Europe/Berlin)
A reminder: known problems go on.

REPEATING
=========

1,204 × Payment provider answered slowly
  at shop/payments/client.py:77 in charge
  WARNING in shop.payments
  06:10:30–10:08:30
  06:10 ██████████████████████████████ 10:08
  In all: 9,812 since 29 Jan 2025 10:10:30
  Hosts: web-2 ×604, web-1 ×600
  Processes: 12

Extra:
  seconds = 12.5

----
Buffer maillog. Times are in Europe/Berlin. {VERSIONS}.
"""


def test_a_reminder_of_one_group_says_how_often_and_since_when() -> None:
    rendered = digest.render(mail_samples.repeats())

    assert rendered.text == REPEATS
    assert rendered.subject == "Re: WARNING Payment provider answered slowly"


def test_a_digest_counts_first_then_shows_new_groups_then_repeating_ones() -> None:
    shown = mail_samples.three_groups()
    shown.groups.reverse()

    text = digest.render(shown).text

    assert text.startswith(
        "213 errors in 3 problems, 2 new, 10:00–10:10 (Europe/Berlin)\n"
        "Sent because something broke that was not seen before.\n"
        "\n"
        "150 × ZeroDivisionError: division by zero\n"
        "3 × ConnectionError: Error 111 connecting to redis:6379. Connection refused.\n"
        "60 × Payment provider answered slowly (known)\n"
        "\n"
        "https://shop.example.com/admin/django_maillog/batch/17/change/\n"
        "\n"
        "NEW\n"
        "===\n"
        "\n"
        "150 × ZeroDivisionError: division by zero\n"
        "  at shop/orders/models.py:112 in price_per_item\n"
        "  e.g. GET /orders/7/checkout/ → 500\n"
        "  ERROR in django.request, 70% of this mail\n"
        "  10:00:30–10:10:25\n"
        "  10:00 ▂▂▂▂▂▂▁········▇█████▄▃▃▃▃▃▃▃▃ 10:10\n"
        "  User: 3 anna\n"
        "  View: orders.views.checkout (orders/<int:pk>/checkout/)\n"
        "  Hosts: web-1 ×90, web-2 ×60\n"
        "  Processes: 8\n"
        "  https://shop.example.com/admin/django_maillog/group/1/change/\n"
        "\n"
        "  88 × Internal Server Error: /orders/7/checkout/\n"
        "  62 × Internal Server Error: /orders/12/checkout/\n"
    )
    assert text.index("\nNEW\n") < text.rindex("\n3 × ConnectionError") < text.index("\nREPEATING\n")
    assert text.index("\nREPEATING\n") < text.rindex("\n60 × Payment provider")


def test_text_and_html_tell_the_same_groups_counts_and_links() -> None:
    rendered = digest.render(mail_samples.three_groups())
    shown = Page(rendered.html)

    assert shown.lines[0] == rendered.text.splitlines()[0]
    assert {attributes["href"] for tag, attributes in shown.tags if tag == "a"} == set(
        re.findall(r"https://\S+", rendered.text)
    )
    for counted in ("×150 ZeroDivisionError: division by zero", "×60 Payment provider answered slowly"):
        assert counted in shown.lines


@pytest.mark.parametrize("reason", [*Reason, "something else"])
def test_every_reason_is_said_in_words_of_its_own(reason: str) -> None:
    others = {words.why(report(group(), reason=other)) for other in Reason if other != reason}

    sentence = words.why(report(group(), reason=reason))

    assert sentence not in others
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("levels", "noun"),
    [
        ([40, 50], "error"),
        ([30, 30], "warning"),
        ([20, 40], "record"),
        ([30, 40], "record"),
        ([20], "record"),
        ([], "record"),
    ],
)
def test_records_are_called_what_they_all_are(levels: list[int], noun: str) -> None:
    shown = report(*(group(level=level) for level in levels))

    assert (words.records(shown, 1), words.records(shown, 2)) == (f"1 {noun}", f"2 {noun}s")


def test_the_summary_names_regressions_and_spans_of_days() -> None:
    yesterday = NOON - timedelta(days=1)
    shown = report(
        group(1, state="regressed", count=2, first_at=yesterday, last_at=NOON), group(2, state="new")
    )

    text = digest.render(shown).text

    assert text.startswith("3 errors in 2 problems, 1 new, 1 back, 4 Mar 10:10 – 10:10 (Europe/Berlin)\n")
    assert (
        "  ERROR in django.request, 67% of this mail, back after a quiet time\n  4 Mar 10:10:30 – 10:10:30\n"
        in text
    )


def test_silenced_and_lost_records_are_a_number_and_no_part_of_the_count() -> None:
    text = digest.render(report(group(count=3), record_count=45, silenced_count=42, lost_count=1)).text

    assert text.startswith(
        "*** 1 record could not be kept, since the spool was full or failed, or a line of it can't be "
        "imported; it is only counted. ***\n\n3 errors in 1 problem, 1 new, "
    )
    assert "\n42 records of silenced problems are only counted.\n" in text


def test_a_note_stands_above_everything() -> None:
    rendered = digest.render(mail_samples.outage())

    assert rendered.text.startswith(
        "*** The database is away; this mail comes straight from the spool.\n1,200 records could not be kept"
    )
    assert Page(rendered.html).lines[0] == "The database is away; this mail comes straight from the spool."


def test_times_are_the_projects_whatever_zone_a_request_has_activated() -> None:
    with timezone.override("Asia/Tokyo"):
        assert digest.render(short_single()).text == SINGLE


def test_what_a_formatter_made_opens_the_sample_and_repeats_nothing() -> None:
    trace = traceback("KeyError: 'x'", library_frames=0)
    formatted = f"team=payments\n{trace}".rstrip()

    text = digest.render(
        report(group(sample=sample(formatted=formatted, traceback=trace, stack_info="Stack: here")))
    ).text

    assert text.count("Traceback (most recent call last)") == 1
    assert text.index("team=payments") < text.index("Traceback") < text.index("Stack: here")


def test_carriage_returns_are_line_ends() -> None:
    assert excerpts.visible("a\r\nb\rc\td") == "a\nb\nc\td"


def test_a_request_is_told_by_what_is_known_of_it() -> None:
    shown = sample(request={"path": "/a", "META": {"SECRET": "x"}}, cut=["message", "extra"])

    text = digest.render(report(group(count=2, sample=shown))).text

    assert "\n  e.g. /a\n" in text
    assert "SECRET" not in text
    assert "\nCut when it was recorded:\n  fields = message, extra\n" in text


def test_a_rendered_page_is_never_taken_for_safe_html() -> None:
    rendered = digest.render(short_single())

    assert (type(rendered.text), type(rendered.html), type(rendered.subject)) == (str, str, str)


def test_a_group_without_a_sample_is_shown_all_the_same() -> None:
    text = digest.render(report(group(sample=None, title="", messages=[]))).text

    assert text.startswith("(no message)\n  ERROR in django.request\n")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (report(group()), "ERROR ZeroDivisionError: division by zero"),
        (
            report(group(count=213), group(2), group(3)),
            "ERROR ×213 ZeroDivisionError: division by zero (+2 more)",
        ),
        (
            report(
                group(1, title="known", level=50, count=9, state="repeat"), group(2, title="new", count=1234)
            ),
            "ERROR ×1,234 new (+1 more)",
        ),
        (
            report(
                group(1, title="often", count=9, state="repeat"),
                group(2, title="worse", level=50, state="repeat"),
            ),
            "CRITICAL ×1 worse (+1 more)",
        ),
        (report(group(title="a\r\nBcc: b@example.com\x00\u202e\u2028c")), "ERROR a Bcc: b@example.com c"),
        (
            report(group(count=5, state="repeat"), references="<r@x>"),
            "Re: ERROR ZeroDivisionError: division by zero",
        ),
        (report(group(count=5), references="<r@x>"), "ERROR ×5 ZeroDivisionError: division by zero"),
        (report(group(title="")), "ERROR (no message)"),
        (report(level=40, record_count=7, group_count=0), "ERROR: 7 records"),
    ],
)
def test_the_subject_is_the_worst_new_group(shown: digest.Report, expected: str) -> None:
    assert digest.subject(shown) == expected


def test_the_subject_of_an_episode_is_the_same_whatever_the_counts() -> None:
    subjects = {
        digest.subject(report(group(count=count, total=count * 2, state="repeat"), references="<root@x>"))
        for count in (1, 7, 3000)
    }

    assert len(subjects) == 1


@given(st.text(max_size=300), st.text(max_size=300), st.integers(1, 10**9))
@hypothesis_settings(deadline=None, max_examples=examples(60))
def test_a_subject_is_one_printable_line_of_at_most_120_characters(
    title: str, prefix: str, count: int
) -> None:
    line = digest.subject(report(group(title=title, count=count), group(2)), prefix=prefix)

    assert len(line) <= 120
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", line)
    assert line.endswith(" (+1 more)")


def test_a_long_subject_from_elsewhere_is_cut_too() -> None:
    line = digest.render(report(group()), subject="x" * 500 + "\r\nBcc: all@example.com").subject

    assert len(line) == 120
    assert line.endswith("x…")


def test_the_headers_say_everything_that_a_filter_needs() -> None:
    shown = report(
        group(count=3), level=50, reason="level", record_count=5, silenced_count=2, references="<root@shop>"
    )

    assert digest.headers(shown) == {
        "Date": "Thu, 05 Mar 2026 09:10:30 +0000",
        "Message-ID": "<20260305.1@shop.example.com>",
        "References": "<root@shop>",
        "In-Reply-To": "<root@shop>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "OOF, AutoReply",
        "List-Id": "<maillog.maillog.shop.example.com>",
        "Importance": "high",
        "X-Maillog-Batch": "17",
        "X-Maillog-Buffer": "maillog",
        "X-Maillog-Reason": "level",
        "X-Maillog-Level": "CRITICAL",
        "X-Maillog-Groups": "1",
        "X-Maillog-Count": "5",
    }


def test_headers_leave_out_what_is_not_known() -> None:
    shown = report(group(), message_id="", batch_id=None)

    assert not {"Message-ID", "References", "In-Reply-To", "X-Maillog-Batch", "Importance"} & set(
        digest.headers(shown)
    )
    assert digest.headers(shown)["List-Id"] == "<maillog.maillog.localhost>"


def test_the_list_id_names_the_site_where_it_is_known(settings: Settings) -> None:
    settings.MAILLOG_SITE_URL = "https://admin.example.org:8443/x"

    assert digest.headers(report(group()))["List-Id"] == "<maillog.maillog.admin.example.org>"


@pytest.mark.parametrize("value", ["example.org", "https://[example.org"])
def test_a_wrong_site_is_in_no_header(settings: Settings, value: str) -> None:
    settings.MAILLOG_SITE_URL = value
    shown = report(group(), message_id="<1@shop.example>")

    assert digest.headers(shown)["List-Id"] == "<maillog.maillog.shop.example>"


def test_no_text_of_a_record_gets_into_a_header_and_no_header_breaks() -> None:
    shown = mail_samples.hostile()
    shown.reason = "new\r\nX: y"
    shown.message_id = "<a\r\nBcc: b@c>"

    headers = digest.headers(shown)

    assert headers["X-Maillog-Buffer"] == "e-vil-b"
    assert headers["Message-ID"] == "<a Bcc: b@c>"
    assert all(re.fullmatch(r"[\x20-\x7e]+", value) for value in headers.values())
    assert "script" not in str(headers)


def test_hostile_text_stays_text_in_the_html() -> None:
    html = digest.render(mail_samples.hostile()).html
    shown = Page(html)

    assert {tag for tag, _ in shown.tags} <= TAGS
    assert "<script>alert(1)</script>{{ settings.SECRET_KEY }}{% now 'Y' %}</td></table>" in shown.words


def test_text_marked_safe_is_escaped_like_any_other() -> None:
    evil = mark_safe("<script>1</script>")
    values = [
        sample(title=evil, message=evil, logger=evil, host=evil, traceback=evil, extra={evil: evil})
        for _ in "ab"
    ]

    rendered = digest.render(digest.summarize(values, buffer=evil, reason="flush", now=NOON))

    assert "script" in rendered.html
    assert "<script" not in rendered.html


def test_control_and_bidi_characters_are_shown_as_escapes_or_left_out() -> None:
    rendered = digest.render(mail_samples.hostile())

    for text in (rendered.text, rendered.html):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)
        assert r"\u202egnp.exe\x1b[31m\x00\u2028" in text
    assert "\U0001f600 Übergrößenfehler" in rendered.text


def test_the_html_needs_nothing_from_outside_and_runs_nothing() -> None:
    for make in mail_samples.SAMPLES.values():
        for tag, attributes in Page(digest.render(make()).html).tags:
            assert tag in TAGS
            assert not {"src", "background", "srcset"} & set(attributes)
            assert not [name for name in attributes if name.startswith("on")]
            assert "url(" not in (attributes.get("style") or "")
            assert (attributes.get("href") or "https://").startswith("https://")


HUGE = {
    "markup": "<&\"'>" * 30_000,
    "emoji": "\U0001f600" * 60_000,
    "lines": '  File "/srv/x.py", line 1, in f\n    f()\n' * 3_000,
    "controls": "\x00\u202e" * 60_000,
}


def huge(text: str, number: int) -> digest.Report:
    return report(
        *(
            group(
                index,
                title=text,
                logger=text,
                count=7,
                last_at=NOON,
                hosts={text[: 200 + one]: 1 for one in range(9)},
                messages=[(f"{one}{text}", 1) for one in range(7)],
                spans=[(NOON - timedelta(seconds=60 * one), NOON, one + 1) for one in range(10)],
                sample=sample(
                    traceback=text,
                    formatted=text + "!",
                    stack_info=text,
                    html=text,
                    extra={f"{one}{text}": text for one in range(50)},
                    request={
                        "method": text,
                        "path": text,
                        "user": text,
                        "GET": {text: text},
                        "POST": {text: text},
                    },
                ),
                url="https://shop.example.com/" + "x" * 100,
            )
            for index in range(number)
        ),
        group_count=number + 1000,
        record_count=number * 7 + 5000,
        note=text,
        buffer=text[:200],
        include_html=True,
        records=lambda: noise(7_000),
    )


def noise(number: int) -> Iterator[CapturedRecord]:
    generator = random.Random(1)
    for _ in range(number):
        yield cast(CapturedRecord, {"message": generator.randbytes(60).hex()})


@pytest.mark.parametrize("number", [1, 30])
@pytest.mark.parametrize("kind", HUGE)
def test_the_mail_stays_below_its_limits_whatever_it_reports(kind: str, number: int) -> None:
    shown = huge(HUGE[kind], number)

    rendered = digest.render(shown)

    assert len(rendered.html.encode()) < 90_000
    assert len(rendered.text.encode()) < 200_000
    mail = connection.message(
        rendered, digest.headers(shown), sender="a@example.com", recipients=["b@example.com"]
    )
    assert len(mail.message().as_bytes()) < 1_000_000
    Page(rendered.html)


def test_the_largest_attachments_that_fit_still_leave_the_mail_below_its_limit() -> None:
    shown = mail_samples.outage()
    rendered, lines = digest.render(shown), 0
    for lines in range(5_000, 9_000, 250):
        shown.records = lambda lines=lines: noise(lines)
        larger = digest.render(shown)
        if not larger.attachments:
            break
        rendered = larger

    mail = connection.message(
        rendered, digest.headers(shown), sender="a@example.com", recipients=["b@example.com"]
    )

    assert 5_000 < lines < 8_750
    assert len(rendered.attachments[0].content) > 380_000
    assert len(mail.message().as_bytes()) < 1_000_000


def test_every_group_is_shown_or_counted() -> None:
    shown = mail_samples.outage()

    rendered = digest.render(shown)
    text = rendered.text

    assert 60_000 < len(rendered.html.encode()) < 90_000
    body, _, rows = text.partition("IN SHORT\n")
    full = [int(number.replace(",", "")) for number in re.findall(r"^([\d,]+) × .*\n  at ", body, re.M)]
    short = [int(number.replace(",", "")) for number in re.findall(r"^([\d,]+) × ERROR ", rows, re.M)]
    more = re.search(r"^And ([\d,]+) more problems with ([\d,]+) errors\.$", rows, re.M)
    assert more
    rest_groups, rest = (int(number.replace(",", "")) for number in more.groups())
    assert len(full) <= 20
    assert len(full) + len(short) + rest_groups == shown.group_count
    assert sum(full) + sum(short) + rest == shown.record_count - shown.silenced_count
    assert f"{len(full)} samples shortened to keep this mail small." in text


@pytest.mark.parametrize(
    ("character", "length", "problems", "in_full", "rows"),
    [
        ("a", 150, 20, 20, 0),
        ("a", 300, 20, 20, 0),
        ("ж", 100, 20, 20, 0),
        ("漢", 300, 20, 8, 12),
        ("漢", 300, 8, 8, 0),
        ("a", 300, 100, 8, 40),
        ("漢", 300, 100, 8, 40),
    ],
)
def test_long_texts_that_all_differ_are_cut_before_problems_are_left_out(
    character: str, length: int, problems: int, in_full: int, rows: int
) -> None:
    groups = (differing(number, character * length) for number in range(problems))

    rendered = digest.render(report(*groups))

    assert len(rendered.html.encode()) < 90_000
    body, _, short = rendered.text.partition("IN SHORT\n")
    assert len(re.findall(r"^6 × ValueError: .*\n  at ", body, re.M)) == in_full
    assert len(re.findall(r"^6 × ERROR ValueError: ", short, re.M)) == rows
    # All six values and messages of each are listed or counted.
    listed = re.findall(r"^  (\d) × (?:ValueError|No stock|in )", body, re.M)
    assert sum(map(int, listed)) == in_full * 2 * 6


def differing(number: int, text: str) -> digest.GroupReport:
    """A problem whose six records all say something else."""
    texts = [f"{number}.{one} {text}"[: len(text)] for one in range(6)]
    return group(
        number,
        title=f"ValueError: {texts[0]}",
        count=6,
        total=6,
        last_at=NOON,
        hosts={"web-1": 3, "web-2": 3},
        messages=[(f"No stock: {one}", 1) for one in texts],
        titles=[(f"ValueError: {one}", 1) for one in texts],
        spans=[
            (NOON - timedelta(seconds=100 * one), NOON - timedelta(seconds=100 * one), 1) for one in range(6)
        ],
        sample=sample(message=f"No stock: {texts[0]}", traceback=traceback(f"ValueError: {texts[0]}")),
        url=f"https://shop.example.com/admin/django_maillog/group/{number}/change/",
    )


def test_a_few_groups_are_shown_whole() -> None:
    text = digest.render(mail_samples.three_groups()).text

    assert "left out" not in text
    assert "shortened" not in text


def test_all_records_are_attached_as_json_lines() -> None:
    records = [{"message": "a", "html": "<b>"}, {"message": "ü"}]
    shown = report(group(count=2), records=lambda: iter(records))

    first, second = digest.render(shown), digest.render(shown)

    (attached,) = first.attachments
    assert (attached.name, attached.mimetype) == ("records.jsonl.gz", "application/gzip")
    lines = gzip.decompress(attached.content).splitlines()
    assert [json.loads(line) for line in lines] == [{"message": "a"}, {"message": "ü"}]
    assert first == second
    assert attached.content[4:8] == bytes(4)  # no time in the header
    assert "All records are attached: records.jsonl.gz, 2 lines." in first.text


def test_records_that_do_not_fit_are_not_read_to_the_end_and_said_to_be_missing() -> None:
    read = 0

    def records() -> Iterator[CapturedRecord]:
        nonlocal read
        for record in noise(100_000):
            read += 1
            yield record

    rendered = digest.render(report(group(count=100_000), records=records))

    assert rendered.attachments == []
    assert read < 20_000
    assert (
        "The 100,000 records are not attached: they would make this mail larger than 1 MB." in rendered.text
    )


def test_no_records_make_no_attachment() -> None:
    assert digest.render(report(group(count=2), records=lambda: iter([]))).attachments == []


def test_the_technical_reports_of_new_groups_are_attached_as_far_as_they_fit() -> None:
    known = group(9, count=5, state="repeat", sample=sample(html="<p>known</p>"))
    new = [group(one, sample=sample(html=f"<p>{one}</p>" + "x" * 100_000)) for one in range(5)]
    shown = report(known, *new, include_html=True)

    rendered = digest.render(shown)

    assert [attachment.name for attachment in rendered.attachments] == ["report-1.html", "report-2.html"]
    assert rendered.attachments[0].content.startswith(b"<p>0</p>")
    assert {attachment.mimetype for attachment in rendered.attachments} == {"text/html"}
    assert "3 technical reports not attached, to keep this mail below 1 MB." in rendered.text


def test_technical_reports_are_attached_only_where_asked_for() -> None:
    assert digest.render(report(group(sample=sample(html="<p>")))).attachments == []


def override(settings: Settings, folder: Path, name: str, content: str, **options: Any) -> None:
    """A project whose own template is in ``folder``."""
    target = folder / "django_maillog" / name
    target.parent.mkdir(exist_ok=True)
    target.write_text(content)
    settings.TEMPLATES = [
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [folder], "OPTIONS": options}
    ]


def test_a_template_of_the_project_wins(settings: Settings, tmp_path: Path) -> None:
    override(settings, tmp_path, "digest.html", "<p>{{ buffer }}: {{ sections.0.groups.0.title }}</p>")

    rendered = digest.render(report(group(title="<b>")))

    assert rendered.html == "<p>maillog: &lt;b&gt;</p>\n"
    assert rendered.text.startswith("<b>\n")


def test_a_template_of_the_project_can_extend_ours_though_the_app_is_not_found(
    settings: Settings, tmp_path: Path
) -> None:
    override(
        settings,
        tmp_path,
        "digest.txt",
        '{% extends "django_maillog/digest.txt" %}{% block foot %}{% now "Y" %}{% endblock %}',
    )
    text = digest.render(short_single()).text

    assert text == f"{SINGLE.partition('----')[0].rstrip()}\n{datetime.now(UTC).year}\n"


def test_html_is_escaped_though_the_projects_engine_does_not(settings: Settings, tmp_path: Path) -> None:
    override(settings, tmp_path, "digest.html", "{{ note }}", autoescape=False)

    assert digest.render(report(group(), note="<b>")).html == "&lt;b&gt;\n"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{% if %}", "TemplateSyntaxError"),
        ("{% include 'missing.html' %}", "TemplateDoesNotExist: missing.html"),
        ("{% load nothing %}", "TemplateSyntaxError"),
    ],
)
@pytest.mark.parametrize("name", ["digest.html", "digest.txt"])
def test_a_template_of_the_project_that_fails_does_not_lose_the_mail(
    settings: Settings, tmp_path: Path, name: str, content: str, error: str
) -> None:
    override(settings, tmp_path, name, content)

    rendered = digest.render(short_single())

    assert rendered.text.startswith(SINGLE.partition("----")[0])
    problem = f"The project's template django_maillog/{name} could not be used ({error}"
    assert problem in rendered.text
    assert problem in Page(rendered.html).words


def test_what_the_packages_own_template_can_not_render_is_an_error() -> None:
    with pytest.raises(TypeError):
        templating.render({"sections": 1, "remarks": []})


def test_a_template_of_the_project_that_is_too_large_gives_way_and_says_so(
    settings: Settings, tmp_path: Path
) -> None:
    override(settings, tmp_path, "digest.html", "x" * 200_000)

    rendered = digest.render(short_single())

    assert len(rendered.html) < 10_000
    assert "The project's templates make this mail too large; these are the package's own." in rendered.text


@pytest.mark.parametrize(
    "templates",
    [
        [],
        [{"BACKEND": "django.template.backends.dummy.TemplateStrings", "DIRS": []}],
        [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    ],
)
def test_any_template_settings_make_the_same_mail(
    settings: Settings, templates: list[dict[str, Any]]
) -> None:
    settings.TEMPLATES = templates

    assert digest.render(short_single()).text == SINGLE


def test_broken_template_settings_do_not_lose_the_mail(settings: Settings) -> None:
    settings.TEMPLATES = [{"BACKEND": "nowhere.Engine"}]

    text = digest.render(short_single()).text

    assert text.startswith(SINGLE.partition("----")[0])
    assert "could not be used (ModuleNotFoundError" in text


def test_a_mail_can_be_made_before_the_apps_are_ready() -> None:
    code = (
        "from django.conf import settings; settings.configure(TIME_ZONE='Europe/Berlin', LANGUAGE_CODE='de', "
        "USE_THOUSAND_SEPARATOR=True, INSTALLED_APPS=['no.such.app'])\n"
        "from django_maillog.digest import render\n"
        "from tests.mail_samples import three_groups\n"
        "print(render(three_groups()).text)"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=environment, check=False
    )

    assert done.stderr == ""
    assert done.stdout.startswith("213 errors in 3 problems, 2 new, 10:00–10:10 (Europe/Berlin)\n")


def test_engines_are_made_once(settings: Settings, tmp_path: Path) -> None:
    override(settings, tmp_path, "digest.html", "{{ buffer }}")
    digest.render(short_single())
    (backend,) = engines.all()
    engine = vars(backend)["_maillog_engine"]

    digest.render(short_single())

    assert vars(backend)["_maillog_engine"] is engine


def values() -> list[CapturedRecord]:
    start = NOON.timestamp() - 600
    repeats: list[CapturedRecord] = [
        {
            "time": start + 600 - 2 * one,
            "level": 40,
            "logger": "django.request",
            "message": f"Internal Server Error: /orders/{one % 3}/",
            "title": "ZeroDivisionError: division by zero",
            "fingerprint": "ml2:a",
            "host": f"web-{one % 2}",
            "process": one % 5,
        }
        for one in range(300)
    ]
    return [
        *repeats,
        sample(fingerprint="ml2:a", host="web-0", process=0),
        sample(fingerprint="ml2:b", level=50, title="worse"),
    ]


def test_values_are_summarized_with_exact_counts() -> None:
    shown = digest.summarize(values(), buffer="maillog", reason="flush", now=NOON)

    assert (shown.record_count, shown.group_count, shown.level, shown.has_history) == (302, 2, 50, False)
    worst, often = shown.groups
    assert (worst.title, worst.count) == ("worse", 1)
    assert (often.count, often.total, often.processes) == (301, 301, 10)
    assert often.hosts == {"web-0": 151, "web-1": 150}
    assert often.messages[0] == ("Internal Server Error: /orders/0/", 100)
    assert sum(count for _, count in often.messages) == sum(count for *_, count in often.spans) == 301
    assert often.sample is not None
    assert often.sample["full"]
    assert (often.first_at, often.last_at) == (NOON - timedelta(minutes=10), NOON)
    assert shown.records is not None
    assert len(list(shown.records())) == 302


def test_what_is_counted_of_a_group_stays_bounded_and_exact() -> None:
    many = (
        sample(time=1e9 + 977 * one, fingerprint="x", host=f"h{one}", process=one, message=f"m{one}")
        for one in range(3000)
    )

    (only,) = digest.summarize(many, buffer="b", reason="outage", now=NOON).groups

    assert len(only.hosts) <= 101
    assert len(only.messages) <= 51
    assert only.messages[-1] == ("", 2950)
    assert sum(only.hosts.values()) == sum(count for *_, count in only.spans) == only.count == 3000


def test_an_iterator_is_read_once_and_not_attached() -> None:
    shown = digest.summarize(iter(values()), buffer="maillog", reason="outage", now=NOON)

    assert shown.records is None
    assert shown.record_count == 302


def test_nothing_makes_an_empty_report() -> None:
    shown = digest.summarize([], buffer="maillog", reason="flush", now=NOON)

    assert digest.render(shown).text.startswith("0 records in 0 problems, 10:10 (Europe/Berlin)\n")


def test_without_history_nothing_is_called_new() -> None:
    rendered = digest.render(digest.summarize(values(), buffer="maillog", reason="flush", now=NOON))

    assert not re.search(r"\bnew\b|NEW|In all", rendered.text)


@given(
    st.lists(st.tuples(st.integers(-100, 700), st.integers(0, 300), st.integers(1, 10**6)), max_size=30),
    st.integers(1, 60),
)
def test_a_bar_is_as_wide_as_asked_and_reaches_the_top_once_there_is_anything(
    spans: list[tuple[int, int, int]], width: int
) -> None:
    start, end = NOON, NOON + timedelta(seconds=600)
    times = [
        (start + timedelta(seconds=at), start + timedelta(seconds=at + length), count)
        for at, length, count in spans
    ]

    columns = timebar.heights(times, start, end, width=width)

    assert len(columns) == (width if spans else 0)
    assert max(columns, default=8) == 8
    assert min(columns, default=0) >= 0
    assert sum(float(part) for part, _ in timebar.cells(columns)) == pytest.approx(
        100 if spans else 0, abs=0.1
    )


def test_a_bar_shows_when_records_came() -> None:
    minute = timedelta(minutes=1)
    spans = [
        (NOON, NOON, 1),
        (NOON + 2 * minute, NOON + 4 * minute, 16),
        (NOON + 8 * minute, NOON + 8 * minute, 4),
    ]

    columns = timebar.heights(spans, NOON, NOON + 8 * minute, width=8)

    assert columns == [1, 0, 8, 8, 0, 0, 0, 4]
    assert timebar.blocks(columns) == "▁·██···▄"
    assert timebar.cells(columns)[:3] == [("12.5", "2"), ("12.5", ""), ("25", "16")]


def test_a_traceback_loses_library_frames_from_the_middle_first() -> None:
    text = traceback("Error: x", library_frames=20)

    short = excerpts.shorten(text, 1500)

    kinds = [part.kind for part in short]
    assert kinds == ["", "library", "cut", "library", "app", ""]
    assert re.fullmatch(r"  … \d+ library frames left out …\n", short[2].text)
    assert short[4].text == "".join(text.splitlines(keepends=True)[-5:-1])
    assert sum(excerpts.weight(part.text) for part in short) <= 1500


def test_own_frames_go_next_and_the_last_ones_stay() -> None:
    own = tuple((f"/srv/{one}.py", one, "f", "f()") for one in range(100))

    short = excerpts.shorten(traceback("Error: x", library_frames=3, own=own), 1200)

    joined = "".join(part.text for part in short)
    assert 'File "/srv/99.py"' in joined
    assert 'File "/srv/0.py"' in joined
    assert joined.endswith("Error: x\n")
    assert "frames left out" in joined


def test_chains_and_groups_keep_their_frames_apart() -> None:
    text = (
        "Traceback (most recent call last):\n"
        f'  File "{mail_samples.SITE}/a.py", line 1, in a\n    a()\n    ^^^\n'
        "KeyError: 1\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "/srv/b.py", line 2, in b\n  |     b()\n'
        "  | ExceptionGroup: x\n"
    )

    short = excerpts.shorten(text, 10_000)

    assert "".join(part.text for part in short) == text
    assert [part.text for part in short if part.kind == "library"] == [
        f'  File "{mail_samples.SITE}/a.py", line 1, in a\n    a()\n    ^^^\n'
    ]
    assert [part.text for part in short if part.kind == "app"] == [
        '  |   File "/srv/b.py", line 2, in b\n  |     b()\n'
    ]


@given(
    st.lists(st.sampled_from([*traceback("E: <&>").splitlines(keepends=True), "x" * 500, "\U0001f600", '"'])),
    st.integers(300, 3000),
)
@hypothesis_settings(deadline=None, max_examples=examples(80))
def test_a_shortened_traceback_fits(lines: list[str], room: int) -> None:
    text = "".join(lines)

    short = excerpts.shorten(text, room)

    assert sum(excerpts.weight(part.text) for part in short) <= room
    if excerpts.weight(text) <= room:
        assert "".join(part.text for part in short) == text


@pytest.mark.parametrize("library", [mail_samples.SITE, "/usr/lib64/python3.9/json"])
def test_a_crash_in_a_library_is_located_in_the_project(library: str) -> None:
    text = traceback("Error") + f'  File "{library}/client.py", line 3, in send\n    x\n'

    assert samples.Sample({"traceback": text}, everything=True).where == (
        "shop/orders/models.py:112 in price_per_item"
    )


@given(st.lists(st.integers(0, 5000), max_size=30), st.integers(0, 60_000))
def test_room_is_shared_out_without_waste(needs: list[int], room: int) -> None:
    rooms = samples.share_out(needs, room)

    assert all(given <= need for given, need in zip(rooms, needs, strict=True))
    assert sum(rooms) <= room
    assert sum(rooms) >= min(sum(needs), room) - len(needs)
