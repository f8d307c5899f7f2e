"""Groups in the admin: what is broken, since when, how often, and whom it keeps busy."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import truncatechars
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..models import Batch, Group, Record
from ..silences import end_silence, resolve, silence
from . import words
from .base import RowsAdmin
from .filters import GroupBufferFilter, LevelFilter, LoggerFilter, StateFilter
from .records import record_context

# What the page says of messages and hosts, it says of this many of the newest rows.
ROWS_READ = 200
MESSAGES_SHOWN = 20
RECORDS_SHOWN = 10
BATCHES_SHOWN = 10

SILENCES = {
    "hour": (gettext_lazy("for 1 hour"), timedelta(hours=1)),
    "day": (gettext_lazy("for 1 day"), timedelta(days=1)),
    "week": (gettext_lazy("for 1 week"), timedelta(weeks=1)),
    "ever": (gettext_lazy("for ever"), None),
}


class SilenceForm(forms.Form):
    """For how long, and why."""

    length = forms.ChoiceField(
        label=gettext_lazy("Silence"), choices=[(key, said) for key, (said, _t) in SILENCES.items()]
    )
    note = forms.CharField(
        label=gettext_lazy("Note"),
        required=False,
        max_length=255,
        widget=forms.TextInput(attrs={"placeholder": gettext_lazy("why, for the others")}),
    )


class GroupActionForm(ActionForm):
    """The list's actions, with the note of a silence."""

    note = forms.CharField(
        label="",
        required=False,
        widget=forms.TextInput(
            attrs={
                "maxlength": 255,
                "placeholder": gettext_lazy("note for a silence"),
                "aria-label": gettext_lazy("note for a silence"),
            }
        ),
    )


