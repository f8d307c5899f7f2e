"""Changes of many groups' rows, which imports lock, too."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import connections, transaction

from ..models import Batch, Group
from ..transactions import write_alias

PAGE = 500  # rows that are locked together


def mark_mailed(batch: Batch, now: datetime) -> None:
    """Note in the batch's groups that their mail is out."""
    mailed = Group.objects.filter(batch=batch)
    if _locks_rows():
        update_groups(mailed.values_list("pk", flat=True), notified_at=now)
    else:
        mailed.update(notified_at=now)


def update_groups(keys: Iterable[int], **changes: object) -> None:
    """Change the groups with these keys, in portions."""
    ordered = sorted(keys)
    for start in range(0, len(ordered), PAGE):
        _update(ordered[start : start + PAGE], changes)


def _update(keys: list[int], changes: dict[str, object]) -> None:
    rows = Group.objects.filter(pk__in=keys)
    with transaction.atomic(using=write_alias()):
        if _locks_rows():
            # In the order in which imports lock them, or one would wait for the other in a circle.
            list(rows.order_by("pk").select_for_update().values_list("pk"))
        rows.update(**changes)


def _locks_rows() -> bool:
    return connections[write_alias()].features.has_select_for_update
