"""What a mail says, as the plain strings that its templates lay out."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import django

from .. import language
from ..language import gettext as _
from ..language import ngettext, pgettext
from ..policy import Reason
from . import timebar, words
from .clock import Clock
from .excerpts import clip_end, one_line, visible
from .report import GroupReport, Report
from .samples import SINGLE_MESSAGE, Fitted, Sample, circumstances, place_of, request_line, share_out

OVERVIEW_SHOWN = 8
MESSAGES_SHOWN = 5
HOSTS_SHOWN = 4
TITLE_SHOWN = 120
# Of these, where the title alone does not say which group it is.
PLACE_SHOWN = 70
VERSIONS = f"Python {platform.python_version()}, Django {django.get_version()}"


class Size(NamedTuple):
    """How much a mail says: groups in detail, groups as rows, bytes of HTML for all samples together."""

    detailed: int
    rows: int
    sample_bytes: int


class Composer:
    """Makes the templates' context of one report: plain strings and lists, cleaned and bounded."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.clock = Clock(report.sealed_at)
        self.groups = report.ranked
        self.single = report.is_single
        self._samples: dict[int, Sample] = {}
        self._names = {id(group): name for group, name in zip(self.groups, names(self.groups), strict=True)}

    def context(self, size: Size, remarks: list[str], problems: list[str]) -> dict[str, Any]:
        report, clock, groups = self.report, self.clock, self.groups
        detailed, rows = groups[: size.detailed], groups[size.detailed : size.detailed + size.rows]
        pages = self._pages(detailed, size)
        if shortened := sum(page.fitted.is_shortened for page in pages):
            said = ngettext(
                "%(number)s sample shortened to keep this mail small.",
                "%(number)s samples shortened to keep this mail small.",
                shortened,
            )
            remarks = [said, *remarks]
        hidden = report.group_count - OVERVIEW_SHOWN
        rows_heading = _("In short")
        about = {"buffer": one_line(report.buffer, 80), "zone": clock.zone, "versions": VERSIONS}
        return {
            "summary": words.summary(report, clock),
            "why": "" if self.single and report.reason == Reason.FLUSH else words.why(report),
            "single": self.single,
            "level": words.level_name(report.level),
            "note": visible("\n".join(filter(None, [report.note[:2000], words.lost(report)]))),
            "url": report.batch_url,
            "overview": [self._row(group) for group in groups[:OVERVIEW_SHOWN]] if len(groups) > 1 else [],
            "overview_rest": _("and %(problems)s") % {"problems": words.more_problems(hidden)}
            if hidden > 0
            else "",
            "sections": list(_sections(report, pages)),
            "rows": [self._row(group) for group in rows],
            "rows_heading": rows_heading,
            "rows_rule": "=" * len(rows_heading),
            "rest": words.rest(report, detailed + rows),
            "remarks": [*words.left_out(report, clock), *remarks, *map(visible, problems)],
            **about,
            "footer": _("Buffer %(buffer)s. Times are in %(zone)s. %(versions)s.") % about,
            "language": language.code(),
            "labels": labels(),
        }

    def _pages(self, groups: list[GroupReport], size: Size) -> list[GroupPage]:
        samples = [self._sample(number) for number in range(len(groups))]
        rooms = share_out([sample.need for sample in samples], size.sample_bytes)
        before = share_out([sample.need_before for sample in samples], size.sample_bytes - sum(rooms))
        fitted = [sample.fit(*given) for sample, *given in zip(samples, rooms, before, strict=True)]
        return [
            GroupPage(self, group, sample, fit, width=30 if len(groups) <= 6 else 16)
            for group, sample, fit in zip(groups, samples, fitted, strict=True)
        ]

    def _sample(self, number: int) -> Sample:
        """The sample of the group with this rank, cleaned once for all sizes."""
        if number not in self._samples:
            self._samples[number] = Sample(self.groups[number].sample or {}, everything=self.single)
        return self._samples[number]

    def _row(self, group: GroupReport) -> dict[str, str]:
        """The group in one line."""
        state = (group.state if group.is_news else "known") if self.report.has_history else ""
        return {
            "count": language.formatted(group.count),
            "level": words.level_name(group.level),
            **words.tone(group.level),
            "title": self._names[id(group)],
            "state": state,
            "state_name": words.brief_state(state),
            "url": group.url,
            "action_url": group.action_url,
        }


