"""What a mail says, as the plain strings that its templates lay out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils.timezone import get_default_timezone, get_default_timezone_name

from . import timebar
from .excerpts import cut_middle, location, one_line, shorten, visible, weight, where
from .policy import Reason

if TYPE_CHECKING:
    from .digest import GroupReport, Report

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
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
STATES = {
    "new": "new",
    "regressed": "back after a quiet time",
    "variant": "a known problem in another place",
    "repeat": "known",
}
SECTIONS = {
    "new": "New",
    "regressed": "Back",
    "variant": "Known problems in another place",
    "repeat": "Repeating",
}
ROWS_HEADING = "In short"
COLOURS = ((50, "#b3001b"), (40, "#d93025"), (30, "#c26401"), (0, "#1a66c2"))
META_SHOWN = ("HTTP_HOST", "HTTP_REFERER", "HTTP_USER_AGENT", "REMOTE_ADDR")
MESSAGES_SHOWN = 5
HOSTS_SHOWN = 4


class Plan(NamedTuple):
    """One rung of the size ladder: groups in full, groups as rows, and bytes of HTML for all samples together."""

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


def compose(report: Report, plan: Plan, remarks: list[str], problems: list[str]) -> dict[str, Any]:
    """The templates' context: plain strings and lists, cleaned and bounded."""
    clock = Clock(get_default_timezone(), report.sealed_at)
    groups = ranked(report.groups)
    full, rows = groups[: plan.full], groups[plan.full : plan.full + plan.rows]
    rooms = share_out([_need(group.sample) for group in full], plan.samples)
    reported = report.record_count - report.silenced_count
    single = reported == 1 and len(groups) == 1 and report.group_count == 1
    pages = [
        GroupPage(report, group, room, clock, single=single, width=30 if len(full) <= 6 else 16)
        for group, room in zip(full, rooms, strict=True)
    ]
    shown = [page.context() for page in pages]
    shortened = sum(page.is_shortened for page in pages)
    if shortened and not single:
        remarks = [f"{counted(shortened, 'sample')} shortened to keep this mail small.", *remarks]
    context = {
        "summary": single_summary(report, full[0], clock) if single else summary(report, clock),
        "why": "" if single and report.reason == Reason.FLUSH else why(report),
        "single": single,
        "buffer": one_line(report.buffer, 80),
        "note": visible(report.note[:1000]),
        "problems": [visible(problem) for problem in problems],
        "url": report.batch_url,
        "sections": list(_sections(report, full, shown)),
        "rows": [_row(report, group, clock) for group in rows],
        "rows_heading": ROWS_HEADING,
        "rows_rule": "=" * len(ROWS_HEADING),
        "rest": _rest(report, reported, full + rows),
        "remarks": [*_left_out(report), *remarks],
        "zone": clock.zone,
        "colour": colour(report.level),
        "level": level_name(report.level),
    }
    return context


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


def single_summary(report: Report, group: GroupReport, clock: Clock) -> str:
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


def colour(level: int) -> str:
    return next(colour for bound, colour in COLOURS if level >= bound or bound == 0)


