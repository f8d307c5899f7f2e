"""Erase what records say of one person; that something happened, and how often, stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from .models import Batch, Group, Record, Status
from .transactions import step_aside, write_alias, writing

CHUNK = 250
STEP_ASIDE_SECONDS = 0.02
ERASED = "(deleted)"
# All that a record, a group and a mail say in words of the project's, and what is left of it.
RECORD: dict[str, Any] = {
    "message": ERASED,
    "messages": {},
    "traceback": "",
    "request": None,
    "extra": None,
    "details": None,
    "html": "",
}
GROUP = {"title": ERASED}
SUBJECT = {"subject": ERASED}
MAIL = {"text": "", "html": ""}
Row = TypeVar("Row", bound=Model)
Progress = Callable[[int], object]


def erase_user(user: str, *, progress: Progress) -> int:
    """Erase the records of requests by a user, given by key or by name, and the mails that show them."""
    known = Q(request__user=user) | Q(request__user__startswith=f"{user} ")
    known |= Q(request__user__endswith=f" {user}")
    shown: set[str] = set()
    erased = 0
    for records in _pages(Record.objects.filter(known).only("request")):
        shown |= {str(record.request["user"]) for record in records if record.request}
        erased += _erase(records, RECORD, progress)
    return erased + sum(_erase_mails(text, progress) for text in shown)


def erase_text(text: str, *, progress: Progress) -> int:
    """Erase the records, titles and mails that contain a text, such as an address, in any case."""
    erased = 0
    for records in _pages(Record.objects.only(*RECORD)):
        erased += _erase(_containing(text, records, RECORD), RECORD, progress)
    for groups in _pages(Group.objects.only(*GROUP)):
        erased += _erase(_containing(text, groups, GROUP), GROUP, progress)
    return erased + _erase_mails(text, progress)


def _erase_mails(text: str, progress: Progress) -> int:
    """Erase the mails that contain a text. One that is still to be sent is made again, of what is left."""
    erased = 0
    for batches in _pages(Batch.objects.only(*SUBJECT, "status", "record_count", *MAIL)):
        found = _containing(text, batches, MAIL)
        erased += _erase(found, MAIL, progress)
        erased += _erase(_containing(text, batches, SUBJECT), SUBJECT, progress)
        # A copy that is to be sent again has no records to be made of.
        copies = [batch for batch in found if batch.status == Status.READY and not batch.record_count]
        _erase(copies, {"status": Status.CANCELLED}, progress)
    return erased


def _pages(rows: QuerySet[Row]) -> Iterator[list[Row]]:
    last = 0
    while page := list(rows.filter(pk__gt=last).order_by("pk")[:CHUNK]):
        yield page
        last = page[-1].pk


def _containing(text: str, rows: list[Row], fields: dict[str, Any]) -> list[Row]:
    wanted = text.casefold()
    return [row for row in rows if wanted in _said(row, fields).casefold()]


def _said(row: Model, fields: dict[str, Any]) -> str:
    values = (getattr(row, name) for name in fields)
    return "\n".join(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values
    )


def _erase(rows: list[Row], left: dict[str, Any], progress: Progress) -> int:
    if not rows:
        return 0
    alias = write_alias()
    with writing(alias):
        type(rows[0])._default_manager.filter(pk__in=[row.pk for row in rows]).update(**left)
    progress(len(rows))
    step_aside(alias, STEP_ASIDE_SECONDS)
    return len(rows)
