"""What led to a record, as people read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..language import formatted
from ..language import gettext as _
from .excerpts import one_line, visible, weight
from .words import level_name

SHOWN = 20
# Characters of a line in a mail.
LINE_LIMIT = 300


class LineBefore(NamedTuple):
    """How long before the record a line was logged, and what it says."""

    ago: str
    level: str
    logger: str
    message: str


class Before:
    """The lines that led to a captured record, and where."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        context = _mapping(value.get("context"))
        lines = context.get("lines")
        lines = map(_mapping, lines) if isinstance(lines, list) else ()
        self.lines = [_line(line, value.get("time")) for line in lines if line]
        self.heading = _heading(str(context.get("scope")))
        self._texts = [_text(line) for line in self.lines[-SHOWN:]]
        self.need = sum(weight(text) for text in self._texts)

    def block(self, room: int) -> dict[str, Any] | None:
        """The last lines in so many bytes of HTML, and how many there are; None if there is room for none."""
        shown: list[str] = []
        for text in reversed(self._texts):
            room -= weight(text)
            if room < 0:
                break
            shown.insert(0, text)
        if not shown:
            return None
        heading = self.heading
        if len(shown) < len(self.lines):
            facts = {"heading": heading, "shown": len(shown), "number": formatted(len(self.lines))}
            heading = _("%(heading)s, the last %(shown)s of %(number)s lines") % facts
        text = "".join(shown).rstrip("\n")
        return {"heading": heading, "parts": [{"kind": "", "text": text}], "text": text}


def _mapping(value: object) -> Mapping[str, Any]:
    """The value, for which a row or a spool file may hold anything."""
    return value if isinstance(value, Mapping) else {}


def _heading(scope: str) -> str:
    return {
        "request": _("Before it, in this request"),
        "task": _("Before it, in this task"),
        "thread": _("Before it, in this thread"),
    }.get(scope, _("Before it, in the same place"))


def _text(line: LineBefore) -> str:
    said = one_line(f"{line.level} {line.logger}: {line.message}", LINE_LIMIT)
    return f"{line.ago:>11}  {said}\n"


def _line(line: Mapping[str, Any], now: object) -> LineBefore:
    level, exception = line.get("level"), line.get("exception")
    message = visible(str(line.get("message", "")))
    return LineBefore(
        ago=_ago(line.get("time"), now),
        level=level_name(level if isinstance(level, int) else 0),
        logger=str(line.get("logger", "")),
        message=f"{message} [{exception}]" if exception else message,
    )


def _ago(time: object, now: object) -> str:
    """``-0.213 s``; from a minute on in minutes, from two hours on in hours."""
    if not isinstance(time, (int, float)) or not isinstance(now, (int, float)):
        return ""
    seconds = now - time
    if seconds < 60:
        return f"-{max(seconds, 0):.3f} s"
    return f"-{seconds / 60:.1f} min" if seconds < 7200 else f"-{seconds / 3600:.1f} h"
