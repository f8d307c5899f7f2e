"""A report of prepared values that no table has seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from .report import GroupReport, Report

MESSAGES_KEPT = 50
HOSTS_KEPT = 100
PROCESSES_KEPT = 10_000
SPANS_KEPT = 64


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
    groups = [tally.report(key) for key, tally in tallies.items()]
    first_at = min((group.first_at for group in groups), default=now)
    report = Report(
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
    report.groups = report.ranked
    return report


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