class GroupPage:
    """One group in detail."""

    def __init__(
        self, mail: Composer, group: GroupReport, sample: Sample, fitted: Fitted, *, width: int
    ) -> None:
        self.report, self.clock, self.single = mail.report, mail.clock, mail.single
        self.group, self.sample, self.width = group, sample, width
        self.fitted = fitted

    def context(self) -> dict[str, Any]:
        report, group, sample = self.report, self.group, self.sample
        has_bar = group.count > 1 and not self.single
        columns = timebar.heights(group.spans, report.first_at, report.last_at, width=self.width)
        when = self.clock.range(group.first_at, group.last_at, exact=True)
        return {
            "title": one_line(group.title, 200) or _("(no message)"),
            "level": words.level_name(group.level),
            **words.tone(group.level),
            "logger": one_line(group.logger, 100),
            "where": sample.where,
            "state": words.state(group.state) if report.has_history else "",
            "count": language.formatted(group.count),
            "share": words.share(report, group),
            "when": f"{when} ({self.clock.zone})" if self.single else when,
            "facts": list(self._facts()),
            "bar": timebar.blocks(columns) if has_bar else "",
            "cells": timebar.cells(columns) if has_bar else [],
            "bar_from": self.clock.minute(report.first_at),
            "bar_to": self.clock.minute(report.last_at),
            "values": list(_counted(group.titles, _other_values)) if len(group.titles) > 1 else [],
            "messages": list(self._messages()),
            "request": sample.request,
            "blocks": self.fitted.blocks,
            "tables": self.fitted.tables,
            "url": group.url,
            "action_url": group.action_url,
        }

    def _facts(self) -> Iterator[str]:
        group = self.group
        yield from circumstances(group.sample or {})
        if release := self._release():
            yield release
        if self.report.has_history and group.total > group.count:
            since = self.clock.exact(group.first_seen_at)
            yield _("In all: %(number)s since %(time)s") % {
                "number": language.formatted(group.total),
                "time": since,
            }
        if group.hosts:
            yield self._hosts()
        if group.processes > 1:
            yield _("Processes: %(number)s") % {"number": language.formatted(group.processes)}
        if self.single:
            for name, key in ((_("Process"), "process"), (_("Thread"), "thread"), (_("Task"), "task")):
                value = group.sample and group.sample.get(key)
                if value and value != "MainThread":
                    yield f"{name}: {one_line(str(value), 80)}"

    def _release(self) -> str:
        first, last = (one_line(text, 60) for text in (self.group.first_release, self.group.last_release))
        if not last:
            return ""
        if self.group.state == "regressed":
            said = _("Release: back in %(last)s, first seen in %(first)s")
        else:
            said = (
                _("Release: %(last)s") if first == last else _("Release: %(last)s, first seen in %(first)s")
            )
        return said % {"last": last, "first": first}

    def _hosts(self) -> str:
        hosts = self.group.hosts
        names = sorted(hosts, key=lambda name: (-hosts[name], name))
        if len(names) == 1:
            return _("Host: %(name)s") % {"name": one_line(names[0], 60)}
        shown = [f"{one_line(name, 60)} ×{language.formatted(hosts[name])}" for name in names[:HOSTS_SHOWN]]
        if len(names) > HOSTS_SHOWN:
            shown.append(ngettext("%(number)s more", "%(number)s more", len(names) - HOSTS_SHOWN))
        return _("Hosts: %(names)s") % {"names": ", ".join(shown)}

    def _messages(self) -> Iterator[dict[str, str]]:
        title = one_line(self.group.title, 200)
        messages = [(text, count) for text, count in self.group.messages if text]
        others = sum(count for text, count in self.group.messages if not text)
        if len(messages) == 1 and not others:
            text = self.sample.message if self.single and self.sample.message else messages[0][0]
            is_told = one_line(text, len(text) + 1) in title
            if self.single and not is_told:
                yield {"count": "", "text": visible(clip_end(text, SINGLE_MESSAGE))}
            if self.single or is_told:
                return
        yield from _counted(self.group.messages, _other_messages)


def _other_values(number: int | None) -> str:
    """So many other values; None: nobody knows how many."""
    if number is None:
        return _("in other values")
    return ngettext("in %(number)s other value", "in %(number)s other values", number)


def _other_messages(number: int | None) -> str:
    if number is None:
        return _("in other messages")
    return ngettext("in %(number)s other message", "in %(number)s other messages", number)


def _counted(
    texts: list[tuple[str, int]], others_of: Callable[[int | None], str]
) -> Iterator[dict[str, str]]:
    """The most frequent of some texts, the rest as numbers; "" stands for all that were not kept apart."""
    named = [(text, count) for text, count in texts if text]
    for text, count in named[:MESSAGES_SHOWN]:
        yield {"count": language.formatted(count), "text": one_line(text, 300)}
    if hidden := named[MESSAGES_SHOWN:]:
        number = sum(count for _, count in hidden)
        yield {"count": language.formatted(number), "text": others_of(len(hidden))}
    if others := sum(count for text, count in texts if not text):
        yield {"count": language.formatted(others), "text": others_of(None)}


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


def _sections(report: Report, pages: list[GroupPage]) -> Iterator[dict[str, Any]]:
    """The groups in detail under their headings."""
    by_heading: dict[str, list[dict[str, Any]]] = {}
    for page in pages:
        has_heading = report.has_history and not report.is_single
        heading = (
            (pgettext("problems", "New") if page.group.is_news else pgettext("problems", "Repeating"))
            if has_heading
            else ""
        )
        by_heading.setdefault(heading, []).append(page.context())
    for heading, contexts in by_heading.items():
        yield {"heading": heading, "rule": "=" * len(heading), "groups": contexts}


def names(groups: list[GroupReport]) -> list[str]:
    """What to call each group on one line: its title; where some are equal the place, else the request."""
    titles = [one_line(group.title, TITLE_SHOWN) or _("(no message)") for group in groups]
    told = [""] * len(groups)
    for difference in (_place, _request):
        counts = Counter(zip(titles, told, strict=True))
        for index, group in enumerate(groups):
            if counts[titles[index], told[index]] > 1 and (more := difference(group)):
                told[index] = one_line(f"{told[index]}, {more}".removeprefix(", "), PLACE_SHOWN)
    return [
        f"{one_line(title, TITLE_SHOWN - len(place) - 3)} ({place})" if place else title
        for title, place in zip(titles, told, strict=True)
    ]


def _place(group: GroupReport) -> str:
    where = place_of(group.sample or {})
    return _("at %(place)s") % {"place": where} if where else ""


def _request(group: GroupReport) -> str:
    return request_line(group.sample or {})
