"""What a mail says beside its groups: what was silenced, and what somebody has to see to about the mails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count, Max, Sum

from .. import digest
from ..capture.text import one_line
from ..language import gettext as _
from ..language import ngettext
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
        facts = {
            "mails": ngettext("%(number)s earlier mail", "%(number)s earlier mails", number),
            "records": ngettext("%(number)s record", "%(number)s records", held),
            "buffer": one_line(name, 80),
            "error": error,
        }
        said = (
            _("%(mails)s of this buffer with %(records)s could not be delivered: %(error)s")
            if name == batch.buffer
            else _("%(mails)s of buffer %(buffer)s with %(records)s could not be delivered: %(error)s")
        )
        todo = _(
            "Mend the cause, then retry or cancel in the admin, or: manage.py flush_maillogs --retry-failed"
        )
        yield f"{said % facts} {todo}"


def _silent_hosts(now: datetime) -> Iterator[str]:
    names = list(Host.objects.silent(now).order_by("name").values_list("name", flat=True)[: HOSTS_NAMED + 1])
    if names:
        shown = ", ".join(one_line(name, 80) for name in names[:HOSTS_NAMED])
        if len(names) > HOSTS_NAMED:
            shown = _("%(names)s and others") % {"names": shown}
        said = _(
            "Silent for more than a day: %(names)s. "
            "If a host is no more: manage.py flush_maillogs --forget-host NAME"
        )
        yield said % {"names": shown}
