"""What the rules need to know of a buffer: its handler's arguments, and what it mailed lately."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from .. import buffers, policy
from ..models import CLOCK_SKEW, Batch
from ..policy import Reason
from ..spool.sources import Source

REMEMBERED = 100  # mails; the budget asks for those of an hour


def load_history(buffer: str, now: datetime) -> policy.History:
    """What the buffer mailed lately; times ahead of the clock, which was set back then, are left out."""
    rows = Batch.objects.filter(buffer=buffer, sealed_at__lte=now + CLOCK_SKEW).order_by("-sealed_at")
    found = rows.values_list("reason", "sealed_at")[:REMEMBERED]
    sealed = tuple((Reason(reason or Reason.FLUSH), min(at, now)) for reason, at in found if at is not None)
    return policy.History(last_mail_at=sealed[0][1] if sealed else None, sealed=sealed)


class Configurations:
    """Rules and addressees of buffers: of handlers in this process, else as a segment's owner wrote."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def rules(self, batch: Batch) -> policy.Rules:
        """The rules by which a batch is due; where nobody knows them, those that its row was opened with."""
        if handler := buffers.find(batch.buffer):
            return handler.rules
        try:
            return policy.Rules.of(self._source.buffers().get(batch.buffer, {}).get("rules") or batch.rules)
        except (TypeError, ValueError):
            return policy.Rules()

    def of_batch(self, buffer: str) -> dict[str, Any]:
        """The fields of a batch that say where and when it goes: it carries them from its opening on."""
        if handler := buffers.find(buffer):
            facts: dict[str, Any] = {"rules": buffers.stored_rules(handler)}
            try:
                return facts | buffers.addressee(handler.target)._asdict()
            except Exception:  # the project's own code: a check names it, and sealing asks again
                return facts
        nothing = {"rules": {}, "recipients": [], "sender": "", "using": ""}
        return nothing | self._source.buffers().get(buffer, {})
