"""Whether errors reach people: what a monitoring system asks. Changes nothing, works without the database."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import Error
from django.db.models import Aggregate, Max, Min, Q, QuerySet
from django.db.models.functions import Coalesce

from .database_clock import database_now
from .models import Attempt, Batch, Host, Outcome, Segment, Status
from .spool.folder import segment_paths, spool_folder, verify
from .spool.unattended import strange_segments, unattended_folders

# Seconds after which something that should have happened by itself is a problem.
MAX_AGE_SECONDS = 900.0
UNCONFIRMED_FOR = timedelta(days=1)


class Level(IntEnum):
    """The statuses of Nagios' plug-ins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


@dataclass
class Health:
    """What was found: the reasons, the worst first, and the figures behind them.

    A figure that can't be had, since the database is away, is left out.
    """

    reasons: list[tuple[Level, str]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        return max((level for level, _reason in self.reasons), default=Level.OK)

    def as_dict(self) -> dict[str, Any]:
        reasons = [{"level": level.name, "reason": reason} for level, reason in self.reasons]
        return {"status": self.level.name, "reasons": reasons, **self.figures}

    def add(self, level: Level, reason: str) -> None:
        self.reasons.append((level, reason))


def check(max_age: float = MAX_AGE_SECONDS) -> Health:
    """Look at the database and at this host's spool; ``max_age``: seconds that anything due may wait."""
    health = Health()
    offsets: dict[str, int] | None = None
    try:
        now = database_now()
        _look_at_mails(health, now, timedelta(seconds=max_age))
        _look_at_hosts(health, now)
        offsets = dict(Segment.objects.values_list("pk", "offset"))
    except Error as error:
        health.add(Level.CRITICAL, f"The database can't be used: {type(error).__name__}: {error}".rstrip())
    try:
        _look_at_spool(health, offsets, max_age)
    except (OSError, ImproperlyConfigured) as error:
        health.add(Level.CRITICAL, f"The spool folder can't be used: {error}")
    health.reasons.sort(key=lambda reason: -reason[0])
    return health


def _look_at_mails(health: Health, now: datetime, max_age: timedelta) -> None:
    late = Batch.objects.filter(
        Q(status=Status.OPEN, due_at__lte=now, record_count__gt=0)
        | Q(status=Status.READY, attempts=0, next_attempt_at__lte=now)
    )
    failing = Attempt.objects.filter(batch__in=Batch.objects.waiting())
    expired = Batch.objects.filter(status=Status.SENDING, claimed_until__lte=now)
    unconfirmed = Attempt.objects.filter(outcome=Outcome.UNCONFIRMED, tried_at__gt=now - UNCONFIRMED_FOR)

    def age(rows: QuerySet[Any], when: Aggregate) -> int | None:
        moment = rows.aggregate(moment=when)["moment"]
        return None if moment is None else max(0, round((now - moment).total_seconds()))

    figures: dict[str, Any] = {
        "oldest_due_seconds": age(late, Min(Coalesce("next_attempt_at", "due_at"))),
        "delivery_failing_seconds": age(failing, Min("tried_at")),
        "claim_expired_seconds": age(expired, Min("claimed_until")),
        "failed": Batch.objects.filter(status=Status.FAILED).count(),
        "unconfirmed": unconfirmed.count(),
        "last_sent_seconds": age(Batch.objects.filter(status=Status.SENT), Max("sent_at")),
    }
    health.figures |= figures
    if figures["failed"]:
        health.add(Level.CRITICAL, f"{figures['failed']} mails failed for good: retry or cancel them.")
    overdue = (
        ("oldest_due_seconds", "A mail has been due for {} and nobody sends it."),
        ("delivery_failing_seconds", "Mails can't be delivered for {}."),
        ("claim_expired_seconds", "A delivery was cut off, and nobody has taken it over for {}."),
    )
    for name, reason in overdue:
        if (figures[name] or 0) > max_age.total_seconds():
            health.add(Level.CRITICAL, reason.format(_duration(figures[name])))
    if figures["unconfirmed"]:
        said = f"{figures['unconfirmed']} mails of the last day are not confirmed by their mail backend."
        health.add(Level.WARNING, said)


def _look_at_hosts(health: Health, now: datetime) -> None:
    silent = Host.objects.silent(now).order_by("name").values_list("name", "imported_at")
    health.figures["silent_hosts"] = [name for name, _moment in silent]
    for name, moment in silent:
        ago = _duration((now - moment).total_seconds())
        health.add(Level.WARNING, f"Host {name} has not imported for {ago}.")


def _look_at_spool(health: Health, offsets: dict[str, int] | None, max_age: float) -> None:
    """What of this host's spool is not imported, and was written longer ago than anybody should need."""
    folder = spool_folder()
    if not os.path.lexists(folder):
        health.figures |= {"spool_bytes": 0, "spool_segments": 0}
        return
    verify(folder)
    waiting = list(_waiting(folder, offsets or {}))
    abandoned = [size for size, age in waiting if age > max_age]
    set_aside = len(list(folder.glob("*.bad")))
    others = {str(path): number for path, number in unattended_folders(folder).items()}
    health.figures |= {
        "spool_bytes": sum(size for size, _age in waiting),
        "spool_segments": len(waiting),
        "spool_oldest_seconds": round(max((age for _size, age in waiting), default=0)),
        "set_aside_files": set_aside,
        "other_folders": others,
    }
    if abandoned and offsets is not None:
        said = f"{sum(abandoned):,} bytes in {len(abandoned)} segments of {folder} are imported by nobody."
        strange = strange_segments(folder).items()
        left_alone = "".join(f" {number} are left alone: {why}." for why, number in strange)
        health.add(Level.CRITICAL, said + left_alone)
    for path, number in others.items():
        health.add(Level.WARNING, f"{number} segments of this project wait in {path}, where nobody looks.")
    if set_aside:
        health.add(Level.WARNING, f"{set_aside} files with lines that can't be imported are in {folder}.")


def _waiting(folder: Path, offsets: dict[str, int]) -> Iterator[tuple[int, float]]:
    """Of each segment that isn't imported: how many bytes are left, and how old the last of them is."""
    for path in segment_paths(folder):
        with contextlib.suppress(OSError):
            found = path.stat()
            # Without a row nothing of it is imported; its first line, the header, never is.
            left = found.st_size - max(offsets.get(path.stem, 0), _header_bytes(path))
            if left > 0:
                yield left, max(0.0, time.time() - found.st_mtime)


def _header_bytes(path: Path) -> int:
    with path.open("rb") as file:
        return len(file.readline(4096))


def _duration(seconds: float) -> str:
    """A length of time for people: "3 days", "2 hours", "40 minutes"."""
    for name, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {name}{'' if number == 1 else 's'}"
    return f"{int(seconds)} seconds"
