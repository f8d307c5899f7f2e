"""The groups of what arrives in a batch, on their way into the tables: read, counted, written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import connections
from django.db.models import Max

from .. import moments, policy
from ..models import Batch, Group, Status, Tally
from ..policy import Reason
from ..transactions import Changed, write_alias
from .additions import Row, add, insert, ready
from .counts import Arrivals, Scope
from .silenced import covered

# Whoever changes a group changes some of these: importers its count, people the others.
CHECKED = (
    "count",
    "batch_id",
    "episode_batch_id",
    "resolved_at",
    "notified_at",
    "silenced_at",
    "silenced_until",
)
# What an importer sets in a stored group, besides its count; it holds while the group is locked.
CHANGED = (
    "level",
    "kind",
    "first_seen_at",
    "last_seen_at",
    "first_release",
    "last_release",
    "episode_at",
    "episode_count",
    "episode_batch_id",
    "batch_id",
    "resolved_at",
)
# Which hourly count a row is.
TALLY = ("group_id", "hour_at", "level")


class GroupRows:
    """The groups of some arrivals: those that are stored, and rows for those that are new."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._as_read: dict[str, Row] = {}
        self._latest_batches: dict[int | None, Batch] = {}
        self._changed: list[Row] = []
        self._new: list[Row] = []
        self.stored: dict[str, Group] = {}
        self.keys: dict[str, int] = {}  # of stored groups; of all once they are written
        self.silenced: set[str] = set()  # fingerprints of what is counted and not mailed
        self.entered = 0  # groups that the batch's mail shows from now on

    def read(self, *, lock: bool) -> None:
        """Read the groups that are stored; ``lock``: keep other importers from them until the commit."""
        batch = self._scope.batch
        found = Group.objects.filter(buffer=batch.buffer, fingerprint__in=self._scope.arrivals)
        if lock and connections[write_alias()].vendor == "mysql":
            # By key alone: MySQL locks rows in the order in which an index finds them.
            found = Group.objects.filter(pk__in=sorted(found.values_list("pk", flat=True)))
        if lock:
            found = found.select_for_update()
        self.stored = {group.fingerprint: group for group in found.order_by("pk")}
        self.keys = {fingerprint: group.pk for fingerprint, group in self.stored.items()}
        self._as_read = {fingerprint: _version(group) for fingerprint, group in self.stored.items()}
        silenced = {name for name, group in self.stored.items() if group.is_silenced(self._scope.now)}
        self.silenced = silenced | set(covered(self._scope))
        others = {group.batch_id for group in self.stored.values() if group.batch_id} - {batch.pk}
        latest_batches = Batch.objects.only("status", "sealed_at").in_bulk(others)
        self._latest_batches = {**latest_batches, batch.pk: batch}

    def count(self, rules: policy.Rules) -> list[policy.Sighting]:
        """Count what arrives, in memory; returns what the rules ask of each group."""
        sightings, changed, new = [], [], []
        causes = self._causes_seen(rules)
        for fingerprint, arrived in sorted(self._scope.arrivals.items(), key=lambda item: item[1].first_at):
            group, cause = self.stored.get(fingerprint), self._cause(fingerprint)
            is_silenced = fingerprint in self.silenced
            sighting = self._sighting(group, arrived, causes.get(cause))._replace(silenced=is_silenced)
            causes[cause] = max(sighting.last_at, causes.get(cause, sighting.last_at))
            sightings.append(sighting)
            if group is None:
                new.append(self._make(fingerprint, arrived))
                self.entered += not is_silenced
                continue
            if not is_silenced:
                self._enter(group)
            _note_releases(group, arrived)
            self._count(group, sighting, is_news=policy.state(rules, sighting) is not Reason.REPEAT)
            values = {name: getattr(group, name) for name in CHANGED}
            changed.append({"count": arrived.count, **values, "id": group.pk})
        self._changed = ready(Group, changed)
        # In one order: two importers that insert the same groups must not wait for each other in a circle.
        self._new = ready(Group, sorted(new, key=lambda row: str(row["fingerprint"])))
        return sightings

    def check(self) -> None:
        """Raise Changed if a stored group is not as it was read, before the transaction began."""
        rows = Group.objects.filter(pk__in=self.keys.values()).values("fingerprint", *CHECKED)
        if {row.pop("fingerprint"): row for row in rows} != self._as_read:
            raise Changed

    def write(self) -> None:
        """Update the stored groups and insert the new ones; another importer's are an IntegrityError."""
        add(Group, self._changed, counters=["count"])
        insert(Group, self._new)
        if self._new:
            names = [row["fingerprint"] for row in self._new]
            found = Group.objects.filter(buffer=self._scope.batch.buffer, fingerprint__in=names)
            self.keys.update(found.values_list("fingerprint", "pk"))

    def add_tallies(self) -> None:
        """Add to the hourly counts, then insert what is missing; nobody else does, the groups are locked."""
        tallies = list(self._tallies())
        known = {group.pk for group in self.stored.values()}
        stored = [row for row in tallies if row["group_id"] in known]
        missing = [row for row in tallies if row["group_id"] not in known]
        if add(Tally, ready(Tally, stored), counters=["count"], keys=TALLY) < len(stored):
            hours = {row["hour_at"] for row in stored}
            rows = Tally.objects.filter(group__in=known, hour_at__in=hours)
            found = set(rows.values_list(*TALLY))
            missing += [row for row in stored if tuple(row[name] for name in TALLY) not in found]
        insert(Tally, ready(Tally, missing))

    def _tallies(self) -> Iterator[Row]:
        """The hourly counts of all groups, in the one order in which importers lock them."""
        for fingerprint, key in sorted(self.keys.items(), key=lambda item: item[1]):
            counts: Counter[tuple[datetime, int]] = Counter()  # with USE_TZ = False, autumn repeats an hour
            for (hour, level), count in self._scope.arrivals[fingerprint].hours.items():
                counts[moments.at(hour * moments.HOUR), level] += count
            for (hour_at, level), count in sorted(counts.items()):
                yield {"count": count, "group_id": key, "hour_at": hour_at, "level": level}

    def _cause(self, fingerprint: str) -> str:
        group = self.stored.get(fingerprint)
        return group.cause if group else self._scope.arrivals[fingerprint].first_value["cause"]

    def _causes_seen(self, rules: policy.Rules) -> dict[str, datetime]:
        """When each cause was last seen: of a group that was there lately, whatever others say, as it was."""
        causes: dict[str, datetime] = {}
        asked = set()
        timeout = timedelta(seconds=rules.resolve_timeout)
        for fingerprint, arrived in self._scope.arrivals.items():
            group, cause = self.stored.get(fingerprint), self._cause(fingerprint)
            if group is None or self._is_untold(group) or arrived.first_at - group.last_seen_at > timeout:
                asked.add(cause)
            else:
                causes[cause] = max(group.last_seen_at, causes.get(cause, group.last_seen_at))
        return causes | self._stored_causes(asked) if asked else causes

    def _stored_causes(self, causes: set[str]) -> dict[str, datetime]:
        found = Group.objects.filter(buffer=self._scope.batch.buffer, cause__in=causes)
        # Of a group whose mail failed for good nobody was told. They are few: a subquery would look each
        # group's batch up.
        failed = Batch.objects.filter(buffer=self._scope.batch.buffer, status=Status.FAILED)
        if untold := list(failed.values_list("pk", flat=True)):
            found = found.exclude(batch__in=untold)
        # Nor of one that was only seen in a silence.
        found = found.exclude(batch=None, notified_at=None)
        return dict(found.order_by().values_list("cause").annotate(Max("last_seen_at")))

    def _is_untold(self, group: Group) -> bool:
        """Whether nobody knows of a group: its mail failed for good, or it was only seen in a silence."""
        if latest := self._latest_batches.get(group.batch_id):
            return latest.status == Status.FAILED
        return group.batch_id is None and group.notified_at is None

    def _sighting(
        self, group: Group | None, arrived: Arrivals, cause_seen_at: datetime | None
    ) -> policy.Sighting:
        sighting = policy.Sighting(
            level=arrived.level,
            records=arrived.count,
            first_at=arrived.first_at,
            last_at=arrived.last_at,
            group_seen_at=None,
            cause_seen_at=cause_seen_at,
            count_before=0,
            mailed_at=None,
            kind=arrived.kind,
        )
        if group is None:
            return sighting
        mailed_at, latest = group.notified_at, self._latest_batches.get(group.batch_id)
        if latest and latest.sealed_at is not None and latest.status != Status.CANCELLED:
            mailed_at = latest.sealed_at
        return sighting._replace(
            group_seen_at=group.last_seen_at if group.count else None,
            count_before=group.episode_count,
            mailed_at=min(mailed_at, self._scope.now) if mailed_at else None,
            untold=self._is_untold(group),
            resolved=group.resolved_at is not None,
            kind=min(arrived.kind, policy.Kind(group.kind)),
        )

    def _make(self, fingerprint: str, arrived: Arrivals) -> Row:
        """The row of a new group."""
        value = arrived.best_value()
        batch = None if fingerprint in self.silenced else self._scope.batch.pk
        return {
            "buffer": self._scope.batch.buffer,
            "fingerprint": fingerprint,
            "cause": self._cause(fingerprint),
            "site": value["site"],
            "kind": arrived.kind,
            "title": value.get("overflow", value["title"])[:255],
            "level": arrived.level,
            "logger": value["logger"][:255],
            "first_seen_at": arrived.first_at,
            "last_seen_at": arrived.last_at,
            "first_release": arrived.first_release,
            "last_release": arrived.last_release,
            "count": arrived.count,
            "episode_at": arrived.first_at,
            "episode_count": arrived.count,
            "episode_batch_id": batch,
            "batch_id": batch,
            "silenced_by": "",
            "silence_note": "",
        }

    def _enter(self, group: Group) -> None:
        """Note that a mail will show the group: this batch's, or an open one's that has it already."""
        batch, latest = self._scope.batch, self._latest_batches.get(group.batch_id)
        if group.batch_id == batch.pk:
            return
        if batch.status == Status.OPEN or latest is None or latest.status != Status.OPEN:
            self.entered += 1
            group.batch_id = batch.pk

    def _count(self, group: Group, sighting: policy.Sighting, *, is_news: bool) -> None:
        if is_news:
            never_told = sighting.untold and group.notified_at is None
            group.episode_at = group.first_seen_at if never_told else sighting.first_at
            group.episode_count = 0
            group.episode_batch_id = self._scope.batch.pk
        elif group.episode_at == group.first_seen_at and group.episode_batch_id == self._scope.batch.pk:
            # Two processes failed at once, and the later record was imported first: it is new all the same.
            group.episode_at = min(group.episode_at, sighting.first_at)
        group.episode_count += sighting.records
        group.level = max(group.level, sighting.level)
        group.kind = sighting.kind
        group.first_seen_at = min(group.first_seen_at, sighting.first_at)
        group.last_seen_at = max(group.last_seen_at, sighting.last_at)
        group.resolved_at = None


def _note_releases(group: Group, arrived: Arrivals) -> None:
    """Note in which releases the group was first and last seen, as far as its records say."""
    if arrived.first_at < group.first_seen_at or not group.first_release:
        group.first_release = arrived.first_release or group.first_release
    if arrived.last_at >= group.last_seen_at:
        group.last_release = arrived.last_release or group.last_release


def _version(group: Group) -> Row:
    return {name: getattr(group, name) for name in CHECKED}
