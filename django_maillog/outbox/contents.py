"""What a batch holds, as the digest wants it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, cast

from django.db.models import Exists, OuterRef

from .. import digest, moments
from ..capture.captured import CapturedRecord
from ..capture.text import has_own_title, shortened
from ..language import in_project_language
from ..links import admin_url, problem_url
from ..models import Batch, Group, Record
from ..policy import Kind
from .notes import Notes, silences
from .rows import SHOWN_GROUPS, FewRows, ManyRows, Occurrence, rows_of

FULL_GROUPS = 24  # those for which rows are read


@in_project_language
def report(
    batch: Batch, now: datetime, *, include_html: bool = False, notes: Notes | None = None
) -> digest.Report:
    """The batch as a digest.Report; an open one as it would be if it were sealed now."""
    notes = notes or Notes(now, exclude=batch)
    rows = rows_of(batch)
    groups, reports = _groups(batch, rows, include_html=include_html)
    shown = digest.Report(
        buffer=batch.buffer,
        reason=batch.reason,
        groups=reports,
        record_count=batch.record_count,
        group_count=batch.group_count,
        silenced_count=batch.silenced_count,
        silences=silences(batch, now),
        lost_count=batch.lost_count,
        level=batch.level,
        opened_at=batch.opened_at,
        first_at=batch.first_at or batch.opened_at,
        last_at=batch.last_at or batch.opened_at,
        sealed_at=batch.sealed_at or now,
        message_id=batch.message_id or "",
        batch_id=batch.pk,
        batch_url=admin_url("batch", batch.pk),
        note=notes.of(batch.buffer),
        records=lambda: _values(rows.records()),
        include_html=include_html,
        # Where all groups are shown, the mail counts for itself.
        new_count=_count_new(batch) if len(reports) < batch.group_count else None,
    )
    if batch.group_count == 1 and groups:
        shown.references = root_of(groups[0], batch)
    return shown


def _groups(
    batch: Batch, rows: FewRows | ManyRows, *, include_html: bool
) -> tuple[list[Group], list[digest.GroupReport]]:
    """The groups worth showing and what the mail says of them, in its order; of the first ones in full."""
    groups, sums = rows.sums()
    reports = {key: _group_report(batch, groups[key], found) for key, found in sums.items()}
    order = digest.rank(reports.values())[:SHOWN_GROUPS]
    by_fingerprint = {group.fingerprint: group for group in groups.values()}
    shown = [by_fingerprint[each.fingerprint] for each in order]
    details = _Details(rows, shown[:FULL_GROUPS], include_html=include_html)
    for group, each in zip(shown[:FULL_GROUPS], order, strict=False):
        details.add_to(each, group)
    _tell_apart(shown[FULL_GROUPS:], order, order[FULL_GROUPS:])
    return shown, order


def _tell_apart(
    groups: list[Group], reports: list[digest.GroupReport], others: list[digest.GroupReport]
) -> None:
    """Give a sample to those others whose title is in the mail twice: it says where they come from."""
    titles = Counter(each.title for each in reports)
    unclear = [(group, each) for group, each in zip(groups, others, strict=True) if titles[each.title] > 1]
    keys = [group.sample_id for group, _each in unclear if group.sample_id]
    samples = Record.objects.defer("html", "extra").in_bulk(keys)
    for group, each in unclear:
        if sample := samples.get(group.sample_id or 0):
            each.sample = as_value(sample)


class _Details:
    """What the rows tell of the groups that are shown in full, by the group's key."""

    def __init__(self, rows: FewRows | ManyRows, groups: Sequence[Group], *, include_html: bool) -> None:
        self.hosts: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.processes: Counter[int] = Counter()
        self.messages: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.titles: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.spans: defaultdict[int, list[tuple[datetime, datetime, int]]] = defaultdict(list)
        keys = [group.pk for group in groups]
        occurrences = rows.occurrences(keys)
        for row in occurrences:
            self.spans[row.group_id].append((row.first_at, row.last_at, row.count))
            message = shortened(row.message, 200)
            for text, number in row.messages.items() if row.folded else [(message, row.count)]:
                self.messages[row.group_id][text] += number
            title = row.title or ""
            own = [(title, row.count)] if has_own_title(title, row.message) else []
            for text, number in row.titles.items() if row.folded else own:
                self.titles[row.group_id][text] += number
        for (group, host, _process), number in rows.places(occurrences, keys).items():
            self.hosts[group][host] += number
            self.processes[group] += 1
        chosen = _choose_samples(groups, occurrences)
        records = rows.samples(set(chosen.values()), html=include_html)
        self.samples = {key: records[pk] for key, pk in chosen.items() if pk in records}

    def add_to(self, shown: digest.GroupReport, group: Group) -> None:
        """Tell the mail where and when the group's records came, and show one of them."""
        shown.hosts = dict(self.hosts[group.pk])
        shown.processes = self.processes[group.pk]
        shown.messages = self.messages[group.pk].most_common()
        shown.titles = self.titles[group.pk].most_common()
        shown.spans = self.spans[group.pk]
        if sample := self.samples.get(group.pk):
            shown.sample = as_value(sample)


