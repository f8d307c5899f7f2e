"""The rows of a batch: few are read at once and counted here; many are counted by the database."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any

from django.db.models import (
    Case,
    F,
    Max,
    Min,
    OuterRef,
    Prefetch,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
    prefetch_related_objects,
)
from django.db.models.fields.json import KT

from ..models import Batch, Group, Record
from ..policy import Kind

SHOWN_GROUPS = 130  # more than a mail has room for; the rest is a number
ROWS_READ = 2_000
PAGE = 500
FEW_RECORDS = 500  # of a batch, all of which are read at once
FEW_AHEAD = 20  # of a batch, which are read together with those of others

_TITLE = KT("details__title")

# By the group's key: {"number", "first", "last", "worst"} of its records, the silenced ones left out.
Sums = dict[int, dict[str, Any]]
# A record, or a row with those of its columns that say when and where it came, and what it said.
Occurrence = Any


def rows_of(batch: Batch) -> FewRows | ManyRows:
    """The batch's rows."""
    return FewRows(batch) if batch.record_count <= FEW_RECORDS else ManyRows(batch)


def read_ahead(batches: Iterable[Batch]) -> None:
    """Read the records of all small batches together.

    If that fails, each batch reads its own, so that one with a row that can't be read fails alone.
    """
    with suppress(Exception):
        _read([batch for batch in batches if batch.record_count <= FEW_AHEAD])


def forget(batch: Batch) -> None:
    """Have the batch's records read anew."""
    vars(batch).pop("read_records", None)


def _read(batches: list[Batch]) -> None:
    """Read their records into an attribute: the related manager might ask a replica for them."""
    rows = Record.objects.defer("html").annotate(title=_TITLE).order_by("group", "pk")
    rows = rows.prefetch_related(Prefetch("group", Group.objects.all()))
    prefetch_related_objects(batches, Prefetch("records", rows, to_attr="read_records"))


class FewRows:
    """The rows of a batch that are read at once, and counted here."""

    def __init__(self, batch: Batch) -> None:
        if not hasattr(batch, "read_records"):
            _read([batch])
        self._records: list[Any] = vars(batch)["read_records"]

    def sums(self) -> tuple[dict[int, Group], Sums]:
        """The groups, and what is counted of each."""
        of_group = defaultdict[int, list[Record]](list)
        for record in self._records:
            if not record.silenced:
                of_group[record.group_id].append(record)
        sums = {
            key: {
                "number": sum(record.count for record in records),
                "first": min(record.first_at for record in records),
                "last": max(record.last_at for record in records),
                "worst": max(record.level for record in records),
            }
            for key, records in of_group.items()
        }
        return {key: records[0].group for key, records in of_group.items()}, sums

    def occurrences(self, groups: Collection[int]) -> list[Occurrence]:
        """Rows of these groups, by group and key."""
        return [each for each in self._records if each.group_id in groups and not each.silenced]

    def places(self, occurrences: list[Occurrence], groups: Collection[int]) -> Counter[tuple[int, str, int]]:
        """How many records of each group each process of each host had."""
        return _places(occurrences)

    def samples(self, keys: set[int], *, html: bool) -> dict[int, Record]:
        """Records of this batch or an older one, by their keys; with the technical report, or without."""
        here = {} if html else {record.pk: record for record in self._records if record.pk in keys}
        return here | _samples(keys - here.keys(), html=html)

    def records(self) -> Iterator[Record]:
        """Every stored record, the oldest first."""
        return iter(sorted(self._records, key=lambda record: record.pk))


