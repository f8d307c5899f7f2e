"""One group in detail, as the plain strings that the templates lay out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from .. import language
from ..language import gettext as _
from ..language import ngettext
from . import timebar, words
from .clock import Clock
from .excerpts import clip_end, one_line, visible
from .report import GroupReport, Report
from .samples import SINGLE_MESSAGE, Fitted, Sample, circumstances

HOSTS_SHOWN = 4


class Listed(NamedTuple):
    """How many texts are listed, and how many characters of each."""

    number: int
    length: int


def in_full(
    report: Report,
    clock: Clock,
    group: GroupReport,
    sample: Sample,
    fitted: Fitted,
    *,
    listed: Listed,
    bar_width: int,
) -> dict[str, Any]:
    """What the templates show of a group with its sample."""
    single = report.is_single
    columns: list[int] = []
    if group.count > 1 and not single:
        columns = timebar.heights(group.spans, report.first_at, report.last_at, width=bar_width)
    when = clock.range(group.first_at, group.last_at, exact=True)
    return {
        "title": one_line(group.title, 200) or _("(no message)"),
        "level": words.level_name(group.level),
        **words.tone(group.level),
        "logger": one_line(group.logger, 100),
        "where": sample.where,
        "state": words.state(group.state) if report.has_history else "",
        "count": language.formatted(group.count),
        "share": words.share(report, group),
        "when": f"{when} ({clock.zone})" if single else when,
        "facts": list(_facts(report, clock, group)),
        "bar": timebar.blocks(columns),
        "cells": timebar.cells(columns),
        "bar_from": clock.minute(report.first_at),
        "bar_to": clock.minute(report.last_at),
        "values": list(_counted(group.titles, listed, _other_values)) if len(group.titles) > 1 else [],
        "messages": list(_messages(group, sample, listed, single=single)),
        "request": sample.request,
        "blocks": fitted.blocks,
        "tables": fitted.tables,
        "url": group.url,
        "action_url": group.action_url,
    }


def _facts(report: Report, clock: Clock, group: GroupReport) -> Iterator[str]:
    sample: Mapping[str, Any] = group.sample or {}
    yield from circumstances(sample)
    if group.last_release:
        yield _release(group)
    if report.has_history and group.total > group.count:
        facts = {"number": language.formatted(group.total), "time": clock.exact(group.first_seen_at)}
        yield _("In all: %(number)s since %(time)s") % facts
    if group.hosts:
        yield _hosts(group.hosts)
    if group.processes > 1:
        yield _("Processes: %(number)s") % {"number": language.formatted(group.processes)}
    if report.is_single:
        for name, key in ((_("Process"), "process"), (_("Thread"), "thread"), (_("Task"), "task")):
            value = sample.get(key)
            if value and value != "MainThread":
                yield f"{name}: {one_line(str(value), 80)}"


def _release(group: GroupReport) -> str:
    if group.state == "regressed":
        said = _("Release: back in %(last)s, first seen in %(first)s")
    elif group.first_release == group.last_release:
        said = _("Release: %(last)s")
    else:
        said = _("Release: %(last)s, first seen in %(first)s")
    return said % {"last": one_line(group.last_release, 60), "first": one_line(group.first_release, 60)}


def _hosts(hosts: dict[str, int]) -> str:
    names = sorted(hosts, key=lambda name: (-hosts[name], name))
    if len(names) == 1:
        return _("Host: %(name)s") % {"name": one_line(names[0], 60)}
    shown = [f"{one_line(name, 60)} ×{language.formatted(hosts[name])}" for name in names[:HOSTS_SHOWN]]
    if len(names) > HOSTS_SHOWN:
        shown.append(ngettext("%(number)s more", "%(number)s more", len(names) - HOSTS_SHOWN))
    return _("Hosts: %(names)s") % {"names": ", ".join(shown)}


def _messages(
    group: GroupReport, sample: Sample, listed: Listed, *, single: bool
) -> Iterator[dict[str, str]]:
    """The messages with their counts; none where the only one is told by the title."""
    if len(group.messages) == 1 and group.messages[0][0]:
        message = sample.message if single and sample.message else group.messages[0][0]
        is_told = one_line(message, len(message) + 1) in one_line(group.title, 200)
        if single and not is_told:
            yield {"count": "", "text": visible(clip_end(message, SINGLE_MESSAGE))}
        if single or is_told:
            return
    yield from _counted(group.messages, listed, _other_messages)


def _counted(
    texts: list[tuple[str, int]], listed: Listed, others_of: Callable[[int | None], str]
) -> Iterator[dict[str, str]]:
    """The most frequent of some texts, the rest as numbers; "" stands for all that were not kept apart."""
    named = [(text, count) for text, count in texts if text]
    for text, count in named[: listed.number]:
        yield {"count": language.formatted(count), "text": one_line(text, listed.length)}
    if hidden := named[listed.number :]:
        number = sum(count for _, count in hidden)
        yield {"count": language.formatted(number), "text": others_of(len(hidden))}
    if others := sum(count for text, count in texts if not text):
        yield {"count": language.formatted(others), "text": others_of(None)}


def _other_values(number: int | None) -> str:
    """So many other values; None: nobody knows how many."""
    if number is None:
        return _("in other values")
    return ngettext("in %(number)s other value", "in %(number)s other values", number)


def _other_messages(number: int | None) -> str:
    if number is None:
        return _("in other messages")
    return ngettext("in %(number)s other message", "in %(number)s other messages", number)
