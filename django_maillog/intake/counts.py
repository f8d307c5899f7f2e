"""What a chunk holds of each group, counted: what needs rows of its own, and what is folded; no SQL."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from .. import moments
from ..capture.captured import CapturedRecord
from ..capture.kinds import kind_of
from ..capture.text import has_own_title, shortened
from ..models import Batch
from ..policy import Kind

KEEP = 3  # rows of a group and process in a batch that are stored one by one; the rest is folded into one
MAX_MESSAGES = 8  # distinct messages, and as many titles, counted in a folded row
MESSAGE_LENGTH = 200

Place = tuple[str, int]  # host and process
Hours = dict[tuple[int, int], int]  # records by hour since 1970, and level


@dataclass(slots=True)
class Fold:
    """Repeats of one group in one process, which share a row."""

    value: CapturedRecord
    count: int = 0
    first: float = float("inf")
    last: float = float("-inf")
    messages: dict[str, int] = field(default_factory=dict)
    titles: dict[str, int] = field(default_factory=dict)
    hours: Hours = field(default_factory=dict)
    first_release: str = ""
    last_release: str = ""

    def add(self, value: CapturedRecord) -> None:
        self.count += 1
        moment = value["time"]
        if moment < self.first:
            self.first, self.first_release = moment, value.get("release", "")
        if moment > self.last:
            self.last, self.last_release = moment, value.get("release", "")
        count_hour(self.hours, int(moment // 3600), value["level"])
        count_message(self.messages, value["message"])
        if has_own_title(value["title"], value["message"]):
            count_message(self.titles, value["title"])

    def copy(self) -> Fold:
        return replace(self, messages=dict(self.messages), titles=dict(self.titles), hours=dict(self.hours))


@dataclass(slots=True)
class Occurrences:
    """What a chunk holds of one group from one process: values for rows of their own, and the rest."""

    rows: int = 0  # of this place that are kept, here or in an earlier chunk
    kept: list[CapturedRecord] = field(default_factory=list)
    has_full: bool = False
    fold: Fold | None = None

    def add(self, value: CapturedRecord) -> bool:
        """Take a value; whether it may need a row of its own."""
        if self.rows >= KEEP and (self.has_full or "full" not in value):
            if self.fold is None:
                self.fold = Fold(value)
            self.fold.add(value)
            return False
        self.kept.append(value)
        self.rows += 1
        self.has_full = self.has_full or "full" in value
        return True


@dataclass(slots=True)
class Arrivals:
    """What a chunk holds of one fingerprint in one buffer; the totals are there once it is summed up."""

    first_value: CapturedRecord
    places: dict[Place, Occurrences] = field(default_factory=dict)
    hours: Hours = field(default_factory=dict)
    count: int = 0
    level: int = 0
    first_at: datetime = datetime.max
    last_at: datetime = datetime.min
    first_release: str = ""
    last_release: str = ""

    def sum_up(self) -> None:
        """Count everything: not line by line, since nearly all lines of a storm are in the folds."""
        times: list[tuple[float, str]] = []
        for occurrences in self.places.values():
            for value in occurrences.kept:
                count_hour(self.hours, int(value["time"] // 3600), value["level"])
                times.append((value["time"], value.get("release", "")))
            if fold := occurrences.fold:
                times += (fold.first, fold.first_release), (fold.last, fold.last_release)
                for (hour, level), number in fold.hours.items():
                    count_hour(self.hours, hour, level, number)
        self.count = sum(self.hours.values())
        self.level = max(level for _hour, level in self.hours)
        (first, self.first_release), (last, self.last_release) = min(times), max(times)
        self.first_at = moments.at(first)
        self.last_at = self.first_at if first == last else moments.at(last)

    def best_value(self) -> CapturedRecord:
        """The value that describes the group best: the first that was captured in full, else the first."""
        kept = (value for occurrences in self.places.values() for value in occurrences.kept)
        return next((value for value in kept if "full" in value), self.first_value)

    @property
    def kind(self) -> Kind:
        """What the records are, as far as rules and the order in a mail go."""
        return kind_of(self.first_value)


@dataclass(frozen=True, slots=True)
class Scope:
    """One buffer's part of a chunk: what arrives, in which batch, and when."""

    batch: Batch
    arrivals: dict[str, Arrivals]
    now: datetime


def count_hour(hours: Hours, hour: int, level: int, number: int = 1) -> None:
    """Count records of an hour and level."""
    hours[hour, level] = hours.get((hour, level), 0) + number


def count_message(messages: dict[str, int], message: str, number: int = 1) -> None:
    """Count a message, or a title, among the distinct ones; beyond MAX_MESSAGES under ``""``."""
    text = shortened(message, MESSAGE_LENGTH)
    if text not in messages and len(messages) >= MAX_MESSAGES:
        text = ""
    messages[text] = messages.get(text, 0) + number
