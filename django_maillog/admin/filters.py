"""The filters beside the lists; none of them asks the table of records what there is."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import truncatechars
from django.utils import timezone
from django.utils.translation import gettext_lazy, pgettext_lazy

from .. import moments
from ..models import Batch, Group, Segment
from . import words

Choices = Iterable[tuple[str, Any]]
# More choices than this make a list, not a filter.
MOST_CHOICES = 50


def is_key(value: str) -> bool:
    """Whether a text can be a row's key, or another number of a row: databases refuse larger ones."""
    return value.isdecimal() and len(value) < 19


class LevelFilter(admin.SimpleListFilter):
    title = gettext_lazy("level")
    parameter_name = "level"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [(str(level), logging.getLevelName(level)) for level in words.LEVELS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        value = self.value()
        return queryset.filter(level=int(value)) if value and is_key(value) else queryset


class DistinctFilter(admin.SimpleListFilter):
    """By the values that ``source_field`` of ``source`` has; the list's own column is ``column``."""

    source: type[Batch] | type[Group] | type[Segment]
    # Not "field": themes take that for a model's.
    source_field: str
    column: str

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        names = self.source._default_manager.values_list(self.source_field, flat=True)
        return [(name, name) for name in names.order_by(self.source_field).distinct()[:MOST_CHOICES]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        value = self.value()
        return queryset.filter(**{self.column: value}) if value else queryset


def _distinct(
    title: Any, field: str, source: type[Batch] | type[Group] | type[Segment], *, column: str = ""
) -> type[DistinctFilter]:
    fields = {"title": title, "parameter_name": field, "source": source, "source_field": field}
    return type("Filter", (DistinctFilter,), {**fields, "column": column or field})


BatchBufferFilter = _distinct(gettext_lazy("buffer"), "buffer", Batch)
GroupBufferFilter = _distinct(gettext_lazy("buffer"), "buffer", Group)
RecordBufferFilter = _distinct(gettext_lazy("buffer"), "buffer", Group, column="group__buffer")
# Of records, too: the names come from the groups, and those of hosts from the spool segments.
LoggerFilter = _distinct(gettext_lazy("logger"), "logger", Group)
HostFilter = _distinct(gettext_lazy("host"), "host", Segment)


class StateFilter(admin.SimpleListFilter):
    """Groups by what people said of them."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [
            ("new", gettext_lazy("new today")),
            ("active", pgettext_lazy("problem", "active")),
            ("silenced", gettext_lazy("silenced")),
            ("resolved", gettext_lazy("resolved")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        now = timezone.now()
        match self.value():
            case "new":
                midnight = moments.local(now).replace(hour=0, minute=0, second=0, microsecond=0)
                return queryset.filter(first_seen_at__gte=midnight)
            case "active":
                # Not exclude(): NULL is neither.
                loud = Q(silenced_at__isnull=True) | Q(silenced_until__lte=now)
                return queryset.filter(loud, resolved_at__isnull=True)
            case "silenced":
                silent = Q(silenced_until__isnull=True) | Q(silenced_until__gt=now)
                return queryset.filter(silent, silenced_at__isnull=False)
            case "resolved":
                return queryset.filter(resolved_at__isnull=False)
        return queryset


class TimeFilter(admin.SimpleListFilter):
    title = gettext_lazy("time")
    parameter_name = "time"
    hours = {
        "1": gettext_lazy("the last hour"),
        "24": gettext_lazy("the last day"),
        "168": gettext_lazy("the last week"),
    }

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return self.hours.items()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        value = self.value()
        if value not in self.hours:
            return queryset
        return queryset.filter(last_at__gte=timezone.now() - timedelta(hours=int(value)))


class RowFilter(admin.SimpleListFilter):
    """Records of one row of ``source``: on the page only while it is in use, since links lead here."""

    source: type[Batch] | type[Group]

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        value = self.value() or ""
        row = self.source._default_manager.filter(pk=value).first() if is_key(value) else None
        return [(value, truncatechars(str(row), 60) if row else "–")] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        value = self.value() or ""
        return queryset.filter(**{str(self.parameter_name): value}) if is_key(value) else queryset.none()


def _of_row(title: Any, field: str, source: type[Batch] | type[Group]) -> type[RowFilter]:
    return type("Filter", (RowFilter,), {"title": title, "parameter_name": field, "source": source})


RecordGroupFilter = _of_row(gettext_lazy("problem"), "group", Group)
RecordBatchFilter = _of_row(gettext_lazy("batch"), "batch", Batch)
