"""Records in the admin: a list that reads its newest rows, or walks one index."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
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

from ..language import formatted
from ..models import Record
from . import words
from .base import RowsAdmin, framed, time_column
from .filters import (
    HostFilter,
    LevelFilter,
    LoggerFilter,
    RecordBatchFilter,
    RecordBufferFilter,
    RecordGroupFilter,
    TimeFilter,
    is_key,
)
from .record_page import record_context

# Nobody leafs further than this through the list.
MOST_COUNTED = 10_000
# A search or a filter without an index of its own reads no more records than this, the newest ones.
WINDOW = 20_000
INDEXED = ("batch", "group", "level")
LISTED = ("level", "logger", "message", "count", "host", "last_at", "details", "group__title")


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # can't be subscripted at run time
    """A paginator that counts no further than its last page of interest."""

    @cached_property
    def count(self) -> int:
        # The order stays in the subquery, so that the database walks an index for just these rows.
        rows: QuerySet[Any] = self.object_list[:MOST_COUNTED]  # type: ignore[assignment]
        return rows.count()


class RecordChangeList(ChangeList):
    """A list that never reads the whole table, whatever is searched, filtered or forged."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Newest first, as in the indexes: no other order can be asked for."""
        return ["-last_at", "-pk"]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.is_bounded = self.result_count == MOST_COUNTED
        if not self.query:
            # Else Django offers to "show all" of a list that nothing was left out of.
            self.full_result_count = self.result_count

    def get_queryset(self, *args: Any, **named: Any) -> QuerySet[Any]:
        self.window = self._narrow()
        return super().get_queryset(*args, **named)

    def _narrow(self) -> int:
        """Keep to the newest rows unless one index serves all that is asked; returns how many, 0 for all."""
        asked = self.params.keys() - {"p", "q", "time", "o", "all"}
        keys = {name: key for name in INDEXED if is_key(key := str(self.params.get(name, "")))}
        indexed = dict(list(keys.items())[:1])
        if not self.query and asked <= indexed.keys():
            return 0
        rows = Record.objects.filter(**indexed).order_by("-last_at")
        oldest = rows.values_list("last_at", flat=True)[WINDOW : WINDOW + 1].first()
        if oldest is None:
            return 0
        self.root_queryset = self.root_queryset.filter(last_at__gte=oldest)
        return WINDOW


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
