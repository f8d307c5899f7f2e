"""Erase what records say of one person; that something happened, and how often, stays."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from html import unescape
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from . import charset
from .digest.excerpts import one_line, visible
from .digest.samples import user_line
from .language import each_language
from .models import Batch, Group, Record, Status
from .transactions import step_aside, write_alias, writing

CHUNK = 250
STEP_ASIDE_SECONDS = 0.02
ERASED = "(deleted)"
# All that a record, a group and a mail say in words of the project's, and what is left of it.
RECORD: dict[str, Any] = {
    "message": ERASED,
    "messages": {},
    "titles": {},
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
Finds = Callable[[str], object]


def erase_user(user: str, *, progress: Progress) -> int:
    """Erase the records of requests by a user, given by key or by name, and the mails that show them."""
    user = charset.storable(write_alias(), user)
    known = Q(request__user=user) | Q(request__user__startswith=f"{user} ")
    known |= Q(request__user__endswith=f" {user}")
    shown: set[str] = set()
    erased = 0
    for records in _pages(Record.objects.filter(known).only("request")):
        shown |= {str(record.request["user"]) for record in records if record.request}
        erased += _erase(records, RECORD, progress)
    return erased + _erase_mails(_finds_user(user, shown), progress)


def erase_text(text: str, *, progress: Progress) -> int:
    """Erase the records, titles and mails that contain a text, such as an address, in any case."""
    finds = _finds_text(text)
    erased = 0
    for records in _pages(Record.objects.only(*RECORD)):
        erased += _erase(_found(finds, records, RECORD), RECORD, progress)
    for groups in _pages(Group.objects.only(*GROUP)):
        erased += _erase(_found(finds, groups, GROUP), GROUP, progress)
    return erased + _erase_mails(finds, progress)


def _erase_mails(finds: Finds, progress: Progress) -> int:
    """Erase the mails in which something is found. One still to be sent is made again, of what is left."""
    erased = 0
    for batches in _pages(Batch.objects.only(*SUBJECT, "status", "record_count", *MAIL)):
        found = _found(finds, batches, MAIL)
        erased += _erase(found, MAIL, progress)
        erased += _erase(_found(finds, batches, SUBJECT), SUBJECT, progress)
        # A copy that is to be sent again has no records to be made of.
        copies = [batch for batch in found if batch.status == Status.READY and not batch.record_count]
        _erase(copies, {"status": Status.CANCELLED}, progress)
    return erased


def _finds_user(user: str, shown: Iterable[str]) -> Finds:
    """Find the line of a mail that says whose request it was; a key together with a name anywhere.

    A key alone may be any number of the mail's, and the record that the line came from may be pruned.
    """
    name = re.escape(one_line(user, 80))
    patterns = [rf"(?<!\w)(?i:{re.escape(one_line(each, 80))})(?!\w)" for each in shown if " " in each]
    for _language in each_language():
        before, _mark, after = charset.storable(write_alias(), user_line("|")).partition("|")
        patterns.append(rf"^ *{re.escape(before)}(?:{name}|{name} .*|.* {name}){re.escape(after)} *$")
    return re.compile("|".join(patterns), re.MULTILINE).search


def _finds_text(text: str) -> Finds:
    """Find a text as it is, and as JSON, Python and we escape what is in it."""
    stored = charset.storable(write_alias(), text)
    forms = {text, stored, visible(text), text.encode("unicode_escape").decode()}
    forms |= {
        json.dumps(form, ensure_ascii=ascii)[1:-1] for form in (text, stored) for ascii in (True, False)
    }
    wanted = {_levelled(form) for form in forms}

    def finds(said: str) -> bool:
        levelled = _levelled(said)
        return any(form in levelled for form in wanted)

    return finds


def _levelled(text: str) -> str:
    """The text in small letters, however often it was escaped and wherever its lines were broken."""
    if "\\" in text:
        text = re.sub(r"\\+(?=[\"'])", "", text)
        text = re.sub(r"\\+", r"\\", text)
    # The bars keep a blank at either end.
    return " ".join(f"|{text}|".split())[1:-1].casefold()


def _pages(rows: QuerySet[Row]) -> Iterator[list[Row]]:
    last = 0
    while page := list(rows.filter(pk__gt=last).order_by("pk")[:CHUNK]):
        yield page
        last = page[-1].pk


def _found(finds: Finds, rows: list[Row], fields: dict[str, Any]) -> list[Row]:
    return [row for row in rows if any(map(finds, _texts(row, fields)))]


def _texts(row: Model, fields: dict[str, Any]) -> Iterator[str]:
    """The texts of some fields, that of HTML as its reader sees it, too: a line for each piece."""
    for name in fields:
        yield from _strings(getattr(row, name))
        if name == "html":
            yield unescape(re.sub("<[^>]*>| · ", "\n", getattr(row, name)))


def _strings(value: Any) -> Iterator[str]:
    """All strings in a value of JSON, keys included; other values as JSON has them."""
    if isinstance(value, dict):
        for item in (*value, *value.values()):
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif value is not None:
        yield value if isinstance(value, str) else json.dumps(value)


def _erase(rows: list[Row], left: dict[str, Any], progress: Progress) -> int:
    if not rows:
        return 0
    alias = write_alias()
    with writing(alias):
        type(rows[0])._default_manager.filter(pk__in=[row.pk for row in rows]).update(**left)
    progress(len(rows))
    step_aside(alias, STEP_ASIDE_SECONDS)
    return len(rows)
