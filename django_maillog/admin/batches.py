"""Batches in the admin: which mails wait, went out or failed, what is in them, what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import truncatechars
from django.urls import URLPattern
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..database_clock import database_now
from ..models import Batch, Status
from ..outbox.mails import eml, preview
from . import batch_page, words
from .base import RowsAdmin, framed, time_column
from .filters import BatchBufferFilter, LevelFilter
from .steps import STEPS, Step

NEEDS_VIEW_RECORD = gettext_lazy(
    "A mail says what its records say: reading it takes the permission django_maillog.view_record."
)
# One request sends no more mails than this.
MOST_AT_ONCE = 20
# The names of the list's actions.
ACTIONS = {"flush": "flush_now", "retry": "retry_now", "cancel": "cancel", "again": "send_again"}


def _action(name: str) -> Callable[[BatchAdmin, HttpRequest, QuerySet[Batch]], None]:

    @admin.action(permissions=["act"], description=STEPS[name].label)
    def act(admin: BatchAdmin, request: HttpRequest, batches: QuerySet[Batch]) -> None:
        admin.take_each(request, batches, STEPS[name])

    act.__name__ = ACTIONS[name]
    return act


class BatchChangeList(ChangeList):
    """A list by date where the database knows time zones: MariaDB and MySQL may lack their tables."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if not connections[self.root_queryset.db].features.has_zoneinfo_database:
            self.date_hierarchy = None