def share_out(needs: list[int], room: int) -> list[int]:
    """Room for each need: whatever small ones leave goes to the others, in equal shares."""
    rooms = [0] * len(needs)
    left = room
    for done, index in enumerate(sorted(range(len(needs)), key=needs.__getitem__)):
        rooms[index] = min(needs[index], left // (len(needs) - done))
        left -= rooms[index]
    return rooms


class Clock:
    """Times as people of the project read them; the date is left out on the day of the mail."""

    def __init__(self, zone: tzinfo, now: datetime) -> None:
        self.tz = zone
        self.zone = get_default_timezone_name()
        self.now = now.astimezone(zone)

    def date(self, moment: datetime) -> str:
        local = moment.astimezone(self.tz)
        text = f"{local.day} {MONTHS[local.month - 1]}"
        return text if local.year == self.now.year else f"{text} {local.year}"

    def exact(self, moment: datetime) -> str:
        local = moment.astimezone(self.tz)
        time = f"{local:%H:%M:%S}"
        return time if local.date() == self.now.date() else f"{self.date(moment)} {time}"

    def minute(self, moment: datetime) -> str:
        return self.exact(moment)[:-3]

    def range(self, first_at: datetime, last_at: datetime) -> str:
        first, last = self.minute(first_at), self.minute(last_at)
        if first == last:
            return first
        if self.date(first_at) == self.date(last_at):
            return f"{first}–{last_at.astimezone(self.tz):%H:%M}"
        return f"{first} – {last}"

    def exact_range(self, first_at: datetime, last_at: datetime) -> str:
        first, last = self.exact(first_at), self.exact(last_at)
        if first == last:
            return first
        if self.date(first_at) == self.date(last_at):
            return f"{first}–{last_at.astimezone(self.tz):%H:%M:%S}"
        return f"{first} – {last}"


class GroupPage:
    """One group in full."""

    def __init__(
        self, report: Report, group: GroupReport, room: int, clock: Clock, *, single: bool, width: int
    ) -> None:
        self.report, self.group, self.room, self.clock, self.single, self.width = (
            report,
            group,
            room,
            clock,
            single,
            width,
        )
        self.sample: Mapping[str, Any] = group.sample or {}
        self.is_shortened = False

    def context(self) -> dict[str, Any]:
        group, sample = self.group, self.sample
        blocks, tables = self.blocks_and_tables()
        columns = (
            timebar.heights(group.spans, self.report.first_at, self.report.last_at, width=self.width)
            if group.count > 1 and not self.single
            else []
        )
        return {
            "title": one_line(group.title, 200) or "(no message)",
            "level": level_name(group.level),
            "colour": colour(group.level),
            "logger": one_line(group.logger, 100),
            "where": self.where(),
            "state": STATES.get(group.state, group.state) if self.report.has_history else "",
            "count": f"{group.count:,}",
            "share": self.share(),
            "when": self.clock.exact_range(group.first_at, group.last_at),
            "facts": list(self.facts()),
            "bar": timebar.blocks(columns) if any(columns) else "",
            "cells": timebar.cells(columns) if any(columns) else [],
            "bar_from": self.clock.minute(self.report.first_at),
            "bar_to": self.clock.minute(self.report.last_at),
            "messages": list(self.messages()),
            "request": request_line(sample.get("request")),
            "blocks": blocks,
            "tables": tables,
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

    def where(self) -> str:
        sample = self.sample
        if text := _string(sample.get("traceback")):
            return where(text)
        if path := _string(sample.get("pathname")):
            return location(path, sample.get("lineno", "?"), _string(sample.get("function")))
        return ""

    def facts(self) -> Iterator[tuple[str, str]]:
        group, clock = self.group, self.clock
        if self.report.has_history and group.total > group.count:
            yield "In all", f"{group.total:,} since {clock.exact(group.first_seen_at)}"
        if group.hosts:
            names = sorted(group.hosts, key=lambda name: (-group.hosts[name], name))
            shown = [
                one_line(name, 60) + (f" ×{group.hosts[name]:,}" if len(names) > 1 else "")
                for name in names[:HOSTS_SHOWN]
            ]
            if len(names) > HOSTS_SHOWN:
                shown.append(f"{len(names) - HOSTS_SHOWN:,} more")
            yield ("Host" if len(names) == 1 else "Hosts"), ", ".join(shown)
        if group.processes > 1:
            yield "Processes", f"{group.processes:,}"
        if self.single:
            for name, key in (("Process", "process"), ("Thread", "thread"), ("Task", "task")):
                value = _string(self.sample.get(key))
                if value and value != "MainThread":
                    yield name, one_line(value, 80)

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

    def blocks_and_tables(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The sample: monospaced blocks (formatted, traceback, stack) and tables (GET, POST, extra, headers)."""
        tables = list(self.tables(self.room * 2 // 5))
        room = self.room - sum(
            weight(name) + weight(value) for table in tables for name, value in table["pairs"]
        )
        texts = list(_texts(self.sample))
        blocks = []
        for (heading, text), share in zip(
            texts, share_out([weight(text) for _, text in texts], room), strict=True
        ):
            excerpt = shorten(text, max(share, 200))
            self.is_shortened |= bool(excerpt.frames_cut or excerpt.characters_cut)
            blocks.append(
                {
                    "heading": heading,
                    "parts": [part._asdict() for part in excerpt.parts],
                    "text": "".join(p.text for p in excerpt.parts),
                }
            )
        return blocks, tables

    def tables(self, room: int) -> Iterator[dict[str, Any]]:
        for heading, values in _tables(self.sample, everything=self.single):
            pairs = []
            for number, (name, value) in enumerate(values.items()):
                if room <= 0:
                    self.is_shortened = True
                    pairs.append(("…", f"{counted(len(values) - number, 'more value')} left out"))
                    break
                text, gone = cut_middle(visible(_string(value)), min(max(room, 100), 2000))
                self.is_shortened |= bool(gone)
                pairs.append((one_line(_string(name), 80), text))
                room -= weight(text) + 40
            yield {"heading": heading, "pairs": pairs}


def request_line(request: object) -> str:
    """``GET /orders/7/ → 500, user anna``."""
    if not isinstance(request, Mapping):
        return ""
    line = " ".join(
        part for part in (_string(request.get("method")), one_line(_string(request.get("path")), 300)) if part
    )
    if status := request.get("status_code"):
        line += f" → {_string(status)}"
    if user := request.get("user"):
        line += f", user {one_line(_string(user), 80)}"
    return one_line(line, 500)


def _string(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _texts(sample: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    formatted, trace, stack = (
        visible(_string(sample.get(key))).rstrip() for key in ("formatted", "traceback", "stack_info")
    )
    if formatted:
        yield "", formatted
    if trace and trace not in formatted:
        yield "", trace
    if stack and stack not in formatted:
        yield "Stack", stack


def _tables(sample: Mapping[str, Any], *, everything: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    request = sample.get("request")
    request = request if isinstance(request, Mapping) else {}
    for heading, values in (
        ("GET", request.get("GET")),
        ("POST", request.get("POST")),
        ("Extra", sample.get("extra")),
    ):
        if values and isinstance(values, Mapping):
            yield heading, values
    meta = request.get("META")
    if isinstance(meta, Mapping):
        shown = meta if everything else {key: meta[key] for key in META_SHOWN if key in meta}
        if shown:
            yield "Request", shown
    if cut := sample.get("cut"):
        yield "Cut when it was recorded", {"fields": ", ".join(map(_string, cut))}


def _need(sample: Mapping[str, Any] | None) -> int:
    """How many bytes the sample takes if nothing is cut."""
    if not sample:
        return 0
    texts = sum(weight(text) for _, text in _texts(sample))
    tables = sum(
        weight(_string(value)[:2000]) + weight(_string(name)[:80]) + 40
        for _, values in _tables(sample, everything=True)
        for name, value in values.items()
    )
    return texts + tables * 5 // 2


def _sections(
    report: Report, groups: list[GroupReport], shown: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    by_heading: dict[str, list[dict[str, Any]]] = {}
    for group, context in zip(groups, shown, strict=True):
        heading = (
            SECTIONS["new" if is_news(group) else "repeat"]
            if report.has_history and report.record_count > 1
            else ""
        )
        by_heading.setdefault(heading, []).append(context)
    for heading, contexts in by_heading.items():
        yield {"heading": heading, "rule": "=" * len(heading), "groups": contexts}


def _row(report: Report, group: GroupReport, clock: Clock) -> dict[str, str]:
    return {
        "count": f"{group.count:,}",
        "level": level_name(group.level),
        "colour": colour(group.level),
        "title": one_line(group.title, 200),
        "state": group.state if report.has_history and is_news(group) else "",
        "when": clock.range(group.first_at, group.last_at),
        "url": group.url,
    }


def _rest(report: Report, reported: int, shown: list[GroupReport]) -> str:
    groups = report.group_count - len(shown)
    if groups <= 0:
        return ""
    records = reported - sum(group.count for group in shown)
    return f"And {counted(groups, 'more group')} with {counted(max(records, 0), noun(report))}."


def _left_out(report: Report) -> Iterator[str]:
    if report.silenced_count:
        yield f"{counted(report.silenced_count, 'record')} of silenced groups {'is' if report.silenced_count == 1 else 'are'} only counted."
    if report.lost_count:
        yield f"{counted(report.lost_count, 'record')} could not be kept, since the spool was full or failed; {'it is' if report.lost_count == 1 else 'they are'} only counted."
