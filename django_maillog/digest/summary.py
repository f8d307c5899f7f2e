"""A report of captured records that no table has seen."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from ..capture.captured import CapturedRecord
from ..capture.kinds import kind_of
from ..capture.overflow import NEW_CAUSES_AN_HOUR, overflowing
from ..capture.text import has_own_title
from .report import GroupReport, Report, rank

MESSAGES_KEPT = 50
HOSTS_KEPT = 100
PROCESSES_KEPT = 10_000
SPANS_KEPT = 64


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
    """What is counted of one fingerprint; bounded however many values come."""

    def __init__(self, value: CapturedRecord) -> None:
        self.first = self.sample = self.last = value
        self.count = self.level = 0
        self.hosts: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.titles: Counter[str] = Counter()
        self.processes: set[tuple[str, int]] = set()
        self.times = _Times()

    def add(self, value: CapturedRecord) -> None:
        self.count += 1
        self.last = value
        self.times.add(value["time"])
        self.level = max(self.level, value["level"])
        host, message, title = value.get("host", ""), value["message"], value.get("title", "")
        _count(self.hosts, host, HOSTS_KEPT, others="others")
        _count(self.messages, message[:1000], MESSAGES_KEPT, others="")
        if has_own_title(title, message):
            _count(self.titles, title, MESSAGES_KEPT, others="")
        if len(self.processes) < PROCESSES_KEPT:
            self.processes.add((host, value.get("process", 0)))
        if value.get("full") and not self.sample.get("full"):
            self.sample = value

    def report(self) -> GroupReport:
        first = self.first
        first_at, last_at = _moment(self.times.first), _moment(self.times.last)
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
                (max(_moment(start), first_at), min(_moment(end), last_at), count)
                for start, end, count in self.times.spans()
            ],
            sample=self.sample,
        )


class _Times:
    """When values came: the first, the last, and a histogram whose columns double when they are too many."""

    def __init__(self) -> None:
        self.first, self.last = math.inf, -math.inf
        self._columns: Counter[int] = Counter()
        self._width_seconds = 1

    def add(self, time: float) -> None:
        self.first, self.last = min(self.first, time), max(self.last, time)
        self._columns[int(time // self._width_seconds)] += 1
        if len(self._columns) > SPANS_KEPT:
            self._width_seconds *= 2
            narrow, self._columns = self._columns, Counter()
            for column, count in narrow.items():
                self._columns[column // 2] += count

    def spans(self) -> Iterator[tuple[float, float, int]]:
        """(start, end, how many) of each column."""
        width = self._width_seconds
        for column, count in sorted(self._columns.items()):
            yield column * width, (column + 1) * width, count


def _count(counter: Counter[str], key: str, limit: int, *, others: str) -> None:
    """Count a key, or where there are enough of them already, as one of the others."""
    counter[key if key in counter or len(counter) < limit else others] += 1


def _most_common(counter: Counter[str]) -> list[tuple[str, int]]:
    """What came most often first, the others last."""
    return sorted(counter.items(), key=lambda item: (not item[0], -item[1], item[0]))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
