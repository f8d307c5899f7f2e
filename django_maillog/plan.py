"""What a flush would do, what keeps batches from going out, and which buffers there are; changes nothing."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from . import buffers, digest
from .capture.captured import CapturedRecord
from .database_clock import database_now
from .flush import to_seal
from .models import Attempt, Batch, Outcome, Segment, Status
from .outbox.contents import report
from .outbox.options import FlushOptions
from .outbox.targets import is_left_to_others, target_of
from .policy import Reason
from .spool import unattended
from .spool.configurations import Configuration
from .spool.folder import segment_paths, spool_folder
from .spool.lines import Line, parse
from .spool.segment import BadSegment, NotOurs, SegmentFile

SHOWN_PROBLEMS = 10
# Records of a buffer in the spool that are looked at; the others are only counted.
SPOOL_READ = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One mail that a flush would send."""

    buffer: str
    records: int
    groups: int
    recipients: list[str]
    subject: str
    reason: str

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def plan(
    buffers: Collection[str] | None = None, *, everything: bool = True, now: datetime | None = None
) -> list[Plan]:
    """The mails that a flush would send from what is imported, to whom."""
    now = now or database_now()
    ready = [
        batch
        for batch in Batch.objects.deliverable(now).order_by("pk")
        if not is_left_to_others(batch, now, everything=everything)
    ]
    sealing = list(to_seal(FlushOptions(buffers=buffers, everything=everything), now))
    sealing += [(batch, None) for batch in ready if buffers is None or batch.buffer in buffers]
    return [_plan(batch, reason, now) for batch, reason in sealing]


def spool_plan(names: Collection[str] | None = None) -> list[Plan]:
    """What waits in the spool to be imported first, by buffer, as a mail of its own would tell it."""
    found: defaultdict[str, list[CapturedRecord]] = defaultdict(list)
    lost: Counter[str] = Counter()
    configured: dict[str, Configuration] = {}
    for segment, lines in _spool():
        configured |= segment.buffers()
        for line in lines:
            if line.value is not None and len(found[line.buffer]) < SPOOL_READ:
                found[line.buffer].append(line.value)
            else:
                lost[line.buffer] += line.lost + (line.value is not None)
    chosen = found.keys() if names is None else found.keys() & set(names)
    return [
        _spool_mail(name, found[name], lost[name], configured.get(name, {}).get("recipients", []))
        for name in sorted(chosen)
    ]


def _spool_mail(name: str, values: list[CapturedRecord], more: int, recipients: list[str]) -> Plan:
    shown = digest.summarize(iter(values), buffer=name, reason="", now=datetime.now(UTC))
    shown.record_count += more
    handler, subject = buffers.find(name), digest.subject(shown)
    if handler is not None:
        try:
            recipients = buffers.addressee(handler.target).recipients
            subject = handler.target.get_digest_subject(shown)
        except Exception as error:  # the project's configuration, whatever is wrong with it
            subject = f"{type(error).__name__}: {error}"
    return Plan(
        buffer=name,
        records=shown.record_count,
        groups=shown.group_count,
        recipients=recipients,
        subject=subject,
        reason="spool",
    )


def _spool() -> Iterator[tuple[SegmentFile, Iterator[Line]]]:
    """The segments of this host's spool, each with its lines that are not imported."""
    paths = segment_paths(spool_folder())
    offsets = Segment.objects.in_bulk([path.stem for path in paths])
    for path in paths:
        with contextlib.suppress(OSError, BadSegment, NotOurs), SegmentFile.open(path) as segment:
            yield segment, _lines(segment, offsets[segment.id].offset if segment.id in offsets else 0)


def _lines(segment: SegmentFile, offset: int) -> Iterator[Line]:
    found, offset = segment.read(offset)
    while found:
        yield from (parse(line, segment, only_look=True) for line in found)
        found, offset = segment.read(offset)


def known_buffers() -> set[str]:
    """Every buffer that this process has configured, that has a batch, or that has records in the spool."""
    stored = Batch.objects.order_by().values_list("buffer", flat=True).distinct()
    found = buffers.configured().keys() | set(stored)
    for segment, lines in _spool():
        found |= segment.buffers().keys() | {line.buffer for line in lines}
    return found - {""}


def problems() -> Iterator[str]:
    """What keeps batches from going out, in words for a person."""
    batches = Batch.objects.defer("text", "html").order_by("pk")
    for batch in batches.open().filter(record_count__gt=0):
        recipients, error = _recipients(batch)
        if not recipients:
            hint = error or "set ADMINS, or toaddrs of its SMTPHandler."
            records = f"Buffer {batch.buffer!r} has {batch.record_count} records"
            yield f"{records} and nobody to send them to: {hint}"
    for batch in batches.filter(status=Status.FAILED)[:SHOWN_PROBLEMS]:
        todo = "Mend the cause, then: manage.py flush_maillogs --retry-failed, or cancel it in the admin."
        yield f"Batch {batch.pk} of buffer {batch.buffer!r} failed: {batch.last_error} {todo}"
    unconfirmed = Attempt.objects.filter(outcome=Outcome.UNCONFIRMED).order_by("-pk").select_related("batch")
    for attempt in unconfirmed[:SHOWN_PROBLEMS]:
        batch = attempt.batch
        todo = "If nobody got it: Send again in the admin."
        yield f"Batch {batch.pk} of buffer {batch.buffer!r} is not confirmed as sent: {attempt.error} {todo}"
    for batch in batches.filter(status=Status.READY, attempts__gt=0)[:SHOWN_PROBLEMS]:
        again = f"{batch.next_attempt_at:%Y-%m-%d %H:%M:%S %Z}"
        yield f"Batch {batch.pk} of buffer {batch.buffer!r} is tried again at {again}: {batch.last_error}"
    yield from unattended.problems()


def _plan(batch: Batch, reason: Reason | None, now: datetime) -> Plan:
    recipients, error = _recipients(batch)
    subject = batch.subject
    if not subject and not error:
        subject = target_of(batch).get_digest_subject(report(batch, now))
    return Plan(
        buffer=batch.buffer,
        records=batch.record_count,
        groups=batch.group_count,
        recipients=recipients,
        subject=subject or error,
        reason=reason or batch.reason,
    )


def _recipients(batch: Batch) -> tuple[list[str], str]:
    """Who gets the batch, and what is wrong with its target."""
    try:
        return list(batch.recipients) or buffers.addressee(target_of(batch)).recipients, ""
    except Exception as error:  # the project's configuration, whatever is wrong with it
        return [], f"{type(error).__name__}: {error}"
