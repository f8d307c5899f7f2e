"""A report becomes a mail within its limits; its headers; and reports of values that no table has seen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from itertools import product
from typing import Any
from urllib.parse import urlsplit

from .. import conf
from .attachments import Attachment, compress, encoded_size
from .excerpts import one_line
from .page import NEWS, Composer, Plan, counted, is_news, level_name, ranked
from .templating import render as render_templates

SUBJECT_LIMIT = 120
HTML_LIMIT = 90_000  # Gmail clips at about 102 kB
TEXT_LIMIT = 200_000
PARTS_LIMIT = 380_000  # text and HTML as they are encoded in the mail
ATTACHMENTS_LIMIT = 590_000  # the same; with the parts and the headers below 1 MB
LADDER = (
    Plan(20, 100, 56_000),
    Plan(20, 100, 44_000),
    Plan(20, 100, 33_000),
    Plan(20, 100, 23_000),
    Plan(20, 60, 18_000),
    Plan(16, 40, 14_000),
    Plan(10, 25, 10_000),
    Plan(6, 15, 7_000),
    Plan(3, 5, 4_000),
    Plan(1, 0, 1_500),
)
MESSAGES_KEPT = 50
HOSTS_KEPT = 100
PROCESSES_KEPT = 10_000
SPANS_KEPT = 64


@dataclass(kw_only=True)
class GroupReport:
    """One group in one mail.

    ``count``, ``first_at`` and ``last_at`` are this mail's, ``total`` and ``first_seen_at`` of all time;
    ``state`` is "new", "regressed", "variant" or "repeat"; a last message "" stands for all others; the
    records of a span lie evenly between its two times; ``sample`` is a full prepared value.
    """

    fingerprint: str
    title: str
    level: int
    logger: str
    count: int
    total: int
    state: str
    first_at: datetime
    last_at: datetime
    first_seen_at: datetime
    hosts: dict[str, int] = field(default_factory=dict)
    processes: int = 1
    messages: list[tuple[str, int]] = field(default_factory=list)
    spans: list[tuple[datetime, datetime, int]] = field(default_factory=list)
    sample: dict[str, Any] | None = None
    url: str = ""


@dataclass(kw_only=True)
class Report:
    """What one mail reports.

    ``record_count`` counts every record, ``silenced_count`` those of them whose groups are silenced;
    ``group_count`` and ``groups`` leave silenced groups out, and ``groups`` may hold fewer than there are:
    the ones worth showing. Without ``has_history`` nothing is known of earlier mails, and none of it is said.
    """

    buffer: str
    reason: str
    groups: list[GroupReport]
    record_count: int
    group_count: int
    silenced_count: int = 0
    lost_count: int = 0
    level: int
    opened_at: datetime
    first_at: datetime
    last_at: datetime
    sealed_at: datetime
    message_id: str = ""
    references: str = ""
    batch_id: int | None = None
    batch_url: str = ""
    note: str = ""
    records: Callable[[], Iterator[dict[str, Any]]] | None = None
    include_html: bool = False
    has_history: bool = True
    new_count: int | None = None


@dataclass(kw_only=True)
class Digest:
    """A mail but for its addresses and headers."""

    subject: str
    text: str
    html: str
    attachments: list[Attachment] = field(default_factory=list)


def subject(report: Report, *, prefix: str = "") -> str:
    """One line of at most 120 characters: "ERROR ×213 ZeroDivisionError: division by zero (+2 more)"."""
    prefix = _prefix(prefix)
    return prefix + _subject(report, SUBJECT_LIMIT - len(prefix))


def render(report: Report, *, subject: str | None = None, prefix: str = "") -> Digest:
    """The whole mail, within its limits: HTML below 90 kB, everything below 1 MB."""
    line = _prefixed_subject(report, prefix=prefix) if subject is None else one_line(subject, SUBJECT_LIMIT)
    attachments, remarks = _attachments(report)
    text, html = _pages(report, remarks)
    return Digest(subject=line, text=text, html=html, attachments=attachments)


_prefixed_subject = subject  # render has an argument of that name


def headers(report: Report) -> dict[str, str]:
    """All headers but From, To and Subject; no text of a record in any."""
    buffer = _slug(report.buffer)
    result = {
        "Date": format_datetime(report.sealed_at.astimezone(UTC)),
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "OOF, AutoReply",
        "List-Id": f"<{buffer}.maillog.{_host(report)}>",
        "X-Maillog-Buffer": buffer,
        "X-Maillog-Reason": _slug(report.reason),
        "X-Maillog-Level": _slug(level_name(report.level)),
        "X-Maillog-Groups": str(report.group_count),
        "X-Maillog-Count": str(report.record_count),
    }
    if report.message_id:
        result["Message-ID"] = _identifier(report.message_id)
    if report.references:
        result["References"] = _identifier(report.references)
        result["In-Reply-To"] = _identifier(report.references).split(" ")[-1]
    if report.batch_id is not None:
        result["X-Maillog-Batch"] = str(report.batch_id)
    if report.level >= 50:
        result["Importance"] = "high"
    return result


def summarize(values: Iterable[dict[str, Any]], *, buffer: str, reason: str, now: datetime) -> Report:
    """A report of prepared values that no table has seen; an iterator is read once and not attached."""
    tallies: dict[str, _Tally] = {}
    number = 0
    for value in values:
        number += 1
        key = str(value.get("fingerprint") or "")
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = _Tally(value)
        tally.add(value)
    groups = ranked(tally.report(key) for key, tally in tallies.items())
    first_at = min((group.first_at for group in groups), default=now)
    return Report(
        buffer=buffer,
        reason=reason,
        groups=groups,
        record_count=number,
        group_count=len(groups),
        level=max((group.level for group in groups), default=0),
        opened_at=first_at,
        first_at=first_at,
        last_at=max((group.last_at for group in groups), default=now),
        sealed_at=now,
        records=(lambda: iter(values)) if isinstance(values, Sequence) else None,
        has_history=False,
    )


class _Tally:
    """What is counted of one fingerprint; bounded however many values come."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.title = str(value.get("title") or "")
        self.logger = str(value.get("logger") or "")
        self.level = self.count = 0
        self.first = self.last = _seconds(value)
        self.hosts: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.processes: set[tuple[str, Any]] = set()
        self.sample: dict[str, Any] = value
        self.columns: Counter[int] = Counter()
        self.width = 1

    def add(self, value: dict[str, Any]) -> None:
        self.count += 1
        time = _seconds(value)
        self.first, self.last = min(self.first, time), max(self.last, time)
        level = value.get("level")
        self.level = max(self.level, level if isinstance(level, int) else 0)
        host = str(value.get("host") or "")
        self.hosts[host if host in self.hosts or len(self.hosts) < HOSTS_KEPT else "others"] += 1
        if len(self.processes) < PROCESSES_KEPT:
            self.processes.add((host, str(value.get("process"))))
        message = str(value.get("message") or "")[:1000]
        self.messages[message if message in self.messages or len(self.messages) < MESSAGES_KEPT else ""] += 1
        if value.get("full") and not self.sample.get("full"):
            self.sample = value
        self.columns[int(time // self.width)] += 1
        if len(self.columns) > SPANS_KEPT:
            self.width *= 2
            columns: Counter[int] = Counter()
            for column, count in self.columns.items():
                columns[column // 2] += count
            self.columns = columns

    def report(self, key: str) -> GroupReport:
        first_at, last_at = _moment(self.first), _moment(self.last)
        messages = sorted(self.messages.items(), key=lambda item: (not item[0], -item[1], item[0]))
        return GroupReport(
            fingerprint=key,
            title=self.title,
            level=self.level,
            logger=self.logger,
            count=self.count,
            total=self.count,
            state="new",
            first_at=first_at,
            last_at=last_at,
            first_seen_at=first_at,
            hosts={host: count for host, count in self.hosts.items() if host},
            processes=len(self.processes),
            messages=messages,
            spans=[
                (
                    max(_moment(column * self.width), first_at),
                    min(_moment((column + 1) * self.width), last_at),
                    count,
                )
                for column, count in sorted(self.columns.items())
            ],
            sample=self.sample,
        )


def _seconds(value: dict[str, Any]) -> float:
    time = value.get("time")
    return float(time) if isinstance(time, (int, float)) and 0 <= time < 2**33 else 0.0


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _pages(report: Report, remarks: list[str]) -> tuple[str, str]:
    """Text and HTML from the first rung of the ladder that fits, by the project's templates if one does."""
    composer = Composer(report)
    too_large = "The project's templates make this mail too large; these are the package's own."
    for project, plan in product((True, False), LADDER):
        said = remarks if project else [*remarks, too_large]
        text, html = render_templates(partial(composer.context, plan, said), project=project)
        if _fits(text.encode(), html.encode()):
            break
    return text, html


def _fits(text: bytes, html: bytes) -> bool:
    encoded = encoded_size(text) + encoded_size(html)
    return len(text) < TEXT_LIMIT and len(html) < HTML_LIMIT and encoded < PARTS_LIMIT


def _attachments(report: Report) -> tuple[list[Attachment], list[str]]:
    """The records and the technical reports as far as they fit, and what to say of them."""
    attachments, remarks = [], []
    room = ATTACHMENTS_LIMIT
    reports = [
        html.encode("utf-8", "replace")
        for group in ranked(report.groups)
        if report.include_html and is_news(group) and (html := (group.sample or {}).get("html"))
    ]
    kept = 0
    for content in reports:
        # Half of the room, so that reports don't push out the records.
        if encoded_size(content) > room - ATTACHMENTS_LIMIT // 2:
            continue
        kept += 1
        room -= encoded_size(content)
        attachments.append(Attachment(name=f"report-{kept}.html", content=content, mimetype="text/html"))
    if kept < len(reports):
        remarks.append(
            f"{counted(len(reports) - kept, 'technical report')} not attached, to keep this mail below 1 MB."
        )
    if report.records is None or report.record_count <= 1:
        return attachments, remarks
    content, number = compress(report.records(), room * 5 // 7 - 500)
    if content is None:
        number_of = counted(report.record_count, "record")
        remarks.append(f"The {number_of} are not attached: they would make this mail larger than 1 MB.")
    elif number:
        attachments.append(Attachment(name="records.jsonl.gz", content=content, mimetype="application/gzip"))
        remarks.append(f"All records are attached: records.jsonl.gz, {counted(number, 'line')}.")
    return attachments, remarks


def _subject(report: Report, room: int) -> str:
    groups = ranked(report.groups)
    if not groups:
        return one_line(f"{level_name(report.level)} ×{report.record_count:,} records", room)
    worst = groups[0]
    level = level_name(worst.level)
    title = one_line(worst.title, 200) or "(no message)"
    if report.references and report.group_count == 1 and worst.state not in NEWS:
        return one_line(f"Re: {level} {title}", room)
    head = f"{level} ×{worst.count:,} " if report.record_count - report.silenced_count > 1 else f"{level} "
    tail = f" (+{report.group_count - 1:,} more)" if report.group_count > 1 else ""
    return one_line(head + one_line(title, max(room - len(head) - len(tail), 10)) + tail, room)


def _prefix(prefix: str) -> str:
    """The prefix on one line with its trailing space, cut where it would leave no room for the subject."""
    line = one_line(prefix, SUBJECT_LIMIT // 2)
    return f"{line} " if line and prefix[-1:].isspace() else line


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text[:200]).strip("-")[:60] or "maillog"


def _identifier(text: str) -> str:
    """A Message-ID, or several with blanks between them, as one printable line."""
    return re.sub(r"[^\x21-\x7e]+", " ", text).strip()[:900]


def _host(report: Report) -> str:
    host = urlsplit(conf.site_url()).hostname or report.message_id.rpartition("@")[2].strip("<> ")
    return re.sub(r"[^A-Za-z0-9.-]+", "-", host)[:100].strip(".-") or "localhost"
