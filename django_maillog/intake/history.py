"""What the rules need to know of a buffer: its handler's arguments, and what it mailed lately."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

from .. import buffers, policy
from ..models import CLOCK_SKEW, Batch
from ..policy import Reason
from ..spool.configurations import Configuration
from ..spool.segment import Source

REMEMBERED = 100  # mails; the budget asks for those of an hour


def load_history(alias: str, buffer: str, now: datetime) -> policy.History:
    """What the buffer mailed lately; times ahead of the clock, which was set back then, are left out."""
    rows = (
        Batch.objects.using(alias)
        .filter(buffer=buffer, sealed_at__lte=now + CLOCK_SKEW)
        .order_by("-sealed_at")
    )
    found = rows.values_list("reason", "sealed_at")[:REMEMBERED]
    sealed = tuple((Reason(reason or Reason.FLUSH), min(at, now)) for reason, at in found if at is not None)
    return policy.History(last_mail_at=sealed[0][1] if sealed else None, sealed=sealed)


def rules_of(buffer: str) -> policy.Rules:
    """The rules of the buffer's handler in this process, else the defaults."""
    handler = buffers.find(buffer)
    return handler.rules if handler is not None else policy.Rules()


class Configurations:
    """Rules and addressees of buffers: of handlers in this process, else as a segment's owner wrote."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def rules(self, buffer: str) -> policy.Rules:
        if buffers.find(buffer) is not None:
            return rules_of(buffer)
        try:
            return policy.Rules(**self._written.get(buffer, {}).get("rules", {}))
        except (TypeError, ValueError):
            return policy.Rules()

    def addressee(self, buffer: str) -> dict[str, Any]:
        """The fields of a batch that say where it goes; none if a handler in this process knows."""
        if buffers.find(buffer) is not None:
            return {}
        written = self._written.get(buffer, {})
        return {
            "recipients": [str(address) for address in written.get("recipients") or []],
            "sender": str(written.get("sender", ""))[:320],
            "using": str(written.get("using", ""))[:200],
        }

    @cached_property
    def _written(self) -> dict[str, Configuration]:
        return self._source.buffers()  # reads the whole segment