@admin.register(Group)
class GroupAdmin(RowsAdmin[Group]):
    """The list of what is broken, and the page of one group."""

    page_template = "admin/django_maillog/group.html"
    buttons = {"silence": "silence_group", "speak": "silence_group", "resolve": "silence_group"}
    list_display = (
        "title_line",
        "level_badge",
        "buffer",
        "records",
        "last_day",
        "first_seen",
        "last_seen",
        "last_mailed",
        "state",
    )
    list_filter = (StateFilter, LevelFilter, GroupBufferFilter, LoggerFilter)
    search_fields = ("title",)
    search_help_text = gettext_lazy("Searches the titles.")
    ordering = ("-last_seen_at",)
    sortable_by = ("records", "first_seen", "last_seen")
    # Each row has a chart of 24 bars.
    list_per_page = 25
    action_form = GroupActionForm
    actions = ("silence_hour", "silence_day", "silence_week", "silence_ever", "end_silence", "mark_resolved")

    def has_silence_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "silence_group")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Django's list, with the charts of its rows read at once."""
        from .history import hourly

        changelist = super().get_changelist_instance(request)
        groups = list(changelist.result_list)
        series = hourly([group.pk for group in groups], timezone.now())
        for group in groups:
            group.hours = series[group.pk]
        changelist.result_list = groups
        return changelist

    # The columns of the list

    @admin.display(description=gettext_lazy("title"))
    def title_line(self, group: Group) -> str:
        return truncatechars(group.title, 120)

    @admin.display(description=gettext_lazy("level"), ordering="level")
    def level_badge(self, group: Group) -> SafeString:
        return words.level_badge(group.level)

    @admin.display(description=gettext_lazy("records"), ordering="count")
    def records(self, group: Group) -> str:
        return words.number(group.count)

    @admin.display(description=gettext_lazy("last 24 hours"))
    def last_day(self, group: Group) -> SafeString:
        from .history import hour_chart

        return hour_chart(group.hours, group.level, timezone.now())  # type: ignore[attr-defined]

    @admin.display(description=gettext_lazy("first seen"), ordering="first_seen_at")
    def first_seen(self, group: Group) -> SafeString:
        return words.when(group.first_seen_at, timezone.now())

    @admin.display(description=gettext_lazy("last seen"), ordering="last_seen_at")
    def last_seen(self, group: Group) -> SafeString:
        return words.when(group.last_seen_at, timezone.now())

    @admin.display(description=gettext_lazy("last mailed"))
    def last_mailed(self, group: Group) -> SafeString:
        return words.when(group.notified_at, timezone.now())

    @admin.display(description=gettext_lazy("state"))
    def state(self, group: Group) -> SafeString:
        return words.group_badge(group, timezone.now())

    # The actions: on the page, and in the list

    def press(self, request: HttpRequest, row: Group, button: str) -> None:
        groups = self.page_queryset().filter(pk=row.pk)
        if button == "silence":
            form = SilenceForm(request.POST)
            if not form.is_valid():
                self.message_user(
                    request,
                    _("Nothing was silenced: say for how long, and keep the note short."),
                    messages.ERROR,
                )
                return
            self.silence(request, groups, form.cleaned_data["length"], form.cleaned_data["note"])
        elif button == "speak":
            self.end_silence(request, groups)
        else:
            self.mark_resolved(request, groups)

    @admin.action(permissions=["silence"], description=gettext_lazy("Silence for 1 hour"))
    def silence_hour(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        self.silence(request, queryset, "hour", request.POST.get("note", ""))

    @admin.action(permissions=["silence"], description=gettext_lazy("Silence for 1 day"))
    def silence_day(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        self.silence(request, queryset, "day", request.POST.get("note", ""))

    @admin.action(permissions=["silence"], description=gettext_lazy("Silence for 1 week"))
    def silence_week(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        self.silence(request, queryset, "week", request.POST.get("note", ""))

    @admin.action(permissions=["silence"], description=gettext_lazy("Silence for ever"))
    def silence_ever(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        self.silence(request, queryset, "ever", request.POST.get("note", ""))

    @admin.action(permissions=["silence"], description=gettext_lazy("End silence"))
    def end_silence(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:

        groups = list(queryset)
        end_silence(groups)
        said = ngettext("%(what)s is no longer silenced.", "%(what)s are no longer silenced.", len(groups))
        self.tell(request, groups, said)

    @admin.action(permissions=["silence"], description=gettext_lazy("Mark resolved"))
    def mark_resolved(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:

        groups = list(queryset)
        resolve(groups, timezone.now())
        said = ngettext(
            "%(what)s is marked resolved: the next record counts as a regression.",
            "%(what)s are marked resolved: the next record of each counts as a regression.",
            len(groups),
        )
        self.tell(request, groups, said)

    def silence(self, request: HttpRequest, queryset: QuerySet[Group], length: str, note: str) -> None:
        """Silence the groups, in the name of whoever asked for it."""

        now = timezone.now()
        groups = list(queryset)
        words_of_length, duration = SILENCES[length]
        until = None if duration is None else now + duration
        silence(groups, until=until, by=request.user.get_username(), note=note[:255], now=now)
        said = ngettext("%(what)s is silenced %(length)s.", "%(what)s are silenced %(length)s.", len(groups))
        self.tell(request, groups, said, length=words_of_length)

    def tell(self, request: HttpRequest, groups: list[Group], said: str, **facts: object) -> None:
        """The message for the person who did it, and a line in each group's history for the others."""
        several = ngettext("%(number)d group", "%(number)d groups", len(groups)) % {"number": len(groups)}
        what = "“" + truncatechars(groups[0].title, 100) + "”" if len(groups) == 1 else several
        text = said % {"what": what, **facts}
        self.message_user(request, text, messages.SUCCESS)
        for group in groups:
            self.log_change(request, group, text)

    # The page of one group

    def page_queryset(self) -> QuerySet[Group]:
        return Group.objects.select_related("sample")

    def page_context(self, request: HttpRequest, row: Group) -> dict[str, Any]:
        from .charts import chart
        from .history import DAYS, daily

        now = timezone.now()
        newest = list(
            Record.objects.filter(group=row)
            .only("message", "messages", "count", "host", "process", "last_at", "level", "logger", "folded")
            .order_by("-last_at", "-pk")[:ROWS_READ]
        )
        hosts: Counter[str] = Counter()
        for record in newest:
            hosts[record.host] += record.count
        may_silence = self.has_silence_permission(request)
        columns = daily(row, now)
        sample = row.sample or (self.full_record(newest[0].pk) if newest else None)
        return {
            "state": words.group_badge(row, now),
            "now": now,
            "level": words.level_badge(row.level),
            "facts": list(_facts(row, now)),
            "silenced": row.is_silenced(now),
            "silence_form": SilenceForm(auto_id="maillog-%s") if may_silence else None,
            "chart": chart(columns, label=_("records of the last 14 days"), step=12, height=40),
            "chart_days": columns,
            "first_day": now - timedelta(days=DAYS - 1),
            "hosts": hosts.most_common(MESSAGES_SHOWN),
            "distinct": _messages(newest),
            "rows_read": len(newest) if len(newest) == ROWS_READ else 0,
            "records": [(record, words.when(record.last_at, now)) for record in newest[:RECORDS_SHOWN]],
            "batches": [
                (batch, words.status_badge(batch, now), words.when(batch.opened_at, now))
                for batch in _batches(row)
            ],
            "sample": record_context(sample) if sample else None,
        }

    def full_record(self, key: int) -> Record:
        return Record.objects.get(pk=key)


def _facts(group: Group, now: datetime) -> list[tuple[str, Any]]:
    """(label, value) of what is known of a group."""
    facts: list[tuple[str, Any]] = [
        (_("Records"), words.number(group.count)),
        (_("First seen"), words.when(group.first_seen_at, now)),
        (_("Last seen"), words.when(group.last_seen_at, now)),
        (_("Last mailed"), words.when(group.notified_at, now)),
        (_("Logger"), group.logger),
        (_("Buffer"), group.buffer),
    ]
    if group.is_silenced(now):
        by = _("%(name)s: %(note)s") if group.silence_note else "%(name)s"
        facts.append((_("Silenced by"), by % {"name": group.silenced_by, "note": group.silence_note}))
    if group.resolved_at:
        facts.append((_("Resolved"), words.when(group.resolved_at, now)))
    return [*facts, (_("Fingerprint"), group.fingerprint)]


def _messages(records: list[Record]) -> list[tuple[str, int]]:
    """Distinct messages with their counts, the most frequent first."""
    counts: Counter[str] = Counter()
    for record in records:
        each = record.messages or {record.message[:200]: record.count}
        for message, number in each.items():
            counts[message] += number
    others = counts.pop("", 0)
    shown = [(truncatechars(message, 300), number) for message, number in counts.most_common(MESSAGES_SHOWN)]
    others += counts.total() - sum(number for _message, number in shown)
    return [*shown, (_("others"), others)] if others else shown


def _batches(group: Group) -> list[Batch]:
    """The newest batches with records of the group: one look into an index for each batch."""
    holds = Record.objects.filter(batch=OuterRef("pk"), group=group)
    batches = Batch.objects.filter(Exists(holds), opened_at__gte=group.first_seen_at - timedelta(days=1))
    fields = ("subject", "buffer", "status", "attempts", "next_attempt_at", "opened_at")
    return list(batches.only(*fields).order_by("-opened_at")[:BATCHES_SHOWN])
