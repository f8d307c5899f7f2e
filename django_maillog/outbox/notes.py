"""What a mail says beside its groups: what was silenced, and what somebody has to see to about the mails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property

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


class Notes:
    """What somebody has to see to about the mails themselves; asked of the database once, for many mails."""

    def __init__(self, now: datetime, *, exclude: Batch | None = None) -> None:
        self._now = now
        self._exclude = exclude

    def of(self, buffer: str) -> str:
        """What a mail of this buffer says of it, a line each."""
        return "\n".join([*self._failures(buffer), *_silent_hosts(self._silent)])

    @cached_property
    def _failed(self) -> list[tuple[str, int, int, str]]:
        """Mails that nobody got, until somebody acts: the buffer, mails, records, and what the last met."""
        failed = Batch.objects.filter(status=Status.FAILED)
        if self._exclude is not None:
            failed = failed.exclude(pk=self._exclude.pk)
        counted = failed.order_by("buffer").values_list("buffer").annotate(Count("pk"), Sum("record_count"))
        return [
            (name, number, held, one_line(failed.get(pk=last).last_error, 300))
            for name, number, held, last in counted.annotate(Max("pk"))[:FAILED_NAMED]
        ]

    @cached_property
    def _silent(self) -> list[str]:
        silent = Host.objects.silent(self._now).order_by("name")
        return list(silent.values_list("name", flat=True)[: HOSTS_NAMED + 1])

    def _failures(self, buffer: str) -> Iterator[str]:
        """Earlier mails that could not be delivered: this buffer's, and others that can't say so."""
        for name, number, held, error in self._failed:
            facts = {
                "mails": ngettext("%(number)s earlier mail", "%(number)s earlier mails", number),
                "records": ngettext("%(number)s record", "%(number)s records", held),
                "buffer": one_line(name, 80),
                # What a server says seldom ends as a sentence does.
                "error": error if error.endswith((".", "!", "?", "…")) else f"{error}.",
            }
            said = (
                _("%(mails)s of this buffer with %(records)s could not be delivered: %(error)s")
                if name == buffer
                else _("%(mails)s of buffer %(buffer)s with %(records)s could not be delivered: %(error)s")
            )
            todo = _(
                "Mend the cause, then retry or cancel in the admin, or: "
                "manage.py flush_maillogs --retry-failed"
            )
            yield f"{said % facts} {todo}"


def _silent_hosts(names: list[str]) -> Iterator[str]:
    if names:
        shown = ", ".join(one_line(name, 80) for name in names[:HOSTS_NAMED])
        if len(names) > HOSTS_NAMED:
            shown = _("%(names)s and others") % {"names": shown}
        said = _(
            "Silent for more than a day: %(names)s. "
            "If a host is no more: manage.py flush_maillogs --forget-host NAME"
        )
        yield said % {"names": shown}
