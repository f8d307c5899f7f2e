"""What of a chunk came while it was silenced: by the records' times, whenever they are imported."""

from __future__ import annotations

from collections.abc import Iterator

from ..models import Silence
from ..moments import to_timestamp
from ..spool.silenced import Silenced, covers
from .counts import Scope


def plain(silence: Silence) -> Silenced:
    """A silence as the spool folder's file says it."""
    return Silenced(
        buffer=silence.buffer,
        match=silence.match,
        starts_at=to_timestamp(silence.starts_at),
        ends_at=to_timestamp(silence.ends_at),
    )


def covered(scope: Scope) -> Iterator[str]:
    """The fingerprints of what arrives and is silenced."""
    if not scope.arrivals:
        return
    first = min(arrived.first_at for arrived in scope.arrivals.values())
    last = max(arrived.last_at for arrived in scope.arrivals.values())
    buffer = scope.batch.buffer
    found = Silence.objects.between(first, last).filter(buffer__in=["", buffer])
    silences = [plain(silence) for silence in found]
    for fingerprint, arrived in scope.arrivals.items() if silences else ():
        times = to_timestamp(arrived.first_at), to_timestamp(arrived.last_at)
        if any(covers(each, buffer, arrived.first_value, *times) for each in silences):
            yield fingerprint
