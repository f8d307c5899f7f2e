"""The groups of what arrives in a batch, on their way into the tables: read, counted, written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from operator import attrgetter

from django.db import connections
from django.db.models import Max

from .. import moments, policy
from ..models import Batch, Group, Status, Tally
from ..policy import Reason
from ..transactions import Changed, write_alias
from .additions import Row, add, instance
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
ASKED = (
    "fingerprint",
    "cause",
    "kind",
    "level",
    "first_seen_at",
    "last_seen_at",
    "first_release",
    "last_release",
    "episode_at",
    "episode_count",
)
# Which hourly count a row is.
TALLY = ("group_id", "hour_at", "level")


class GroupRows:
    """The groups of some arrivals: those that are stored, and instances for those that are new."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._as_read: dict[str, Row] = {}
        self.stored: dict[str, Group] = {}
        self.new: dict[str, Group] = {}
        self.silenced: set[str] = set()  # fingerprints of what is counted and not mailed
        self.entered = 0  # groups that the batch's mail shows from now on

    def read(self, *, lock: bool) -> None:
        """Read the groups that are stored; ``lock``: keep other importers from them until the commit."""
        groups = Group.objects
        found = groups.filter(buffer=self._scope.batch.buffer, fingerprint__in=self._scope.arrivals)
        if lock and connections[write_alias()].vendor == "mysql":
            # By key alone: MySQL locks rows in the order in which an index finds them.
            found = groups.filter(pk__in=sorted(found.values_list("pk", flat=True)))
        found = found.only(*CHECKED, *ASKED).order_by("pk")
        self.stored = {group.fingerprint: group for group in (found.select_for_update() if lock else found)}
        self._as_read = {fingerprint: _version(group) for fingerprint, group in self.stored.items()}
        silenced = {name for name, group in self.stored.items() if group.is_silenced(self._scope.now)}
        self.silenced = silenced | set(covered(self._scope))

    def count(self, rules: policy.Rules) -> list[policy.Sighting]:
        """Count what arrives, in memory; returns what the rules ask of each group."""
        sightings = []
        latest_batches = self._latest_batches()
        causes = self._causes_seen(rules, latest_batches)
        for fingerprint, arrived in sorted(self._scope.arrivals.items(), key=lambda item: item[1].first_at):
            group = self.stored.get(fingerprint)
            latest = latest_batches.get(group.batch_id or 0) if group else None
            cause = self._cause(fingerprint)
            sighting = _sighting(group, arrived, causes.get(cause), latest, self._scope.now)
            sighting = sighting._replace(silenced=fingerprint in self.silenced)
            causes[cause] = max(sighting.last_at, causes.get(cause, sighting.last_at))
            sightings.append(sighting)
            if group is None:
                self.new[fingerprint] = self._make(fingerprint, arrived)
                self.entered += not sighting.silenced
                continue
            if not sighting.silenced:
                self._enter(group, latest)
            _note_releases(group, arrived)
            self._count(group, sighting, is_news=policy.state(rules, sighting) is not Reason.REPEAT)
        return sightings

    def check(self) -> None:
        """Raise Changed if a stored group is not as it was read, before the transaction began."""
        keys = {group.pk: fingerprint for fingerprint, group in self.stored.items()}
        rows = Group.objects.filter(pk__in=keys).values("pk", *CHECKED)
        if {keys[row.pop("pk")]: row for row in rows} != self._as_read:
            raise Changed

    def write(self) -> None:
        """Update the stored groups and insert the new ones; another importer's are an IntegrityError."""
        add(Group, list(self._changes()), counters=["count"])
        fresh = sorted(self.new.values(), key=attrgetter("fingerprint"))
        Group.objects.bulk_create(fresh)
        if fresh and fresh[0].pk is None:  # MySQL doesn't tell
            found = Group.objects.filter(buffer=self._scope.batch.buffer, fingerprint__in=self.new)
            for fingerprint, key in found.values_list("fingerprint", "pk"):
                self.new[fingerprint].pk = key

    def add_tallies(self) -> None:
        """Add to the hourly counts, then insert what is missing; nobody else does, the groups are locked."""
        stored = list(self._tallies(self.stored))
        missing = list(self._tallies(self.new))
        if add(Tally, stored, counters=["count"], keys=TALLY) < len(stored):
            hours = {row["hour_at"] for row in stored}
            rows = Tally.objects.filter(group__in=[group.pk for group in self.stored.values()])
            found = set(rows.filter(hour_at__in=hours).values_list(*TALLY))
            missing += [row for row in stored if tuple(row[name] for name in TALLY) not in found]
        Tally.objects.bulk_create([instance(Tally, row) for row in missing])

    def _latest_batches(self) -> dict[int, Batch]:
        mine = self._scope.batch
        keys = {group.batch_id for group in self.stored.values() if group.batch_id} - {mine.pk}
        return Batch.objects.only("status", "sealed_at").in_bulk(keys) | {mine.pk: mine}

    def _cause(self, fingerprint: str) -> str:
        group = self.stored.get(fingerprint)
        return group.cause if group else str(self._scope.arrivals[fingerprint].first_value["cause"])

    def _causes_seen(self, rules: policy.Rules, latest_batches: dict[int, Batch]) -> dict[str, datetime]:
        """When each cause was last seen: of a group that was there lately, whatever others say, as it was."""
        causes: dict[str, datetime] = {}
        asked = set()
        timeout = timedelta(seconds=rules.resolve_timeout)
        for fingerprint, arrived in self._scope.arrivals.items():
            group, cause = self.stored.get(fingerprint), self._cause(fingerprint)
            is_untold = _is_untold(group, latest_batches.get(group.batch_id or 0) if group else None)
            if group is None or is_untold or arrived.first_at - group.last_seen_at > timeout:
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

    def _make(self, fingerprint: str, arrived: Arrivals) -> Group:
        value = arrived.best_value()
        batch = None if fingerprint in self.silenced else self._scope.batch.pk
        row = {
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
        return instance(Group, row)

    def _enter(self, group: Group, latest: Batch | None) -> None:
        """Note that a mail will show the group."""
        if group.batch_id == self._scope.batch.pk:
            return
        if self._scope.batch.status == Status.OPEN or latest is None or latest.status != Status.OPEN:
            self.entered += 1
            group.batch_id = self._scope.batch.pk

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

    def _changes(self) -> Iterator[Row]:
        """What is to be written of each stored group; all but the count holds while it is locked."""
        for fingerprint, group in self.stored.items():
            yield {
                "count": self._scope.arrivals[fingerprint].count,
                "level": group.level,
                "kind": group.kind,
                "first_seen_at": group.first_seen_at,
                "last_seen_at": group.last_seen_at,
                "first_release": group.first_release,
                "last_release": group.last_release,
                "episode_at": group.episode_at,
                "episode_count": group.episode_count,
                "episode_batch_id": group.episode_batch_id,
                "batch_id": group.batch_id,
                "resolved_at": group.resolved_at,
                "id": group.pk,
            }

    def _tallies(self, groups: dict[str, Group]) -> Iterator[Row]:
        """The hourly counts of these groups, in the one order in which importers lock them."""
        for fingerprint, group in sorted(groups.items(), key=lambda item: item[1].pk):
            counts: Counter[tuple[datetime, int]] = Counter()  # with USE_TZ = False, autumn repeats an hour
            for (hour, level), count in self._scope.arrivals[fingerprint].hours.items():
                counts[moments.at(hour * moments.HOUR), level] += count
            for (hour_at, level), count in sorted(counts.items()):
                yield {"count": count, "group_id": group.pk, "hour_at": hour_at, "level": level}


def _note_releases(group: Group, arrived: Arrivals) -> None:
    """Note in which releases the group was first and last seen, as far as its records say."""
    if arrived.first_at < group.first_seen_at or not group.first_release:
        group.first_release = arrived.first_release or group.first_release
    if arrived.last_at >= group.last_seen_at:
        group.last_release = arrived.last_release or group.last_release


def _version(group: Group) -> Row:
    return {name: getattr(group, name) for name in CHECKED}


def _is_untold(group: Group | None, latest: Batch | None) -> bool:
    """Whether nobody knows of a group: its mail failed for good, or it was only seen in a silence."""
    if latest is not None:
        return latest.status == Status.FAILED
    return group is not None and group.batch_id is None and group.notified_at is None


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
        untold=_is_untold(group, latest),
        resolved=group is not None and group.resolved_at is not None,
        kind=min(arrived.kind, policy.Kind(group.kind)) if group else arrived.kind,
    )
