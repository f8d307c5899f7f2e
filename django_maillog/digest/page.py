"""What a mail says, as the plain strings that its templates lay out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..policy import Reason
from . import timebar
from .clock import Clock
from .excerpts import one_line, visible
from .samples import Sample, share_out

if TYPE_CHECKING:
    from .mail import GroupReport, Report

NEWS = ("new", "regressed", "variant")
WHY = {
    Reason.LEVEL: "Sent at once, because of {a_level} record.",
    Reason.CAPACITY: "Sent now, because the buffer is full.",
    Reason.NEW: "Sent because something broke that was not seen before.",
    Reason.REGRESSED: "Sent because something is back that had been quiet.",
    Reason.VARIANT: "Sent because a known problem now shows in another place.",
    Reason.VOLUME: "Sent because a known problem has become much more frequent.",
    Reason.REPEAT: "A reminder: known problems go on.",
    Reason.FLUSH: "Sent because everything that was pending was asked for.",
    Reason.OUTAGE: "Sent straight from the spool, because the database could not be reached.",
}
STATES = {"regressed": "back after a quiet time", "variant": "a known problem in another place"}
ROWS_HEADING = "In short"
# Of a level and above: the colour by day, and the class that changes it at night.
TONES = ((50, "#b3001b", "bad"), (40, "#c5221f", "bad"), (30, "#b06000", "warn"), (0, "#1a66c2", "calm"))
OVERVIEW_SHOWN = 8
MESSAGES_SHOWN = 5
HOSTS_SHOWN = 4


class Plan(NamedTuple):
    """One rung of the size ladder: groups in full, groups as rows, bytes of HTML for all samples."""

    full: int
    rows: int
    samples: int


def level_name(level: int) -> str:
    return one_line(logging.getLevelName(level), 20)


def is_news(group: GroupReport) -> bool:
    return group.state in NEWS


def ranked(groups: Iterable[GroupReport]) -> list[GroupReport]:
    """News first, then by level, then by count; ties in a fixed order."""
    return sorted(
        groups,
        key=lambda group: (not is_news(group), -group.level, -group.count, group.title, group.fingerprint),
    )


class Composer:
    """Makes the templates' context of one report: plain strings and lists, cleaned and bounded."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.clock = Clock(report.sealed_at)
        self.groups = ranked(report.groups)
        self.reported = report.record_count - report.silenced_count
        self.single = self.reported == 1 and len(self.groups) == 1 and report.group_count == 1
        self._samples: dict[int, Sample] = {}

    def sample(self, number: int) -> Sample:
        """The sample of the group with this rank, cleaned once for all plans."""
        if number not in self._samples:
            self._samples[number] = Sample(self.groups[number].sample or {}, everything=self.single)
        return self._samples[number]

    def context(self, plan: Plan, remarks: list[str], problems: list[str]) -> dict[str, Any]:
        report, clock, groups = self.report, self.clock, self.groups
        full, rows = groups[: plan.full], groups[plan.full : plan.full + plan.rows]
        samples = [self.sample(number) for number in range(len(full))]
        rooms = share_out([sample.need for sample in samples], plan.samples)
        pages = [
            GroupPage(self, group, sample, room, width=30 if len(full) <= 6 else 16)
            for group, sample, room in zip(full, samples, rooms, strict=True)
        ]
        shortened = sum(page.fitted.is_shortened for page in pages)
        if shortened:
            remarks = [f"{counted(shortened, 'sample')} shortened to keep this mail small.", *remarks]
        return {
            "summary": single_summary(full[0], clock) if self.single else summary(report, clock),
            "why": "" if self.single and report.reason == Reason.FLUSH else why(report),
            "single": self.single,
            "buffer": one_line(report.buffer, 80),
            "level": level_name(report.level),
            "note": visible(report.note[:1000]),
            "url": report.batch_url,
            "overview": [_row(report, group) for group in groups[:OVERVIEW_SHOWN]] if len(groups) > 1 else [],
            "overview_rest": _more_groups(report.group_count - OVERVIEW_SHOWN),
            "sections": list(_sections(report, full, [page.context() for page in pages])),
            "rows": [_row(report, group) for group in rows],
            "rows_heading": ROWS_HEADING,
            "rows_rule": "=" * len(ROWS_HEADING),
            "rest": _rest(report, self.reported, full + rows),
            "remarks": [*_left_out(report), *remarks, *map(visible, problems)],
            "zone": clock.zone,
        }


