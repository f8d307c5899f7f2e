"""How a mail says it: reasons, states, counts and levels in words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ..policy import Reason
from .clock import Clock
from .excerpts import one_line
from .report import GroupReport, Report


class Why(NamedTuple):
    """Why a mail is sent: a sentence for the mail, which is in English, and a clause for the admin."""

    sentence: str
    clause: str | Promise


WHY = {
    Reason.LEVEL: Why(
        "Sent at once, because of {a_level} record.",
        _("a record at the flush level"),
    ),
    Reason.CAPACITY: Why(
        "Sent now, because the buffer is full.",
        _("the batch is full"),
    ),
    Reason.NEW: Why(
        "Sent because something broke that was not seen before.",
        _("something new broke"),
    ),
    Reason.REGRESSED: Why(
        "Sent because something is back that had been quiet.",
        _("something broke again"),
    ),
    Reason.VARIANT: Why(
        "Sent because a known problem now shows in another place.",
        _("a new variant of a known error"),
    ),
    Reason.VOLUME: Why(
        "Sent because a known problem has become much more frequent.",
        _("an error became frequent"),
    ),
    Reason.REPEAT: Why(
        "A reminder: known problems go on.",
        _("a reminder of known errors"),
    ),
    Reason.FLUSH: Why(
        "Sent because everything that was pending was asked for.",
        _("somebody asked for it"),
    ),
    Reason.OUTAGE: Why(
        "Sent straight from the spool, because the database could not be reached.",
        _("the database was away"),
    ),
}
STATES = {"regressed": "back after a quiet time", "variant": "a known problem in another place"}
# Of a level and above: the colour by day, and the class that changes it at night.
TONES = ((50, "#b3001b", "bad"), (40, "#c5221f", "bad"), (30, "#b06000", "warn"))
CALM = ("#1a66c2", "calm")


def level_name(level: int) -> str:
    return one_line(logging.getLevelName(level), 20)


def tone(level: int) -> dict[str, str]:
    """The level's colour and class, for a template."""
    colour, name = next(((colour, name) for bound, colour, name in TONES if level >= bound), CALM)
    return {"colour": colour, "tone": name}


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def noun(report: Report) -> str:
    """What the records are called: "error" where all are, "warning", else "record"."""
    levels = [group.level for group in report.groups]
    if levels and min(levels) >= logging.ERROR:
        return "error"
    if levels and min(levels) >= logging.WARNING and max(levels) < logging.ERROR:
        return "warning"
    return "record"


def why(report: Report) -> str:
    if report.reason not in list(Reason):
        return f"Sent because: {one_line(report.reason, 80)}."
    name = level_name(report.level)
    sentence = WHY[Reason(report.reason)].sentence
    return sentence.replace("{a_level}", f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}")


def summary(report: Report, clock: Clock) -> str:
    """The first line: "213 errors in 3 problems, 2 new, 10:00–10:10 (Europe/Berlin)"."""
    if report.is_single:
        (group,) = report.groups
        return f"{level_name(group.level)} at {clock.exact(group.first_at)} ({clock.zone})"
    parts = [f"{counted(report.reported_count, noun(report))} in {counted(report.group_count, 'problem')}"]
    if report.has_history:
        parts += _novelty(report)
    return ", ".join([*parts, f"{clock.range(report.first_at, report.last_at)} ({clock.zone})"])


def _novelty(report: Report) -> Iterator[str]:
    complete = len(report.groups) >= report.group_count
    new = sum(group.state == "new" for group in report.groups) if complete else report.new_count
    back = sum(group.state == "regressed" for group in report.groups) if complete else None
    if new:
        yield "all new" if new == report.group_count and new > 1 else f"{new:,} new"
    if back:
        yield f"{back:,} back"
    if new == 0 and not back:
        yield "none new"


def share(report: Report, group: GroupReport) -> str:
    """How much of the mail is this group's."""
    if report.group_count < 2 or report.reported_count <= 0:
        return ""
    percent = 100 * group.count / report.reported_count
    if percent < 1:
        return "less than 1%"
    return f"{min(percent, 99 if group.count < report.reported_count else 100):.0f}%"


def rest(report: Report, shown: list[GroupReport]) -> str:
    """The groups that are neither in detail nor as rows, as numbers."""
    groups = report.group_count - len(shown)
    if groups <= 0:
        return ""
    records = report.reported_count - sum(group.count for group in shown)
    return f"And {counted(groups, 'more problem')} with {counted(max(records, 0), noun(report))}."


def lost(report: Report) -> str:
    """What of the records nobody will ever read."""
    if not (number := report.lost_count):
        return ""
    they_are = "it is" if number == 1 else "they are"
    reason = "since the spool was full or failed, or a line of it can't be imported"
    return f"{counted(number, 'record')} could not be kept, {reason}; {they_are} only counted."


def left_out(report: Report, clock: Clock) -> Iterator[str]:
    """What no group of the mail stands for."""
    if number := report.silenced_count:
        of = "" if report.silences else " of silenced problems"
        yield f"{counted(number, 'record')}{of} {'is' if number == 1 else 'are'} only counted."
    for silence in report.silences if report.silenced_count else ():
        note = f": {one_line(silence.note, 200)}" if silence.note else ""
        yield f"Silenced {clock.range(silence.starts_at, silence.ends_at)}{note}."