def _group_report(batch: Batch, group: Group, row: dict[str, Any]) -> digest.GroupReport:
    return digest.GroupReport(
        fingerprint=group.fingerprint,
        cause=group.cause,
        site=group.site,
        kind=Kind(group.kind),
        title=group.title,
        level=row["worst"],
        logger=group.logger,
        count=row["number"],
        total=group.count,
        state=_state(group, batch),
        first_at=row["first"],
        last_at=row["last"],
        first_seen_at=group.first_seen_at,
        first_release=group.first_release,
        last_release=group.last_release,
        processes=0,
        url=admin_url("group", group.pk),
        action_url=problem_url(group.pk, group.buffer, group.fingerprint),
    )


def root_of(group: Group, batch: Batch) -> str:
    """The Message-ID under which the mails about one group since it was new are threaded; none has it."""
    name = f"{group.buffer}\0{group.fingerprint}\0{group.episode_at.isoformat()}"
    domain = (batch.message_id or "").rpartition("@")[2].strip("<> ") or "localhost"
    return f"<maillog-{hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}@{domain}>"


def _count_new(batch: Batch) -> int:
    shown = Record.objects.filter(batch=batch, group=OuterRef("pk"), silenced=False)
    number: int = Group.objects.filter(Exists(shown), episode_batch=batch).count()
    return number


def _state(group: Group, batch: Batch) -> str:
    if group.episode_batch_id != batch.pk:
        return "repeat"
    return "regressed" if group.first_seen_at < group.episode_at else "new"


def _choose_samples(groups: Sequence[Group], occurrences: Sequence[Occurrence]) -> dict[int, int]:
    """A record of each group: the first full capture in this batch, else the last there was; else any."""
    chosen: dict[int, int] = {}
    for row in reversed(occurrences):
        chosen[row.group_id] = row.pk
    chosen |= {group.pk: group.sample_id for group in groups if group.sample_id}
    for row in reversed(occurrences):
        if row.full:
            chosen[row.group_id] = row.pk
    return chosen


def as_value(record: Record) -> CapturedRecord:
    """A stored record as it was captured; what it folds is in ``count`` and ``last_time``."""
    value: dict[str, Any] = {
        "time": moments.to_timestamp(record.first_at),
        "level": record.level,
        "logger": record.logger,
        "message": record.message,
        "host": record.host,
        "process": record.process,
        **(record.details or {}),
    }
    loaded = vars(record)
    for name in ("traceback", "request", "extra", "html"):
        if loaded.get(name):  # not loaded: not wanted, and not worth a query a record
            value[name] = loaded[name]
    if record.full:
        value["full"] = True
    if record.count > 1:
        value |= {
            "count": record.count,
            "last_time": moments.to_timestamp(record.last_at),
            "messages": record.messages,
            "titles": record.titles,
        }
    return cast(CapturedRecord, value)


def _values(records: Iterator[Record]) -> Iterator[CapturedRecord]:
    """Records as the mail's attachment lists them."""
    for record in records:
        title: CapturedRecord = {"title": record.group.title}  # type: ignore[typeddict-item]
        yield title | as_value(record) | {"fingerprint": record.group.fingerprint}