def summary(report: Report, clock: Clock) -> str:
    """The first line: "213 errors in 3 groups, 2 new, 10:00–10:10 (Europe/Berlin)"."""
    reported = report.record_count - report.silenced_count
    parts = [f"{counted(reported, noun(report))} in {counted(report.group_count, 'group')}"]
    complete = len(report.groups) >= report.group_count
    new = sum(group.state == "new" for group in report.groups) if complete else report.new_count
    back = sum(group.state == "regressed" for group in report.groups) if complete else None
    if report.has_history:
        if new:
            parts.append("all new" if new == report.group_count and new > 1 else f"{new:,} new")
        if back:
            parts.append(f"{back:,} back")
        if new == 0 and not back:
            parts.append("none new")
    parts.append(f"{clock.range(report.first_at, report.last_at)} ({clock.zone})")
    return ", ".join(parts)


def single_summary(group: GroupReport, clock: Clock) -> str:
    return f"{level_name(group.level)} at {clock.exact(group.first_at)} ({clock.zone})"


def why(report: Report) -> str:
    sentence = (
        WHY.get(Reason(report.reason))
        if report.reason in list(Reason)
        else f"Sent because: {one_line(report.reason, 80)}."
    )
    name = level_name(report.level)
    return (sentence or "").replace("{a_level}", f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}")


def noun(report: Report) -> str:
    """What the records are called: "error" where all are, "warning", else "record"."""
    levels = [group.level for group in report.groups]
    if levels and min(levels) >= logging.ERROR:
        return "error"
    if levels and min(levels) >= logging.WARNING and max(levels) < logging.ERROR:
        return "warning"
    return "record"


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def tone(level: int) -> dict[str, str]:
    """The level's colour and class, for a template."""
    return next(
        {"colour": colour, "tone": name} for bound, colour, name in TONES if level >= bound or bound == 0
    )


