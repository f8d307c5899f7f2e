"""How a mail says it: reasons, states, counts and levels in words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from ..language import gettext as _
from ..language import gettext_noop, ngettext, pgettext
from ..policy import Reason
from .clock import Clock
from .excerpts import one_line
from .report import GroupReport, Report


class Why(NamedTuple):
    """Why a mail is sent: a sentence for the mail, and a clause for the admin."""

    sentence: str
    clause: str | Promise


WHY = {
    Reason.LEVEL: Why(
        gettext_noop("Sent at once, because of a record of level %(level)s."),
        gettext_lazy("a record at the flush level"),
    ),
    Reason.CAPACITY: Why(
        gettext_noop("Sent now, because the buffer is full."),
        gettext_lazy("the batch is full"),
    ),
    Reason.NEW: Why(
        gettext_noop("Sent because something broke that was not seen before."),
        gettext_lazy("something new broke"),
    ),
    Reason.REGRESSED: Why(
        gettext_noop("Sent because something is back that had been quiet."),
        gettext_lazy("something broke again"),
    ),
    Reason.VARIANT: Why(
        gettext_noop("Sent because a known problem now shows in another place."),
        gettext_lazy("a known problem in a new place"),
    ),
    Reason.VOLUME: Why(
        gettext_noop("Sent because a known problem has become much more frequent."),
        gettext_lazy("a known problem became frequent"),
    ),
    Reason.REPEAT: Why(
        gettext_noop("A reminder: known problems go on."),
        gettext_lazy("a reminder of known problems"),
    ),
    Reason.FLUSH: Why(
        gettext_noop("Sent because everything that was pending was asked for."),
        gettext_lazy("somebody asked for it"),
    ),
    Reason.OUTAGE: Why(
        gettext_noop("Sent straight from the spool, because the database could not be reached."),
        gettext_lazy("the database was away"),
    ),
}
# Of a level and above: the colour by day, and the class that changes it at night.
TONES = ((50, "#b3001b", "bad"), (40, "#c5221f", "bad"), (30, "#b06000", "warn"))
CALM = ("#1a66c2", "calm")


def level_name(level: int) -> str:
    return one_line(logging.getLevelName(level), 20)


def tone(level: int) -> dict[str, str]:
    """The level's colour and class, for a template."""
    colour, name = next(((colour, name) for bound, colour, name in TONES if level >= bound), CALM)
    return {"colour": colour, "tone": name}


def state(code: str) -> str:
    """The state of what a mail tells in detail; empty where the heading says it."""
    return _("back after a quiet time") if code == "regressed" else ""


def brief_state(code: str) -> str:
    """The same in a list of one line each."""
    states = {
        "new": pgettext("problem", "new"),
        "regressed": pgettext("problem", "back"),
        "known": pgettext("problem", "known"),
    }
    return states.get(code, code)


def records(report: Report, number: int) -> str:
    """So many records of the report: "3 errors" where all are, "3 warnings", else "3 records"."""
    levels = [group.level for group in report.groups]
    if levels and min(levels) >= logging.ERROR:
        return ngettext("%(number)s error", "%(number)s errors", number)
    if levels and min(levels) >= logging.WARNING and max(levels) < logging.ERROR:
        return ngettext("%(number)s warning", "%(number)s warnings", number)
    return any_records(number)


def any_records(number: int) -> str:
    return ngettext("%(number)s record", "%(number)s records", number)


def more_problems(number: int) -> str:
    return ngettext("%(number)s more problem", "%(number)s more problems", number)


def why(report: Report) -> str:
    if report.reason not in list(Reason):
        return _("Sent because: %(reason)s.") % {"reason": one_line(report.reason, 80)}
    return _(WHY[Reason(report.reason)].sentence) % {"level": level_name(report.level)}


def summary(report: Report, clock: Clock) -> str:
    """The first line: "213 errors in 3 problems, 2 new, 10:00–10:10 (Europe/Berlin)"."""
    if report.is_single:
        (group,) = report.groups
        facts = {"level": level_name(group.level), "time": clock.exact(group.first_at), "zone": clock.zone}
        return _("%(level)s at %(time)s (%(zone)s)") % facts
    problems = ngettext("%(number)s problem", "%(number)s problems", report.group_count)
    facts = {"records": records(report, report.reported_count), "problems": problems}
    parts = [_("%(records)s in %(problems)s") % facts]
    if report.has_history:
        parts += _novelty(report)
    return ", ".join([*parts, f"{clock.range(report.first_at, report.last_at)} ({clock.zone})"])


def _novelty(report: Report) -> Iterator[str]:
    new, back = report.new_count, 0
    if len(report.groups) >= report.group_count:
        states = [group.state for group in report.groups]
        new, back = states.count("new"), states.count("regressed")
    if new:
        is_all = new == report.group_count and new > 1
        yield _("all new") if is_all else ngettext("%(number)s new", "%(number)s new", new)
    if back:
        yield ngettext("%(number)s back", "%(number)s back", back)
    if new == 0 and not back:
        yield _("none new")


def share(report: Report, group: GroupReport) -> str:
    """How much of the mail is this group's."""
    if report.group_count < 2 or report.reported_count <= 0:
        return ""
    percent = 100 * group.count / report.reported_count
    if percent < 1:
        return _("less than %(percent)s%% of this mail") % {"percent": 1}
    number = round(min(percent, 99 if group.count < report.reported_count else 100))
    return _("%(percent)s%% of this mail") % {"percent": number}


def rest(report: Report, shown: list[GroupReport]) -> str:
    """The groups that are neither in detail nor as rows, as numbers."""
    groups = report.group_count - len(shown)
    if groups <= 0:
        return ""
    left = report.reported_count - sum(group.count for group in shown)
    facts = {"problems": more_problems(groups), "records": records(report, max(left, 0))}
    return _("And %(problems)s with %(records)s.") % facts


def lost(report: Report) -> str:
    """What of the records nobody will ever read."""
    if not (number := report.lost_count):
        return ""
    return ngettext(
        "%(number)s record could not be kept, since the spool was full or failed, or a line of it can't be "
        "imported; it is only counted.",
        "%(number)s records could not be kept, since the spool was full or failed, or a line of it can't be "
        "imported; they are only counted.",
        number,
    )


def left_out(report: Report, clock: Clock) -> Iterator[str]:
    """What no group of the mail stands for."""
    if not (number := report.silenced_count):
        return
    if report.silences:
        yield ngettext("%(number)s record is only counted.", "%(number)s records are only counted.", number)
    else:
        yield ngettext(
            "%(number)s record of silenced problems is only counted.",
            "%(number)s records of silenced problems are only counted.",
            number,
        )
    for silence in report.silences:
        facts = {
            "times": clock.range(silence.starts_at, silence.ends_at),
            "note": one_line(silence.note, 200),
        }
        yield (_("Silenced %(times)s: %(note)s.") if silence.note else _("Silenced %(times)s.")) % facts
