"""Records on their way into the tables: some get rows of their own, the rest is folded into one."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Max, OuterRef, Subquery

from .. import moments
from ..capture.captured import CapturedRecord
from ..models import Batch, Group, Record
from .additions import Row, add, insert, ready
from .counts import KEEP, Fold, Occurrences, Scope, count_message
from .group_rows import GroupRows

DETAILS = (
    "title",
    "release",
    "pathname",
    "lineno",
    "function",
    "template",
    "thread",
    "task",
    "process_name",
    "exception",
    "place",
    "stack_info",
    "formatted",
    "context",
    "cut",
)
# Fields that have a place of their own. What a later version has added is kept among the details, for it.
ELSEWHERE = CapturedRecord.__annotations__.keys() - set(DETAILS)
FOLD = ("first_at", "last_at", "messages", "titles", "id")
PLACE = ("group_id", "host", "process", "silenced")

Place = tuple[int, str, int, bool]  # where a batch folds records into one: group, host, process, silenced


@dataclass(slots=True)
class _Stored:
    """What a batch holds already of one place."""

    rows: int = 0
    has_full: bool = False
    fold: int | None = None


class RecordRows:
    """The records of some arrivals in one batch."""

    def __init__(self, scope: Scope, groups: GroupRows) -> None:
        self._scope = scope
        self._groups = groups
        self._fresh: list[tuple[str, Row]] = []  # with its fingerprint: the group may have no key yet
        self._grown: list[Row] = []  # folds that are stored, with what is added to them

    def read(self) -> None:
        """Read what the batch holds of these groups, and sort out what gets rows of its own."""
        before = self._stored()
        growing: dict[int, Fold] = {}  # by the stored row's key
        fingerprints: list[str] = []
        fresh: list[Row] = []
        for fingerprint, arrived in self._scope.arrivals.items():
            key, is_silenced = self._groups.keys.get(fingerprint, 0), fingerprint in self._groups.silenced
            rows: list[Row] = []
            for (host, process), occurrences in arrived.places.items():
                stored = before.get((key, host[:255], process, is_silenced)) or _Stored()
                values, fold = _split(occurrences, stored)
                rows += [make_row(self._scope.batch, value) for value in values]
                if fold is not None and stored.fold is not None:
                    growing[stored.fold] = fold
                elif fold is not None:
                    rows.append(make_row(self._scope.batch, fold.value) | _folded(fold))
            fresh += [row | {"silenced": is_silenced} for row in rows]
            fingerprints += [fingerprint] * len(rows)
        self._fresh = list(zip(fingerprints, ready(Record, fresh), strict=True))
        if growing:
            found = Record.objects.filter(pk__in=growing).order_by("pk").values(*FOLD)
            self._grown = ready(Record, [_grow(row, growing[row["id"]]) for row in found])

    def write(self) -> None:
        """Insert and update them; the groups have been written."""
        keys = self._groups.keys
        fresh = [row | {"group_id": keys[fingerprint]} for fingerprint, row in self._fresh]
        insert(Record, fresh)
        add(Record, self._grown, counters=["count"])
        if full := {row["group_id"] for row in fresh if row["full"]}:
            self._choose_samples(full)

    def _choose_samples(self, groups: set[int]) -> None:
        """A group's sample is the last of its records that was captured in full."""
        full = Record.objects.filter(batch=self._scope.batch, group=OuterRef("pk"), full=True)
        last = full.order_by().values("group").annotate(last=Max("pk")).values("last")
        Group.objects.filter(pk__in=groups).update(sample=Subquery(last))

    def _stored(self) -> dict[Place, _Stored]:
        found: dict[Place, _Stored] = {}
        groups = self._groups.keys.values()
        if not groups or not self._scope.batch.record_count:
            return found
        processes = {
            process for arrived in self._scope.arrivals.values() for _host, process in arrived.places
        }
        records = Record.objects.filter(batch=self._scope.batch, group__in=groups, process__in=processes)
        # Their large columns are read of those alone that grow: of each place there are several rows.
        for *place, folded, full, key in records.values_list(*PLACE, "folded", "full", "pk"):
            stored = found.setdefault(tuple(place), _Stored())
            stored.has_full = stored.has_full or full
            if folded:
                stored.fold = key
            else:
                stored.rows += 1
        return found


def make_row(batch: Batch, value: CapturedRecord) -> Row:
    """One record's columns, but for those of its group."""
    at = moments.at(value["time"])
    details = {name: field for name, field in value.items() if name not in ELSEWHERE}
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
        "titles": {},
        "traceback": value.get("traceback", ""),
        "request": value.get("request"),
        "extra": value.get("extra"),
        "details": details or None,
        "html": value.get("html", ""),
    }


def _split(occurrences: Occurrences, before: _Stored) -> tuple[list[CapturedRecord], Fold | None]:
    """The values that get rows of their own, given what the batch holds already, and the rest."""
    values: list[CapturedRecord] = []
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
    first, last = moments.at(fold.first[0]), moments.at(fold.last[0])
    facts = {"count": fold.count, "first_at": first, "last_at": last, "folded": True, "full": False}
    return facts | {"messages": fold.messages, "titles": fold.titles}


def _grow(row: Row, fold: Fold) -> Row:
    """A stored row of repeats with more of them; its count is only what is added."""
    for counts, more in (row["messages"], fold.messages), (row["titles"], fold.titles):
        for text, number in more.items():
            count_message(counts, text, number)
    row["first_at"] = min(row["first_at"], moments.at(fold.first[0]))
    row["last_at"] = max(row["last_at"], moments.at(fold.last[0]))
    return {"count": fold.count, **row}
