"""What a chunk holds of each group, counted: what needs rows of its own, and what is folded; no SQL."""

from __future__ import annotations

from collections import Counter
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
Seen = tuple[float, str]  # a record's time, and its release
Hours = Counter[tuple[float, int]]  # records by hour since 1970, a whole number, and level


@dataclass(slots=True)
class Fold:
    """Repeats of one group in one process, which share a row."""

    value: CapturedRecord
    count: int = 0
    first: Seen = (float("inf"), "")
    last: Seen = (float("-inf"), "")
    messages: dict[str, int] = field(default_factory=dict)
    titles: dict[str, int] = field(default_factory=dict)

    def add(self, value: CapturedRecord) -> None:
        self.count += 1
        seen = seen_in(value)
        if seen < self.first:
            self.first = seen
        if seen > self.last:
            self.last = seen
        message, title = value["message"], value["title"]
        count_message(self.messages, message)
        if title in self.titles or has_own_title(title, message):
            count_message(self.titles, title)

    def copy(self) -> Fold:
        return replace(self, messages=dict(self.messages), titles=dict(self.titles))


@dataclass(slots=True)
class Occurrences:
    """What a chunk holds of one group from one process: values for rows of their own, and the rest."""

    hours: Hours  # of the group: every process adds to the same
    rows: int = 0  # of this place that are kept, here or in an earlier chunk
    kept: list[CapturedRecord] = field(default_factory=list)
    has_full: bool = False
    fold: Fold | None = None

    def add(self, value: CapturedRecord) -> bool:
        """Take a value; whether it may need a row of its own."""
        self.hours[value["time"] // 3600, value["level"]] += 1
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
    hours: Hours = field(default_factory=Counter)
    count: int = 0
    level: int = 0
    first_at: datetime = datetime.max
    last_at: datetime = datetime.min
    first_release: str = ""
    last_release: str = ""

    def sum_up(self) -> None:
        """Work out the totals: not line by line, since most of a storm's lines are in few folds."""
        seen: list[Seen] = []
        for occurrences in self.places.values():
            seen += map(seen_in, occurrences.kept)
            if fold := occurrences.fold:
                seen += fold.first, fold.last
        self.count = self.hours.total()
        self.level = max(level for _hour, level in self.hours)
        (first, self.first_release), (last, self.last_release) = min(seen), max(seen)
        self.first_at, self.last_at = moments.at(first), moments.at(last)

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


def seen_in(value: CapturedRecord) -> Seen:
    return value["time"], value.get("release", "")


def count_message(messages: dict[str, int], message: str, number: int = 1) -> None:
    """Count a message, or a title, among the distinct ones; beyond MAX_MESSAGES under ``""``."""
    text = shortened(message, MESSAGE_LENGTH)
    if text not in messages and len(messages) >= MAX_MESSAGES:
        text = ""
    messages[text] = messages.get(text, 0) + number
