"""The groups of what arrives in a batch, on their way into the tables: locked, counted, written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from operator import itemgetter

from django.db import connections
from django.db.models import Max

from .. import moments, policy
from ..models import Batch, Group, Status
from ..policy import Reason
from . import rows
from .counts import Arrivals
from .pauses import in_slices
from .rows import Row

COUNTED = (
    "count",
    "level",
    "first_seen_at",
    "last_seen_at",
    "episode_at",
    "episode_count",
    "episode_batch_id",
    "batch_id",
    "resolved_at",
    "id",
)
ASKED = ("fingerprint", "cause", "notified_at", "silenced_at", "silenced_until")
# What anybody who changes a group changes some of.
CHECKED = (
    "count",
    "batch_id",
    "episode_batch_id",
    "resolved_at",
    "notified_at",
    "silenced_at",
    "silenced_until",
)


class GroupRows:
    """The groups of some arrivals: the known ones, locked, and rows for those that are new."""

    def __init__(self, alias: str, batch: Batch, arrivals: dict[str, Arrivals], now: datetime) -> None:
        self._alias = alias
        self._batch = batch
        self._arrivals = arrivals
        self._now = now
        self._known = self._lock()
        self._as_read = [{name: vars(group)[name] for name in CHECKED} for group in self._known.values()]
        self._fresh: list[Row] = []
        self._counted: list[Row] = []
        self.keys = {fingerprint: group.pk for fingerprint, group in self._known.items()}
        self.silenced = {fingerprint for fingerprint, group in self._known.items() if group.is_silenced(now)}
        self.entered = 0  # groups that the batch's mail shows from now on

    def count(self, rules: policy.Rules, history: policy.History) -> list[policy.Due | None]:
        """Count what arrives; returns when each group wants its batch sealed."""
        dues = []
        batches = self._batches()
        causes = self._causes_seen()
        by_time = sorted(self._arrivals.items(), key=lambda item: item[1].first_at)
        for fingerprint, arrived in in_slices(by_time):
            group = self._known.get(fingerprint)
            latest = batches.get(group.batch_id or 0) if group else None
            cause = self._cause(fingerprint)
            sighting = _sighting(group, arrived, causes.get(cause), latest, self._now)
            causes[cause] = max(sighting.last_at, causes.get(cause, sighting.last_at))
            dues.append(policy.due(rules, history, self._now, sighting))
            if group is None:
                self._fresh.append(self._new(fingerprint, arrived))
                self.entered += 1
                continue
            if not sighting.silenced:
                self._enter(group, latest)
            self._add(group, sighting, is_news=policy.state(rules, sighting) is not Reason.REPEAT)
        self._counted += [{name: vars(group)[name] for name in COUNTED} for group in self._known.values()]
        self._fresh.sort(key=itemgetter("fingerprint"))
        rows.adapt(self._alias, chain(self._counted, self._fresh, self._as_read))
        return dues

    def write(self, *, ahead: bool) -> None:
        """Update the known groups and insert the new ones; if another importer was faster, start over.

        ``ahead``: they were read before the transaction; Changed is raised if one is not as it was.
        """
        rows.update(self._alias, Group, self._counted, as_read=self._as_read if ahead else ())
        if self._fresh:
            rows.insert(self._alias, Group, self._fresh)
            fresh = Group.objects.using(self._alias).filter(
                buffer=self._batch.buffer, fingerprint__in=self._arrivals.keys() - self._known.keys()
            )
            self.keys.update(fresh.values_list("fingerprint", "pk"))

    def add_tallies(self) -> None:
        """Add to the hourly counts; their rows, too, are locked in one order."""
        rows.add_tallies(self._alias, list(in_slices(self._tallies())))

    def _lock(self) -> dict[str, Group]:
        groups = Group.objects.using(self._alias)
        found = groups.filter(buffer=self._batch.buffer, fingerprint__in=self._arrivals)
        if connections[self._alias].vendor == "mysql":
            # By key alone: it locks rows in the order in which an index finds them.
            found = groups.filter(pk__in=sorted(found.values_list("pk", flat=True)))
        locked = found.only(*COUNTED, *ASKED).order_by("pk").select_for_update()
        return {group.fingerprint: group for group in locked}

    def _batches(self) -> dict[int, Batch]:
        """The latest batches of the groups."""
        keys = {group.batch_id for group in self._known.values() if group.batch_id}
        return Batch.objects.using(self._alias).only("status", "sealed_at").in_bulk(keys)

    def _cause(self, fingerprint: str) -> str:
        group = self._known.get(fingerprint)
        return group.cause if group else str(self._arrivals[fingerprint].best_value()["cause"])

    def _causes_seen(self) -> dict[str, datetime]:
        causes = {self._cause(fingerprint) for fingerprint in self._arrivals}
        found = Group.objects.using(self._alias).filter(buffer=self._batch.buffer, cause__in=causes)
        return dict(found.order_by().values_list("cause").annotate(Max("last_seen_at")))

    def _new(self, fingerprint: str, arrived: Arrivals) -> Row:
        value = arrived.best_value()
        return {
            "buffer": self._batch.buffer,
            "fingerprint": fingerprint,
            "cause": value["cause"],
            "title": value["title"][:255],
            "level": arrived.level,
            "logger": value["logger"][:255],
            "first_seen_at": arrived.first_at,
            "last_seen_at": arrived.last_at,
            "count": arrived.count,
            "episode_at": arrived.first_at,
            "episode_count": arrived.count,
            "episode_batch_id": self._batch.pk,
            "batch_id": self._batch.pk,
            "silenced_by": "",
            "silence_note": "",
        }

    def _enter(self, group: Group, latest: Batch | None) -> None:
        """Note that a mail will show the group."""
        if group.batch_id == self._batch.pk:
            return
        if self._batch.status == Status.OPEN or latest is None or latest.status != Status.OPEN:
            self.entered += 1
            group.batch_id = self._batch.pk

    def _add(self, group: Group, sighting: policy.Sighting, *, is_news: bool) -> None:
        if is_news:
            group.episode_at = sighting.first_at
            group.episode_count = 0
            group.episode_batch_id = self._batch.pk
        group.count += sighting.records
        group.episode_count += sighting.records
        group.level = max(group.level, sighting.level)
        group.first_seen_at = min(group.first_seen_at, sighting.first_at)
        group.last_seen_at = max(group.last_seen_at, sighting.last_at)
        group.resolved_at = None

    def _tallies(self) -> Iterator[Row]:
        for fingerprint, key in sorted(self.keys.items(), key=itemgetter(1)):
            counts: Counter[tuple[datetime, int]] = Counter()  # with USE_TZ = False, autumn repeats an hour
            for (hour, level), count in self._arrivals[fingerprint].hours.items():
                counts[moments.at(hour * moments.HOUR), level] += count
            for (hour_at, level), count in sorted(counts.items()):
                yield {"group_id": key, "hour_at": hour_at, "level": level, "count": count}


def _sighting(
    group: Group | None,
    arrived: Arrivals,
    cause_seen_at: datetime | None,
    latest: Batch | None,
    now: datetime,
) -> policy.Sighting:
    mailed_at = group.notified_at if group else None
    if latest is not None and latest.sealed_at is not None and latest.status != Status.CANCELLED:
        mailed_at = latest.sealed_at
    return policy.Sighting(
        level=arrived.level,
        records=arrived.count,
        first_at=arrived.first_at,
        last_at=arrived.last_at,
        group_seen_at=group.last_seen_at if group and group.count else None,
        cause_seen_at=cause_seen_at,
        count_before=group.episode_count if group else 0,
        mailed_at=min(mailed_at, now) if mailed_at else None,
        resolved=group is not None and group.resolved_at is not None,
        silenced=group is not None and group.is_silenced(now),
    )