class ManyRows:
    """The rows of a batch of which the database makes the aggregates."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._rows = Record.objects.filter(batch=batch)

    def sums(self) -> tuple[dict[int, Group], Sums]:
        """The groups worth showing, and what is counted of each."""
        found = {row.pop("group"): row for row in _aggregates(self._rows)[:SHOWN_GROUPS]}
        if len(found) == SHOWN_GROUPS:
            # One of each cause or site, too: a flood must hide no other.
            origin = Case(When(kind=Kind.EXCEPTION, then=F("cause")), default=F("site"))
            latest = Group.objects.filter(batch=self._batch).order_by().values(origin=origin)
            leaders = latest.annotate(one=Min("pk"), first=Min("kind")).order_by("first", "one")
            missing = {row["one"] for row in leaders[:SHOWN_GROUPS]} - found.keys()
            more = _aggregates(self._rows.filter(group__in=missing))
            found |= {row.pop("group"): row for row in more}
        return Group.objects.in_bulk(found), found

    def occurrences(self, groups: Collection[int]) -> list[Occurrence]:
        """Rows of these groups, by group and key; the first ones."""
        fields = ("pk", "group_id", "host", "process", "first_at", "last_at", "count", "folded", "full")
        texts = ("message", "messages", "titles")
        found: QuerySet[Any] = self._shown(groups).annotate(title=_TITLE).order_by("group", "pk")
        return list(found.values_list(*fields, *texts, "title", named=True)[:ROWS_READ])

    def places(self, occurrences: list[Occurrence], groups: Collection[int]) -> Counter[tuple[int, str, int]]:
        """How many records of each group each process of each host had."""
        if len(occurrences) < ROWS_READ:
            return _places(occurrences)
        counted = self._shown(groups).values_list("group", "host", "process").annotate(Sum("count"))
        return Counter({(group, host, process): number for group, host, process, number in counted})

    def samples(self, keys: set[int], *, html: bool) -> dict[int, Record]:
        """Records of this batch or an older one, by their keys; with the technical report, or without."""
        return _samples(keys, html=html)

    def records(self) -> Iterator[Record]:
        """Every stored record, the oldest first; no cursor is held open, which PgBouncer would break."""
        ends = self._rows.aggregate(first=Min("pk"), last=Max("pk"))
        if ends["first"] is None:
            return
        # Between the two: who walks the primary key, as MySQL may, must not begin with the oldest of all.
        groups = Prefetch("group", Group.objects.all())
        rows = self._rows.prefetch_related(groups).defer("html").order_by("pk").filter(pk__lte=ends["last"])
        start = ends["first"]
        page: list[Record] | None = None
        while page is None or len(page) == PAGE:
            page = list(rows.filter(pk__gte=start)[:PAGE])
            yield from page
            start = page[-1].pk + 1 if page else start

    def _shown(self, groups: Collection[int]) -> QuerySet[Record]:
        return self._rows.filter(group__in=groups, silenced=False)


def _aggregates(rows: QuerySet[Record]) -> QuerySet[Record, Any]:
    """One row a group of the batch, in the order of ``digest.rank`` as far as the database knows it.

    No join: MySQL may start one from the groups, and read all that they ever had.
    """
    group = Group.objects.filter(pk=OuterRef("group"))
    is_last = Case(When(kind=Kind.CLIENT, then=Value(20)), default=Value(0))
    is_old = Case(When(episode_batch=OuterRef("batch"), then=Value(0)), default=Value(10))
    return (
        rows.filter(silenced=False)
        .values("group")
        .annotate(
            number=Sum("count"),
            first=Min("first_at"),
            last=Max("last_at"),
            worst=Max("level"),
            rank=Min(Subquery(group.values(rank=is_last + is_old + F("kind")))),
        )
        .order_by("rank", "-worst", "-number", "group")
    )


def _places(occurrences: list[Occurrence]) -> Counter[tuple[int, str, int]]:
    places = Counter[tuple[int, str, int]]()
    for row in occurrences:
        places[row.group_id, row.host, row.process] += row.count
    return places


def _samples(keys: set[int], *, html: bool) -> dict[int, Record]:
    rows = Record.objects.all() if html else Record.objects.defer("html")
    return rows.in_bulk(keys) if keys else {}
