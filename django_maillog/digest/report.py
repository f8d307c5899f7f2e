"""What goes in and what comes out: the report of one mail, and the mail without its addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from ..capture.captured import CapturedRecord
from ..policy import Kind


@dataclass(kw_only=True)
class GroupReport:
    """One group in one mail.

    ``count``, ``first_at`` and ``last_at`` are this mail's, ``total`` and ``first_seen_at`` of all time;
    ``state`` is "new", "regressed" or "repeat"; a message or title "" stands for all others; the
    records of a span lie evenly between its two times; ``sample`` is a full captured record; ``url`` is its
    page in the admin, ``action_url`` the signed link of ``links``.
    """

    fingerprint: str
    cause: str = ""
    site: str = ""
    kind: Kind = Kind.MESSAGE
    title: str
    level: int
    logger: str
    count: int
    total: int
    state: str
    first_at: datetime
    last_at: datetime
    first_seen_at: datetime
    first_release: str = ""
    last_release: str = ""
    hosts: dict[str, int] = field(default_factory=dict)
    processes: int = 1
    messages: list[tuple[str, int]] = field(default_factory=list)
    titles: list[tuple[str, int]] = field(default_factory=list)
    spans: list[tuple[datetime, datetime, int]] = field(default_factory=list)
    sample: CapturedRecord | None = None
    url: str = ""
    action_url: str = ""

    @property
    def is_news(self) -> bool:
        return self.state != "repeat"


class Silenced(NamedTuple):
    """A silence that some of the records fell into: what for, from when to when."""

    note: str
    starts_at: datetime
    ends_at: datetime


@dataclass(kw_only=True)
class Report:
    """What one mail reports.

    ``record_count`` counts every record, ``silenced_count`` those of them whose groups are silenced;
    ``group_count`` and ``groups`` leave silenced groups out, and ``groups`` may hold fewer than there are:
    the ones worth showing. Without ``has_history`` nothing is known of earlier mails, and none of it is said.
    ``subject_error`` is what kept the project's ``getSubject`` from making the subject.
    """

    buffer: str
    reason: str
    groups: list[GroupReport]
    record_count: int
    group_count: int
    silenced_count: int = 0
    silences: list[Silenced] = field(default_factory=list)
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
    records: Callable[[], Iterator[CapturedRecord]] | None = None
    include_html: bool = False
    has_history: bool = True
    new_count: int | None = None
    subject_error: str = ""

    @property
    def reported_count(self) -> int:
        """All records but the silenced ones."""
        return self.record_count - self.silenced_count

    @property
    def is_single(self) -> bool:
        """Whether the mail is about one record."""
        return self.reported_count == 1 and len(self.groups) == 1 and self.group_count == 1

    @property
    def ranked(self) -> list[GroupReport]:
        """The groups in the order in which the mail shows them."""
        return rank(self.groups)


def rank(groups: Iterable[GroupReport]) -> list[GroupReport]:
    """Groups in the order in which a mail shows them, so that a flood hides nothing.

    What clients cause is last; before it news first, one of each cause (of messages: one of each site) first,
    tracebacks before messages, then by level and count.
    """
    loudest_first = sorted(groups, key=_loudness)
    leaders: dict[object, GroupReport] = {}
    for group in loudest_first:
        origin = group.cause if group.kind is Kind.EXCEPTION else group.site
        leaders.setdefault((group.is_news, origin or group.fingerprint), group)
    leading = {id(group) for group in leaders.values()}
    return sorted(
        loudest_first,
        key=lambda group: (
            group.kind is Kind.CLIENT,
            not group.is_news,
            id(group) not in leading,
            group.kind,
        ),
    )


def _loudness(group: GroupReport) -> tuple[int, int, str, str]:
    """By level, then by count; ties in a fixed order."""
    return -group.level, -group.count, group.title, group.fingerprint


@dataclass(kw_only=True)
class Attachment:
    """One attached file."""

    name: str
    content: bytes
    mimetype: str


@dataclass(kw_only=True)
class Digest:
    """A mail but for its addresses and headers."""

    subject: str
    text: str
    html: str
    attachments: list[Attachment] = field(default_factory=list)
