"""Records on their way into the tables: some get rows of their own, the rest is folded into one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from django.db.models import OuterRef, Subquery

from .. import moments
from ..models import Batch, Group, Record
from . import rows
from .counts import KEEP, Arrivals, Fold, Occurrences, Value, count_message
from .group_rows import GroupRows
from .pauses import in_slices
from .rows import Row

DETAILS = (
    "title",
    "pathname",
    "lineno",
    "function",
    "template",
    "thread",
    "task",
    "process_name",
    "exception",
    "stack_info",
    "formatted",
    "cut",
)
FOLD_COLUMNS = ("count", "first_at", "last_at", "messages", "id")


class Place(NamedTuple):
    """Where a batch folds records into one."""

    group: int | None
    host: str
    process: int
    silenced: bool


@dataclass(slots=True)
class _Stored:
    """What a batch holds already of one group and process."""

    rows: int = 0
    has_full: bool = False
    fold: Row | None = None


class RecordRows:
    """The records of some arrivals in one batch: read and sorted when made, written afterwards."""

    def __init__(self, alias: str, batch: Batch, arrivals: dict[str, Arrivals], groups: GroupRows) -> None:
        self._alias = alias
        self._batch = batch
        self._groups = groups
        self._fresh: list[tuple[str, Row]] = []  # with the group's fingerprint: it may have no key yet
        self._grown: list[Row] = []
        self._sampled: set[str] = set()  # groups with a new full record
        stored = self._stored(arrivals)
        for fingerprint, arrived in in_slices(arrivals.items()):
            key, silenced = groups.keys.get(fingerprint), fingerprint in groups.silenced
            for (host, process), occurrences in arrived.places.items():
                before = stored.get(Place(key, host[:255], process, silenced)) or _Stored()
                self._sort(fingerprint, occurrences, before, {"group_id": key, "silenced": silenced})
        rows.adapt(alias, chain(self._grown, (row for _fingerprint, row in self._fresh)))

    def write(self) -> None:
        """Insert and update them; the groups have been written."""
        for fingerprint, row in self._fresh:
            row["group_id"] = self._groups.keys[fingerprint]
        rows.insert(self._alias, Record, [row for _fingerprint, row in self._fresh])
        rows.update(self._alias, Record, self._grown)
        if self._sampled:
            self._remember_samples()

    def _stored(self, arrivals: dict[str, Arrivals]) -> dict[Place, _Stored]:
        found: dict[Place, _Stored] = defaultdict(_Stored)
        if not self._batch.record_count:
            return found
        processes = {process for arrived in arrivals.values() for _host, process in arrived.places}
        records = Record.objects.using(self._alias).filter(
            batch=self._batch, group__in=self._groups.keys.values(), process__in=processes
        )
        folded = {}
        fields = ("group_id", "host", "process", "silenced", "folded", "full", "id")
        for *place, is_folded, is_full, key in records.values_list(*fields):
            stored = found[Place(*place)]
            stored.has_full = stored.has_full or is_full
            if is_folded:
                folded[key] = stored
            else:
                stored.rows += 1
        for fold in records.filter(pk__in=folded).values(*FOLD_COLUMNS).select_for_update():
            folded[fold["id"]].fold = fold
        return found

    def _sort(self, fingerprint: str, occurrences: Occurrences, before: _Stored, shared: Row) -> None:
        values, fold = _split(occurrences, before)
        self._fresh += [(fingerprint, make_row(self._batch, value) | shared) for value in values]
        if any("full" in value for value in values):
            self._sampled.add(fingerprint)
        if fold is not None and before.fold is not None:
            _grow(before.fold, fold)
            self._grown.append(before.fold)
        elif fold is not None:
            self._fresh.append((fingerprint, make_row(self._batch, fold.value) | shared | _folded(fold)))

    def _remember_samples(self) -> None:
        """Each of these groups points to its last full record."""
        full = Record.objects.using(self._alias).filter(batch=self._batch, group=OuterRef("pk"), full=True)
        newest = full.order_by("-pk").values("pk")[:1]
        keys = [self._groups.keys[fingerprint] for fingerprint in self._sampled]
        Group.objects.using(self._alias).filter(pk__in=keys).update(sample=Subquery(newest))


def make_row(batch: Batch, value: Value) -> Row:
    """One record's columns, but for those of its group."""
    at = moments.at(value["time"])
    details = {name: value[name] for name in DETAILS if name in value}
    where = ""
    if value.get("pathname"):
        where = f"{value['pathname']}:{value.get('lineno')} in {value.get('function')}"
    return {
        "batch_id": batch.pk,
        "folded": False,
        "full": "full" in value,
        "first_at": at,
        "last_at": at,
        "count": 1,
        "level": value["level"],
        "logger": value["logger"][:255],
        "host": value["host"][:255],
        "process": value["process"],
        "where": where[:500],
        "message": value["message"],
        "messages": {},
        "traceback": value.get("traceback", ""),
        "request": value.get("request"),
        "extra": value.get("extra"),
        "details": details or None,
        "html": value.get("html", ""),
    }


def _split(occurrences: Occurrences, before: _Stored) -> tuple[list[Value], Fold | None]:
    """The values that get rows of their own, given what the batch holds already, and the rest."""
    values: list[Value] = []
    # A copy: a chunk may be stored again, after a deadlock.
    fold = occurrences.fold.copy() if occurrences.fold else None
    for value in occurrences.kept:
        if before.rows < KEEP or ("full" in value and not before.has_full):
            values.append(value)
            before.rows += 1
            before.has_full = before.has_full or "full" in value
            continue
        fold = fold or Fold(value)
        fold.add(value)
    return values, fold


def _folded(fold: Fold) -> Row:
    """What a new row of repeats has of its own."""
    first, last = moments.at(fold.first), moments.at(fold.last)
    facts = {"count": fold.count, "first_at": first, "last_at": last, "messages": fold.messages}
    return facts | {"folded": True, "full": False}


def _grow(row: Row, fold: Fold) -> None:
    row["first_at"] = min(row["first_at"], moments.at(fold.first))
    row["last_at"] = max(row["last_at"], moments.at(fold.last))
    row["count"] += fold.count
    for message, number in fold.messages.items():
        count_message(row["messages"], message, number)
