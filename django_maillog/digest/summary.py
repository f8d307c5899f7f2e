"""A report of captured records that no table has seen."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from ..capture.captured import CapturedRecord
from ..capture.kinds import NEW_CAUSES_AN_HOUR, kind_of, overflowing
from ..capture.text import has_own_title
from .report import GroupReport, Report, rank

MESSAGES_KEPT = 50
HOSTS_KEPT = 100


def summarize(values: Iterable[CapturedRecord], *, buffer: str, reason: str, now: datetime) -> Report:
    """A report of captured records that no table has seen; an iterator is read once and not attached."""
    tallies: dict[str, _Tally] = {}
    causes: defaultdict[str, set[str]] = defaultdict(set)
    for value in values:
        placed = _placed(value, causes)
        key = placed.get("fingerprint", "")
        if key not in tallies:
            tallies[key] = _Tally(placed)
        tallies[key].add(placed)
    groups = rank(tally.report() for tally in tallies.values())
    first_at = min((group.first_at for group in groups), default=now)
    return Report(
        buffer=buffer,
        reason=reason,
        groups=groups,
        record_count=sum(group.count for group in groups),
        group_count=len(groups),
        level=max((group.level for group in groups), default=0),
        opened_at=first_at,
        first_at=first_at,
        last_at=max((group.last_at for group in groups), default=now),
        sealed_at=now,
        records=(lambda: iter(values)) if isinstance(values, Sequence) else None,
        has_history=False,
    )


def _placed(value: CapturedRecord, causes: dict[str, set[str]]) -> CapturedRecord:
    """The record, in its site's overflow group if the site has its share of causes."""
    site, cause = value.get("site"), value.get("cause")
    if not site or not cause or cause in causes[site]:
        return value
    if len(causes[site]) >= NEW_CAUSES_AN_HOUR:
        return overflowing(value)
    causes[site].add(cause)
    return value


class _Tally:
    """What is counted of one fingerprint."""

    def __init__(self, value: CapturedRecord) -> None:
        self.first = self.sample = self.last = value
        self.count = self.level = 0
        self.hosts: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.titles: Counter[str] = Counter()
        self.processes: set[tuple[str, int]] = set()
        self.first_time, self.last_time = math.inf, -math.inf
        self.seconds: Counter[int] = Counter()

    def add(self, value: CapturedRecord) -> None:
        self.count += 1
        self.last = value
        time = value["time"]
        self.first_time, self.last_time = min(self.first_time, time), max(self.last_time, time)
        self.seconds[int(time)] += 1
        self.level = max(self.level, value["level"])
        host, message, title = value.get("host", ""), value["message"], value.get("title", "")
        _count(self.hosts, host, HOSTS_KEPT, others="others")
        _count(self.messages, message[:1000], MESSAGES_KEPT, others="")
        if has_own_title(title, message):
            _count(self.titles, title, MESSAGES_KEPT, others="")
        self.processes.add((host, value.get("process", 0)))
        if value.get("full") and not self.sample.get("full"):
            self.sample = value

    def report(self) -> GroupReport:
        first = self.first
        first_at, last_at = _moment(self.first_time), _moment(self.last_time)
        return GroupReport(
            fingerprint=first.get("fingerprint", ""),
            cause=first.get("cause", ""),
            site=first.get("site", ""),
            kind=kind_of(first),
            title=first.get("overflow") or first.get("title", ""),
            level=self.level,
            logger=first["logger"],
            count=self.count,
            total=self.count,
            state="new",
            first_at=first_at,
            last_at=last_at,
            first_seen_at=first_at,
            first_release=first.get("release", ""),
            last_release=self.last.get("release", ""),
            hosts={host: count for host, count in self.hosts.items() if host},
            processes=len(self.processes),
            messages=_most_common(self.messages),
            titles=_most_common(self.titles),
            spans=[
                (max(_moment(second), first_at), min(_moment(second + 1), last_at), count)
                for second, count in sorted(self.seconds.items())
            ],
            sample=self.sample,
        )


def _count(counter: Counter[str], key: str, limit: int, *, others: str) -> None:
    """Count a key, or where there are enough of them already, as one of the others."""
    counter[key if key in counter or len(counter) < limit else others] += 1


def _most_common(counter: Counter[str]) -> list[tuple[str, int]]:
    """What came most often first, the others last."""
    return sorted(counter.items(), key=lambda item: (not item[0], -item[1], item[0]))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
