"""What a mail says beside its groups: what was silenced, and what somebody has to see to about the mails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count, Max, Sum

from .. import digest
from ..capture.text import one_line
from ..models import Batch, Host, Silence, Status

FAILED_NAMED = 5
HOSTS_NAMED = 5
SILENCES_NAMED = 5


def silences(batch: Batch, now: datetime) -> list[digest.Silenced]:
    """The silences that records of the batch may have fallen into."""
    if not batch.silenced_count:
        return []
    first, last = batch.first_at or batch.opened_at, batch.last_at or now
    found = Silence.objects.between(first, last).filter(buffer__in=["", batch.buffer])[:SILENCES_NAMED]
    return [digest.Silenced(each.note or str(each), each.starts_at, each.ends_at) for each in found]


def of_mails(batch: Batch, now: datetime) -> str:
    """What somebody has to see to about the mails themselves, a line each."""
    return "\n".join([*_failures(batch), *_silent_hosts(now)])


def _failures(batch: Batch) -> Iterator[str]:
    """Earlier mails that nobody got, until somebody acts: this buffer's, and others that can't say so."""
    failed = Batch.objects.filter(status=Status.FAILED).exclude(pk=batch.pk)
    rows = failed.order_by("buffer").values_list("buffer")
    for name, number, held, last in rows.annotate(Count("pk"), Sum("record_count"), Max("pk"))[:FAILED_NAMED]:
        error = one_line(failed.get(pk=last).last_error, 300)
        mails = "1 earlier mail" if number == 1 else f"{number:,} earlier mails"
        records = "1 record" if held == 1 else f"{held:,} records"
        buffer = "this buffer" if name == batch.buffer else f"buffer {one_line(name, 80)}"
        yield (
            f"{mails} of {buffer} with {records} could not be delivered: {error} "
            "Mend the cause, then retry or cancel in the admin, or: manage.py flush_maillogs --retry-failed"
        )


def _silent_hosts(now: datetime) -> Iterator[str]:
    names = list(Host.objects.silent(now).order_by("name").values_list("name", flat=True)[: HOSTS_NAMED + 1])
    if names:
        more = " and others" if len(names) > HOSTS_NAMED else ""
        shown = ", ".join(one_line(name, 80) for name in names[:HOSTS_NAMED])
        yield (
            f"Silent for more than a day: {shown}{more}. "
            "If a host is no more: manage.py flush_maillogs --forget-host NAME"
        )
