"""When a batch is due: pure rules over times and counts, with no clock and no database of their own.

The words are those of Prometheus Alertmanager (``group_wait``, ``group_interval``, ``repeat_interval``,
``resolve_timeout``); the rules are the design's, section 7.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

HOUR = timedelta(hours=1)


class _Arguments(NamedTuple):
    capacity: int = 10_000
    flush_level: int = logging.CRITICAL
    group_wait: float = 30
    group_interval: float = 300
    repeat_interval: float = 14_400
    resolve_timeout: float = 21_600
    burst: int = 5


class Rules(_Arguments):
    """The arguments of one BufferingHandler that say when; all times are seconds.

    Raises ValueError for an argument out of its range, with its name and value.
    """

    __slots__ = ()

    def __new__(cls, *arguments: Any, **named: Any) -> Rules:
        rules = super().__new__(cls, *arguments, **named)
        for name in ("capacity", "burst"):
            value = getattr(rules, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}.")
        for name in ("group_wait", "group_interval", "repeat_interval", "resolve_timeout"):
            value = getattr(rules, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 10**9:
                raise ValueError(f"{name} must be a number of seconds, at least 0, not {value!r}.")
        return rules

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> Rules:
        """The rules that a line or a row says; a later version may have written more names."""
        return cls(**{name: written[name] for name in cls._fields if name in written})


class Reason(StrEnum):
    """Why a batch is due."""

    LEVEL = "level"
    CAPACITY = "capacity"
    NEW = "new"
    REGRESSED = "regressed"
    VARIANT = "variant"
    VOLUME = "volume"
    REPEAT = "repeat"
    FLUSH = "flush"
    OUTAGE = "outage"

    @classmethod
    def _missing_(cls, value: object) -> Reason:
        """What a later version has written counts as news, and not as urgent."""
        return cls.VARIANT


URGENT = frozenset({Reason.LEVEL, Reason.NEW, Reason.REGRESSED})
NEWS = URGENT | {Reason.CAPACITY, Reason.VARIANT, Reason.VOLUME}
ROUTINE = frozenset(Reason) - URGENT - {Reason.FLUSH, Reason.OUTAGE}


class Kind(IntEnum):
    """What a group's records are, in the order in which a mail shows them."""

    EXCEPTION = 0
    MESSAGE = 1
    # What a site makes beyond its share of new groups.
    OVERFLOW = 2
    # What a client can cause at will.
    CLIENT = 3

    @classmethod
    def _missing_(cls, value: object) -> Kind:
        """What a later version has written comes last."""
        return cls.CLIENT

    @property
    def is_flood(self) -> bool:
        """Whether it may come without end, so that it is never urgent."""
        return self >= Kind.OVERFLOW


class History(NamedTuple):
    """What a buffer mailed lately.

    ``sealed`` holds the reason and time of every mail sealed within the past hour (more does no harm),
    ``last_mail_at`` the time of the last one ever.
    """

    last_mail_at: datetime | None = None
    sealed: tuple[tuple[Reason, datetime], ...] = ()


class Sighting(NamedTuple):
    """Records of one group that arrive together, and what was known of the group before them."""

    level: int
    records: int
    last_at: datetime
    first_at: datetime
    group_seen_at: datetime | None  # when the group was last seen before; None: never
    cause_seen_at: datetime | None  # the same for any group of its cause
    count_before: int  # records of the group since it was new
    mailed_at: datetime | None  # the group's last mail
    untold: bool = False  # the group's last mail failed for good: nobody knows of it
    resolved: bool = False  # a person said so: the next record is a regression
    silenced: bool = False
    kind: Kind = Kind.MESSAGE


class Due(NamedTuple):
    """When a batch must be sealed, and why."""

    at: datetime
    reason: Reason


