"""Groups in the admin: what is broken, since when, how often, and whom it keeps busy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import truncatechars
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import charset
from ..database_clock import database_now
from ..language import formatted
from ..models import Group
from ..silences import end_silence, resolve, silence
from . import group_page, words
from .base import RowsAdmin, time_column
from .filters import GroupBufferFilter, LevelFilter, LoggerFilter, StateFilter
from .history import hour_chart, hourly

# Groups that have an entry each in the admin's log, where something is done to several.
LOGGED_EACH = 100
SILENCES = {
    "hour": (gettext_lazy("for 1 hour"), timedelta(hours=1)),
    "day": (gettext_lazy("for 1 day"), timedelta(days=1)),
    "week": (gettext_lazy("for 1 week"), timedelta(weeks=1)),
    "ever": (gettext_lazy("for ever"), None),
}


class SilenceForm(forms.Form):
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


def _silence_action(length: str) -> Callable[[GroupAdmin, HttpRequest, QuerySet[Group]], None]:
    """The list's action that silences for one of the lengths, with the note beside the actions."""

    @admin.action(
        permissions=["act"],
        description=format_lazy(gettext_lazy("Silence {length}"), length=SILENCES[length][0]),
    )
    def act(admin: GroupAdmin, request: HttpRequest, groups: QuerySet[Group]) -> None:
        admin.silence(request, groups, length, request.POST.get("note", ""))

    act.__name__ = f"silence_{length}"
    return act


def _with_titles(queryset: QuerySet[Group]) -> list[Group]:
    return list(queryset.select_related(None).only("title").order_by("pk"))


@admin.register(Group)
class GroupAdmin(RowsAdmin):
    """The list of what is broken, and the page of one group."""

    change_list_template = "admin/django_maillog/list.html"
    page_template = "admin/django_maillog/group.html"
    buttons = ("silence", "speak", "resolve")
    permission = "django_maillog.silence_group"
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
    actions = (*map(_silence_action, SILENCES), "end_silence", "mark_resolved")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Django's list, with the charts of its rows read at once."""
        changelist = super().get_changelist_instance(request)
        changelist.result_list = list(changelist.result_list)
        hours = hourly(changelist.result_list, timezone.now())
        for group in changelist.result_list:
            group.hours = hours[group.pk]
        return changelist

    # The columns of the list

    @admin.display(description=gettext_lazy("title"))
    def title_line(self, group: Group) -> str:
        return truncatechars(group.title, 120)

    @admin.display(description=gettext_lazy("records"), ordering="count")
    def records(self, group: Group) -> str:
        return formatted(group.count)

    @admin.display(description=gettext_lazy("last 24 hours"))
    def last_day(self, group: Group) -> SafeString:
        return hour_chart(group.hours, group.level, timezone.now())  # type: ignore[attr-defined]

    first_seen = time_column("first_seen_at", gettext_lazy("first seen"))
    last_seen = time_column("last_seen_at", gettext_lazy("last seen"))
    last_mailed = time_column("notified_at", gettext_lazy("last mailed"))

    @admin.display(description=gettext_lazy("state"))
    def state(self, group: Group) -> SafeString:
        return words.group_badge(group, timezone.now())

    # The actions: on the page, and in the list

    def press(self, request: HttpRequest, row: Group, button: str) -> None:
        groups, form = Group.objects.filter(pk=row.pk), SilenceForm(request.POST)
        if button == "speak":
            self.end_silence(request, groups)
        elif button == "resolve":
            self.mark_resolved(request, groups)
        elif form.is_valid():
            self.silence(request, groups, form.cleaned_data["length"], form.cleaned_data["note"])
        else:
            said = _("Nothing was silenced: say for how long, and keep the note short.")
            self.message_user(request, said, messages.ERROR)

    @admin.action(permissions=["act"], description=gettext_lazy("End silence"))
    def end_silence(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        groups = _with_titles(queryset)
        end_silence(groups)
        said = ngettext("%(what)s is no longer silenced.", "%(what)s are no longer silenced.", len(groups))
        self.tell(request, groups, said)

    @admin.action(permissions=["act"], description=gettext_lazy("Mark resolved"))
    def mark_resolved(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        groups = _with_titles(queryset)
        resolve(groups, database_now())
        said = ngettext(
            "%(what)s is marked resolved: the next record counts as a regression.",
            "%(what)s are marked resolved: the next record of each counts as a regression.",
            len(groups),
        )
        self.tell(request, groups, said)

    def silence(self, request: HttpRequest, queryset: QuerySet[Group], length: str, note: str) -> None:
        """Silence the groups, in the name of whoever asked for it."""
        now = database_now()
        groups = _with_titles(queryset)
        words_of_length, duration = SILENCES[length]
        until = None if duration is None else now + duration
        silence(groups, until=until, by=str(request.user.get_username()), note=note, now=now)
        said = ngettext("%(what)s is silenced %(length)s.", "%(what)s are silenced %(length)s.", len(groups))
        self.tell(request, groups, said, length=words_of_length)

    def tell(self, request: HttpRequest, groups: list[Group], said: str, **facts: object) -> None:
        """The message for the person who did it, and a line in each group's history for the others."""
        what = ngettext("%(number)d problem", "%(number)d problems", len(groups)) % {"number": len(groups)}
        if len(groups) == 1:
            what = _("“%(title)s”") % {"title": truncatechars(groups[0].title, 100)}
        text = said % {"what": what, **facts}
        self.message_user(request, text, messages.SUCCESS)
        if len(groups) <= LOGGED_EACH:
            for group in groups:
                self.log_change(request, group, text)
            return
        # One entry for all of them: so many would take longer than what was done.
        said_of_all = charset.storable_row(LogEntry, {"object_repr": what, "change_message": text})
        LogEntry.objects.create(
            user_id=request.user.pk or 0,
            content_type_id=get_content_type_for_model(self.model).pk,
            action_flag=CHANGE,
            **said_of_all,
        )

    # The page of one group

    def page_queryset(self) -> QuerySet[Group]:
        return Group.objects.select_related("sample")

    def page_context(self, request: HttpRequest, row: Group) -> dict[str, Any]:
        may_silence = self.has_act_permission(request)
        return {
            "silence_form": SilenceForm(auto_id="maillog-%s") if may_silence else None,
            **group_page.context(row, timezone.now(), may_read=self.may_read(request)),
        }
