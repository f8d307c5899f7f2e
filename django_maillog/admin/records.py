"""Records in the admin: a list that walks indexes only, and the page of one record."""

from __future__ import annotations

import json
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.defaultfilters import truncatechars
from django.urls import URLPattern
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import moments
from ..digest.before import Before
from ..frames import Section, sections
from ..language import formatted
from ..models import Record
from . import words
from .base import RowsAdmin, framed, time_column
from .changelist import WINDOW, BoundedPaginator, RecordChangeList
from .filters import (
    HostFilter,
    LevelFilter,
    LoggerFilter,
    RecordBatchFilter,
    RecordBufferFilter,
    RecordGroupFilter,
    TimeFilter,
)

LISTED = ("level", "logger", "message", "count", "host", "last_at", "details", "group__title")


@admin.register(Record)
class RecordAdmin(RowsAdmin):
    """The list of records, and the page of one."""

    change_list_template = "admin/django_maillog/records.html"
    page_template = "admin/django_maillog/record.html"
    list_display = ("level_badge", "time", "logger", "line", "count", "host")
    list_display_links = ("line",)
    list_filter = (
        RecordGroupFilter,
        RecordBatchFilter,
        TimeFilter,
        LevelFilter,
        RecordBufferFilter,
        LoggerFilter,
        HostFilter,
    )
    search_help_text = format_lazy(
        gettext_lazy("Searches the messages of the newest {number} rows."),
        number=lazy(formatted, str)(WINDOW),
    )
    list_select_related = ("group",)
    search_fields = ("message",)
    ordering = ("-last_at",)
    show_full_result_count = False
    sortable_by = ()
    paginator = BoundedPaginator
    list_per_page = 50
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Record]:
        return super().get_queryset(request).only(*LISTED)

    def page_queryset(self) -> QuerySet[Record]:
        return Record.objects.select_related("group", "batch").defer(
            "batch__text", "batch__html", "batch__last_error"
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RecordChangeList

    def get_urls(self) -> list[URLPattern]:
        return [self.row_url("report.html", self.report_view), *super().get_urls()]

    def report_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Django's technical report, if the record brought one."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        html = Record.objects.filter(pk=pk).values_list("html", flat=True).first()
        if not html:
            raise Http404
        return framed(html)

    # The columns of the list

    time = time_column("last_at", gettext_lazy("time"))

    @admin.display(description=gettext_lazy("message"))
    def line(self, record: Record) -> SafeString:
        """The message's first line, and what went wrong where it doesn't say so itself."""
        message = truncatechars(record.message.strip().partition("\n")[0], 140)
        title = str((record.details or {}).get("title") or record.group.title)
        if not message or title[:40] in message:
            return format_html("{}", message or title or _("(no message)"))
        return format_html('{} <span class="maillog-of">{}</span>', message, truncatechars(title, 100))

    # The page of one record

    def page_context(self, request: HttpRequest, row: Record) -> dict[str, Any]:
        return {
            "title": truncatechars((row.details or {}).get("title") or row.group.title, 200),
            "sample": record_context(row),
            "batch_subject": words.subject(row.batch),
            "batch_state": words.status_badge(row.batch, timezone.now()),
        }


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