class GroupPage:
    """One group in full."""

    def __init__(self, mail: Composer, group: GroupReport, sample: Sample, room: int, *, width: int) -> None:
        self.report, self.clock, self.single = mail.report, mail.clock, mail.single
        self.group, self.sample, self.width = group, sample, width
        self.fitted = sample.fit(room)

    def context(self) -> dict[str, Any]:
        group, sample = self.group, self.sample
        columns = (
            timebar.heights(group.spans, self.report.first_at, self.report.last_at, width=self.width)
            if group.count > 1 and not self.single
            else []
        )
        return {
            "title": one_line(group.title, 200) or "(no message)",
            "level": level_name(group.level),
            **tone(group.level),
            "logger": one_line(group.logger, 100),
            "where": sample.where,
            "state": STATES.get(group.state, "") if self.report.has_history else "",
            "count": f"{group.count:,}",
            "share": self.share(),
            "when": self.clock.exact_range(group.first_at, group.last_at)
            + (f" ({self.clock.zone})" if self.single else ""),
            "facts": list(self.facts()),
            "bar": timebar.blocks(columns) if any(columns) else "",
            "cells": timebar.cells(columns) if any(columns) else [],
            "bar_from": self.clock.minute(self.report.first_at),
            "bar_to": self.clock.minute(self.report.last_at),
            "messages": list(self.messages()),
            "request": sample.request,
            "blocks": self.fitted.blocks,
            "tables": self.fitted.tables,
            "url": group.url,
        }

    def share(self) -> str:
        reported = self.report.record_count - self.report.silenced_count
        if self.report.group_count < 2 or reported <= 0:
            return ""
        percent = 100 * self.group.count / reported
        return (
            "less than 1%"
            if percent < 1
            else f"{min(percent, 99 if self.group.count < reported else 100):.0f}%"
        )

    def facts(self) -> Iterator[str]:
        group, clock = self.group, self.clock
        if self.report.has_history and group.total > group.count:
            yield f"In all: {group.total:,} since {clock.exact(group.first_seen_at)}"
        if group.hosts:
            names = sorted(group.hosts, key=lambda name: (-group.hosts[name], name))
            shown = [
                one_line(name, 60) + (f" ×{group.hosts[name]:,}" if len(names) > 1 else "")
                for name in names[:HOSTS_SHOWN]
            ]
            if len(names) > HOSTS_SHOWN:
                shown.append(f"{len(names) - HOSTS_SHOWN:,} more")
            yield f"{'Host' if len(names) == 1 else 'Hosts'}: {', '.join(shown)}"
        if group.processes > 1:
            yield f"Processes: {group.processes:,}"
        if self.single:
            for name, key in (("Process", "process"), ("Thread", "thread"), ("Task", "task")):
                value = (group.sample or {}).get(key)
                if value and value != "MainThread":
                    yield f"{name}: {one_line(str(value), 80)}"

    def messages(self) -> Iterator[dict[str, str]]:
        title = one_line(self.group.title, 200)
        messages = [(text, count) for text, count in self.group.messages if text]
        others = sum(count for text, count in self.group.messages if not text)
        if len(messages) == 1 and not others and (self.single or one_line(messages[0][0], 200) in title):
            if one_line(messages[0][0], 200) not in title:
                yield {"count": "", "text": visible(messages[0][0][:2000])}
            return
        for text, count in messages[:MESSAGES_SHOWN]:
            yield {"count": f"{count:,}", "text": one_line(text, 300)}
        if hidden := messages[MESSAGES_SHOWN:]:
            yield {
                "count": f"{sum(count for _, count in hidden):,}",
                "text": f"in {counted(len(hidden), 'other message')}",
            }
        if others:
            yield {"count": f"{others:,}", "text": "in other messages"}


def _sections(
    report: Report, groups: list[GroupReport], shown: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    by_heading: dict[str, list[dict[str, Any]]] = {}
    for group, context in zip(groups, shown, strict=True):
        heading = (
            ("New" if is_news(group) else "Repeating")
            if report.has_history and report.record_count > 1
            else ""
        )
        by_heading.setdefault(heading, []).append(context)
    for heading, contexts in by_heading.items():
        yield {"heading": heading, "rule": "=" * len(heading), "groups": contexts}


def _row(report: Report, group: GroupReport) -> dict[str, str]:
    return {
        "count": f"{group.count:,}",
        "level": level_name(group.level),
        **tone(group.level),
        "title": one_line(group.title, 120) or "(no message)",
        "state": (group.state if is_news(group) else "known") if report.has_history else "",
        "url": group.url,
    }


def _rest(report: Report, reported: int, shown: list[GroupReport]) -> str:
    groups = report.group_count - len(shown)
    if groups <= 0:
        return ""
    records = reported - sum(group.count for group in shown)
    return f"And {counted(groups, 'more group')} with {counted(max(records, 0), noun(report))}."


def _more_groups(number: int) -> str:
    return f"and {counted(number, 'more group')}" if number > 0 else ""


def _left_out(report: Report) -> Iterator[str]:
    if number := report.silenced_count:
        yield f"{counted(number, 'record')} of silenced groups {'is' if number == 1 else 'are'} only counted."
    if number := report.lost_count:
        they_are = "it is" if number == 1 else "they are"
        reason = "since the spool was full or failed"
        yield f"{counted(number, 'record')} could not be kept, {reason}; {they_are} only counted."
