"""What a mail says, as the plain strings that its templates lay out."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import django

from .. import language
from ..language import gettext as _
from ..language import ngettext, pgettext
from ..policy import Reason
from . import words
from .clock import Clock
from .excerpts import one_line, visible
from .problem import Listed, in_full
from .report import GroupReport, Report
from .samples import Fitted, Sample, place_of, request_line, share_out

OVERVIEW_SHOWN = 8
TITLE_SHOWN = 120
# Of these, where the title alone does not say which group it is.
PLACE_SHOWN = 70
VERSIONS = f"Python {platform.python_version()}, Django {django.get_version()}"


class Size(NamedTuple):
    """How much a mail says: groups in detail, groups as rows, bytes of HTML for all samples together.

    ``listed`` is for each group in detail, once for its values and once for its messages.
    """

    detailed: int
    rows: int
    sample_bytes: int
    listed: Listed


# The first in which a mail fits its limits is taken.
SIZES = (
    Size(detailed=20, rows=100, sample_bytes=56_000, listed=Listed(5, length=300)),
    Size(detailed=20, rows=60, sample_bytes=33_000, listed=Listed(3, length=120)),
    Size(detailed=20, rows=60, sample_bytes=16_000, listed=Listed(2, length=80)),
    Size(detailed=8, rows=40, sample_bytes=12_000, listed=Listed(2, length=80)),
    Size(detailed=2, rows=30, sample_bytes=3_000, listed=Listed(2, length=80)),
)


class Composer:
    """Makes the templates' context of one report: plain strings and lists, cleaned and bounded."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._clock = Clock(report.sealed_at)
        self._groups = report.ranked
        # Cleaned once for all sizes.
        self._samples = [
            Sample(group.sample or {}, everything=report.is_single)
            for group in self._groups[: SIZES[0].detailed]
        ]
        named = zip(self._groups, names(self._groups), strict=True)
        # A mail's only group is not told in a row as well.
        self._rows = [self._row(*each) for each in named] if len(self._groups) > 1 else []

    def context(self, size: Size, remarks: list[str]) -> dict[str, Any]:
        report, clock = self._report, self._clock
        fitted = self._fitted(size)
        if shortened := sum(each.is_shortened for each in fitted):
            said = ngettext(
                "%(number)s sample shortened to keep this mail small.",
                "%(number)s samples shortened to keep this mail small.",
                shortened,
            )
            remarks = [said, *remarks]
        shown = size.detailed + size.rows
        hidden = report.group_count - OVERVIEW_SHOWN
        more = _("and %(problems)s") % {"problems": words.more_problems(hidden)} if hidden > 0 else ""
        rows_heading = _("In short")
        about = {"buffer": one_line(report.buffer, 80), "zone": clock.zone, "versions": VERSIONS}
        return {
            "summary": words.summary(report, clock),
            "why": "" if report.is_single and report.reason == Reason.FLUSH else words.why(report),
            "single": report.is_single,
            "level": words.level_name(report.level),
            "note": visible("\n".join(filter(None, [report.note[:2000], words.lost(report)]))),
            "url": report.batch_url,
            "overview": self._rows[:OVERVIEW_SHOWN],
            "overview_rest": more,
            "sections": self._sections(fitted, size.listed),
            "rows": self._rows[size.detailed : shown],
            "rows_heading": rows_heading,
            "rows_rule": "=" * len(rows_heading),
            "rest": words.rest(report, self._groups[:shown]),
            "remarks": [*words.left_out(report, clock), *remarks],
            **about,
            "footer": _("Buffer %(buffer)s. Times are in %(zone)s. %(versions)s.") % about,
            "language": language.code(),
            "labels": labels(),
        }

    def _fitted(self, size: Size) -> list[Fitted]:
        """The samples of the groups in detail, in the room that this size has for them."""
        samples = self._samples[: size.detailed]
        rooms = share_out([sample.need for sample in samples], size.sample_bytes)
        before = share_out([sample.need_before for sample in samples], size.sample_bytes - sum(rooms))
        return [sample.fit(*given) for sample, *given in zip(samples, rooms, before, strict=True)]

    def _sections(self, fitted: list[Fitted], listed: Listed) -> list[dict[str, Any]]:
        """The groups in detail under their headings."""
        report = self._report
        problems: dict[str, list[dict[str, Any]]] = {}
        bar_width = 30 if len(fitted) <= 6 else 16
        # There may be more groups and samples than are shown in this size.
        for group, sample, fit in zip(self._groups, self._samples, fitted, strict=False):
            heading = ""
            if report.has_history and not report.is_single:
                heading = pgettext("problems", "New") if group.is_news else pgettext("problems", "Repeating")
            problem = in_full(report, self._clock, group, sample, fit, listed=listed, bar_width=bar_width)
            problems.setdefault(heading, []).append(problem)
        return [
            {"heading": heading, "rule": "=" * len(heading), "groups": groups}
            for heading, groups in problems.items()
        ]

    def _row(self, group: GroupReport, name: str) -> dict[str, str]:
        """The group in one line."""
        state = (group.state if group.is_news else "known") if self._report.has_history else ""
        return {
            "count": language.formatted(group.count),
            "level": words.level_name(group.level),
            **words.tone(group.level),
            "title": name,
            "state": state,
            "state_name": words.brief_state(state),
            "url": group.url,
            "action_url": group.action_url,
        }


def labels() -> dict[str, str]:
    """What the templates write around all this."""
    return {
        "see_all": _("See all of it in the admin"),
        "see_it": _("See it in the admin"),
        "open": _("Open this problem"),
        "act": _("Silence or resolve it"),
        "for_example": _("e.g."),
        # Translators: between a level and a logger: "ERROR in shop.views".
        "logged_in": pgettext("logger", "in"),
        # Translators: before the place in the code.
        "failed_at": pgettext("code", "at"),
        "known": words.brief_state("known"),
    }


def names(groups: list[GroupReport]) -> Iterator[str]:
    """What to call each group on one line: its title; where some are equal the place, else the request."""
    titles = [one_line(group.title, TITLE_SHOWN) or _("(no message)") for group in groups]
    told = [""] * len(groups)
    for difference in (_place, _request):
        counts = Counter(zip(titles, told, strict=True))
        for index, group in enumerate(groups):
            if counts[titles[index], told[index]] > 1 and (more := difference(group)):
                told[index] = one_line(f"{told[index]}, {more}".removeprefix(", "), PLACE_SHOWN)
    for title, place in zip(titles, told, strict=True):
        yield f"{one_line(title, TITLE_SHOWN - len(place) - 3)} ({place})" if place else title


def _place(group: GroupReport) -> str:
    where = place_of(group.sample or {})
    return _("at %(place)s") % {"place": where} if where else ""


def _request(group: GroupReport) -> str:
    return request_line(group.sample or {})