def state(rules: Rules, sighting: Sighting) -> Reason:
    """What kind of news the group is: new, regressed, variant or repeat."""
    if sighting.resolved:
        return Reason.REGRESSED
    if sighting.untold:
        return Reason.NEW
    seen_at = sighting.cause_seen_at
    if seen_at is None:
        return Reason.NEW
    if sighting.first_at - seen_at > timedelta(seconds=rules.resolve_timeout):
        return Reason.REGRESSED if sighting.group_seen_at is not None else Reason.NEW
    return Reason.VARIANT if sighting.group_seen_at is None else Reason.REPEAT


def reason_for(rules: Rules, sighting: Sighting) -> Reason:
    """The strongest rule that the records fall under.

    What outsiders cause, and what a site makes too many groups of, is a variant at most: it never uses the
    budget of urgent news.
    """
    is_flood = sighting.kind.is_flood
    if sighting.level >= rules.flush_level and not is_flood:
        return Reason.LEVEL
    news = state(rules, sighting)
    if news is Reason.REPEAT and crosses_step(
        sighting.count_before, sighting.count_before + sighting.records
    ):
        return Reason.VOLUME
    return Reason.VARIANT if is_flood and news in URGENT else news


def crosses_step(before: int, after: int) -> bool:
    """Whether a count on its way from before to after passes 10, 100, 1,000 and so on.

    >>> crosses_step(9, 10), crosses_step(10, 99), crosses_step(0, 5000)
    (True, False, True)
    """
    step = 10
    while step <= before:
        step *= 10
    return after >= step


def due(rules: Rules, history: History, now: datetime, sighting: Sighting) -> Due | None:
    """When these records want their batch sealed; None if they are silenced."""
    if sighting.silenced:
        return None
    reason = reason_for(rules, sighting)
    return Due(
        at=_not_before(rules, history, now, reason, _wanted(rules, history, now, reason, sighting)),
        reason=reason,
    )


def due_for_capacity(rules: Rules, history: History, now: datetime) -> Due:
    """When a batch that has reached its capacity must be sealed."""
    return Due(at=_not_before(rules, history, now, Reason.CAPACITY, now), reason=Reason.CAPACITY)


def due_at_exit(rules: Rules, history: History, now: datetime, reason: Reason) -> Due | None:
    """When a batch that is due for ``reason`` may go out because a process ends; None: it stays.

    A process that ends can't wait for more of the same, so ``group_wait`` falls away; every other rule holds.
    """
    if reason not in NEWS:
        return None
    at = now
    if reason in (Reason.VARIANT, Reason.VOLUME) and history.last_mail_at is not None:
        at = max(now, history.last_mail_at + timedelta(seconds=rules.group_interval))
    return Due(at=_not_before(rules, history, now, reason, at), reason=reason)


def earliest(dues: Iterable[Due | None]) -> Due | None:
    """The first of several; of two at once, the one that is declared first in Reason."""
    order = list(Reason)
    return min((d for d in dues if d), key=lambda d: (d.at, order.index(d.reason)), default=None)


def _wanted(rules: Rules, history: History, now: datetime, reason: Reason, sighting: Sighting) -> datetime:
    if reason is Reason.LEVEL:
        return now
    after_wait = now + timedelta(seconds=rules.group_wait)
    if reason in (Reason.NEW, Reason.REGRESSED):
        return after_wait
    if reason is Reason.REPEAT:
        mailed_at = sighting.mailed_at or now
        return max(now, mailed_at + timedelta(seconds=rules.repeat_interval))
    if history.last_mail_at is None:
        return after_wait
    return max(after_wait, history.last_mail_at + timedelta(seconds=rules.group_interval))


def _not_before(rules: Rules, history: History, now: datetime, reason: Reason, at: datetime) -> datetime:
    """The budget: after ``burst`` mails of a kind in an hour, keep ``group_interval`` from the last mail."""
    kind = URGENT if reason in URGENT else ROUTINE
    spent = sum(
        1 for sealed_for, sealed_at in history.sealed if sealed_for in kind and sealed_at > now - HOUR
    )
    if spent < rules.burst or history.last_mail_at is None:
        return at
    return max(at, history.last_mail_at + timedelta(seconds=rules.group_interval))
