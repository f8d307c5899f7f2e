"""The page of one record: where it came from, its traceback and request, and what led to it."""

from __future__ import annotations

import json
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from .. import moments
from ..digest.before import Before
from ..frames import Section, sections
from ..language import formatted
from ..models import Record
from . import words


def record_context(record: Record) -> dict[str, Any]:
    """What the template of one record in full shows."""
    now = timezone.now()
    details = dict(record.details or {})
    request = dict(record.request or {})
    before = Before({**details, "time": moments.to_timestamp(record.first_at)})
    tables = [
        (name, _pairs(request.pop(name)))
        for name in ("GET", "POST", "META")
        if isinstance(request.get(name), dict)
    ]
    return {
        "record": record,
        "level": words.level_badge(record.level),
        "facts": [(label, value) for label, value in _facts(record, details, now) if value not in ("", None)],
        "sections": folded(record.traceback),
        "stack": details.get("stack_info", ""),
        "formatted": details.get("formatted", ""),
        "before": [(f"{line.ago} {line.level} {line.logger}", line.message) for line in before.lines],
        "before_heading": before.heading,
        "request": _pairs(request),
        "tables": [(name, pairs) for name, pairs in tables if pairs],
        "extra": _pairs(record.extra or {}),
        "messages": sorted(record.messages.items(), key=lambda item: -item[1]),
        "values": sorted(record.titles.items(), key=lambda item: -item[1]),
        "cut": ", ".join(map(str, details.get("cut") or ())),
    }


def folded(traceback: str) -> list[tuple[str, int]]:
    """A traceback in stretches, each with the number of library frames in it if it is to be folded.

    The frame in which an exception was raised is never folded.
    """
    followed = pairwise([*sections(traceback), Section("")])
    marked = ((each.kind == "library" and then.frame is not None, each.text) for each, then in followed)
    stretches = [(fold, [text for _fold, text in run]) for fold, run in groupby(marked, key=itemgetter(0))]
    return [("".join(texts).rstrip("\n"), len(texts) if fold else 0) for fold, texts in stretches]


def _facts(record: Record, details: dict[str, Any], now: Any) -> list[tuple[str, Any]]:
    one_moment = record.last_at == record.first_at
    moment = (
        words.when(record.first_at, now) if one_moment else words.span(record.first_at, record.last_at, now)
    )
    thread, task = details.get("thread"), details.get("task")
    return [
        (_("Time"), moment),
        (_("Logger"), record.logger),
        (_("Records"), formatted(record.count) if record.count > 1 else ""),
        (_("Where"), record.where),
        (_("Release"), details.get("release")),
        (_("Host"), record.host),
        (_("Process"), f"{record.process} {details.get('process_name') or ''}".strip()),
        (_("Thread"), f"{thread} / {task}" if thread and task else thread or task),
        (_("Template"), details.get("template") if details.get("template") != record.message else ""),
    ]


def _pairs(values: dict[str, Any]) -> list[tuple[str, str]]:
    """The items of a JSON object, each value as text."""
    return [(str(name), _text(value)) for name, value in values.items()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, default=str)