@admin.register(Batch)
class BatchAdmin(RowsAdmin):
    """The list of mails, and the page of one."""

    change_list_template = "admin/django_maillog/batches.html"
    page_template = "admin/django_maillog/batch.html"
    buttons = tuple(STEPS)
    permission = "django_maillog.flush_batch"
    list_display = (
        "subject_line",
        "state",
        "buffer",
        "level_badge",
        "group_count",
        "record_count",
        "opened",
        "due_or_sent",
        "recipient_list",
    )
    list_filter = ("status", BatchBufferFilter, LevelFilter, "opened_at")
    search_fields = ("subject",)
    search_help_text = gettext_lazy("Searches the subjects.")
    date_hierarchy = "opened_at"
    ordering = ("-opened_at",)
    sortable_by = ("opened", "record_count", "group_count")
    list_per_page = 50
    actions = tuple(map(_action, ACTIONS))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Batch]:
        return super().get_queryset(request).defer("text", "html", "last_error")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Superusers may delete what was sent."""
        # A project's own users may have no such field.
        superuser = bool(request.user.is_active and getattr(request.user, "is_superuser", False))
        return superuser and (obj is None or (isinstance(obj, Batch) and obj.status == Status.SENT))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BatchChangeList

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Counts instead of a list of thousands of records; what was not sent is not deleted."""
        batches = list(objs)
        kept = [words.subject(batch) for batch in batches if batch.status != Status.SENT]
        counts = {str(self.opts.verbose_name_plural): len(batches)}
        return [words.subject(batch) for batch in batches], counts, set(), kept

    def get_urls(self) -> list[URLPattern]:
        mails = [self.row_url(f"mail.{form}", self.mail_view, form=form) for form in ("html", "txt", "eml")]
        urls = [*mails, *super().get_urls()]
        # Buttons and actions send mail. In the request's transaction (ATOMIC_REQUESTS) whatever failed later
        # would undo that it was sent, and other writers would wait for the mail server, too.
        for url, alias in product(urls, connections):
            transaction.non_atomic_requests(using=alias)(url.callback)
        return urls

    # The columns of the list

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def state(self, batch: Batch) -> SafeString:
        return words.status_badge(batch, timezone.now())

    @admin.display(description=gettext_lazy("subject"))
    def subject_line(self, batch: Batch) -> str:
        return truncatechars(words.subject(batch), 90)

    opened = time_column("opened_at", gettext_lazy("opened"))

    @admin.display(description=gettext_lazy("due or sent"))
    def due_or_sent(self, batch: Batch) -> SafeString:
        now = timezone.now()
        if batch.sent_at:
            return format_html(_("sent {}"), words.when(batch.sent_at, now))
        if batch.status == Status.OPEN and batch.due_at:
            return format_html(_("due {}"), words.when(batch.due_at, now))
        if batch.status == Status.READY and batch.next_attempt_at:
            return format_html(_("due {}"), words.when(batch.next_attempt_at, now))
        return words.when(None, now)

    @admin.display(description=gettext_lazy("recipients"))
    def recipient_list(self, batch: Batch) -> SafeString | str:
        """Who the first is, and how many more; all of them for the pointer."""
        if not batch.recipients:
            return "–"
        first = batch.recipients[0].partition("@")[0]
        more = f" +{len(batch.recipients) - 1}" if len(batch.recipients) > 1 else ""
        return format_html('<span title="{}">{}{}</span>', ", ".join(batch.recipients), first, more)

    # The steps: on the page, and in the list

    def press(self, request: HttpRequest, row: Batch, button: str) -> None:
        self.take(request, row, STEPS[button])

    def take_each(self, request: HttpRequest, queryset: QuerySet[Batch], step: Step) -> None:
        """Take the step with each chosen batch that it fits, the oldest first; count the others."""
        chosen = list(queryset.defer(None).order_by("pk")[: MOST_AT_ONCE + 1])
        if len(chosen) > MOST_AT_ONCE:
            said = _("Choose at most %(number)d batches at once. Nothing was done.")
            self.message_user(request, said % {"number": MOST_AT_ONCE}, messages.ERROR)
            return
        fitting = [batch for batch in chosen if step.fits(batch)]
        for batch in fitting:
            self.take(request, batch, step)
        if left := len(chosen) - len(fitting):
            said = ngettext(
                "%(step)s: nothing to do for %(number)d batch in its state.",
                "%(step)s: nothing to do for %(number)d batches in their state.",
                left,
            )
            self.message_user(request, said % {"step": step.label, "number": left}, messages.WARNING)

    def take(self, request: HttpRequest, batch: Batch, step: Step) -> None:
        """Tell the person how it ended, and the others in the batch's history."""
        told = step.take(batch, database_now())
        self.message_user(request, told.text, told.level)
        self.log_change(request, batch, f"{step.label}: {told.text}")

    # The page of one batch, and its mail

    def page_context(self, request: HttpRequest, row: Batch) -> dict[str, Any]:
        fitting = {name: step.label for name, step in STEPS.items() if step.fits(row)}
        return {
            "buttons": fitting if self.has_act_permission(request) else {},
            **batch_page.context(row, timezone.now()),
        }

    def mail_view(self, request: HttpRequest, pk: int, form: str) -> HttpResponse:
        """The mail as HTML for the frame on the page, as text, or whole for a mail client."""
        if not (self.has_view_permission(request) and self.may_read(request)):
            raise PermissionDenied(NEEDS_VIEW_RECORD)
        batch = get_object_or_404(Batch, pk=pk)
        if not batch_page.has_mail(batch):
            raise Http404
        if form == "eml":
            headers = {
                "Content-Disposition": f'attachment; filename="maillog-{pk}.eml"',
                "X-Content-Type-Options": "nosniff",
            }
            return HttpResponse(eml(batch), content_type="message/rfc822", headers=headers)
        try:
            mail = preview(batch)
            text, html = f"{mail.subject}\n\n{mail.text}", mail.html
        # The project's templates may raise anything, and the reader wants to know what.
        except Exception as error:
            said = _("The mail can’t be rendered: %(problem)s")
            text = said % {"problem": f"{type(error).__name__}: {error}"}
            html = format_html("<pre>{}</pre>", text)
        return framed(html) if form == "html" else framed(text, "text/plain; charset=utf-8")
