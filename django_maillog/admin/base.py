"""What our admin classes share: rows that nobody adds or edits, pages of our own, actions by POST alone."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.core.exceptions import PermissionDenied
from django.db import router
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import charset
from ..digest.excerpts import visible
from . import words

# What Django's own filters and date hierarchy put into addresses.
COMPARISONS = {"", "exact", "isnull", "gte", "lt", "year", "month", "day"}
# What Django's row of buttons asks for, which some themes show outside of the blocks.
NO_FORM = (
    *("save_as", "save_on_top", "has_file_field", "has_editable_inline_admin_formsets"),
    *("has_add_permission", "has_change_permission", "has_delete_permission"),
)
FRAMED = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'self'; sandbox",
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def time_column(field: str, said: Any) -> Callable[[Any, Model], SafeString]:
    """A column that shows when; the list is sorted by it where ``sortable_by`` names it."""

    @admin.display(description=said, ordering=field)
    def column(_admin: Any, row: Model) -> SafeString:
        return words.when(getattr(row, field), timezone.now())

    return column


class RowsAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # can't be subscripted at run time
    """An admin of rows that only the pipeline writes: people look, and press buttons if they may."""

    page_template: ClassVar[str]
    # The ends of the URLs of the page's buttons, and the permission that these and the list's actions take.
    buttons: ClassVar[Collection[str]] = ()
    permission: ClassVar[str]
    show_facets = admin.ShowFacets.NEVER
    list_max_show_all = 0

    class Media:
        css = {"all": ["django_maillog/admin.css"]}

    @admin.display(description=gettext_lazy("level"), ordering="level")
    def level_badge(self, row: Any) -> SafeString:
        return words.level_badge(row.level)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Only what the filters ask for: Django would let an address compare any column with anything.

        No row has what the database can't store, and some databases refuse to compare with it.
        """
        own = {getattr(spec, "parameter_name", spec) for spec in self.list_filter}
        field, _separator, comparison = lookup.partition("__")
        return field in own and comparison in COMPARISONS and value == self.storable(value)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search for what is stored: a database refuses to compare with letters that it lacks."""
        return super().get_search_results(request, queryset, self.storable(search_term))

    def storable(self, text: str) -> str:
        return str(charset.storable(router.db_for_write(self.model), text))

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        """Django's entry in the row's history, whose table may lack our quotes, or what a server said."""
        alias = router.db_for_write(LogEntry)
        return super().log_change(request, obj, charset.storable(alias, message))

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whether the person may press buttons and take the actions with ``permissions=["act"]``."""
        return self.has_view_permission(request) and request.user.has_perm(self.permission)

    def may_read(self, request: HttpRequest) -> bool:
        """Whether the person may see what records say, wherever that is shown."""
        return request.user.has_perm("django_maillog.view_record")

    def page_queryset(self) -> Any:
        """Whole rows for a page of one; the lists load less."""
        return self.model._default_manager.all()

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        raise NotImplementedError

    def press(self, request: HttpRequest, row: Any, button: str) -> None:
        """Do what a button of the page says, and tell the person; only where there are ``buttons``."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        buttons = [self.row_url(name, self.button_view, button=name) for name in self.buttons]
        urls = [*buttons, *super().get_urls()]
        for url in urls:
            url.callback = shows_invisible(url.callback)
        return urls

    def row_url(self, name: str, view: Callable[..., Any], **arguments: str) -> URLPattern:
        """A URL of this admin below a row's: ``<pk>/<name>/``."""
        url_name = f"{self.opts.app_label}_{self.opts.model_name}_{name.replace('.', '_')}"
        return path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), arguments, name=url_name)

    def button_view(self, request: HttpRequest, pk: int, button: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_act_permission(request):
            raise PermissionDenied
        row = self.page_queryset().filter(pk=pk).first()
        if row is None:
            return self.gone(request, pk)
        self.press(request, row, button)
        return HttpResponseRedirect(self.url("change", pk))

    def change_view(self, request: HttpRequest, object_id: str, *_args: Any, **_named: Any) -> HttpResponse:
        """The page of one row: a page to read, where Django has a form."""
        if request.method not in ("GET", "HEAD") or not self.has_view_permission(request):
            raise PermissionDenied
        row = self.page_queryset().filter(pk=object_id).first() if object_id.isdecimal() else None
        if row is None:
            return self.gone(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": str(row),
            "opts": self.opts,
            "original": row,
            "media": self.media,
            "has_view_permission": True,
            "add": False,
            "change": True,
            "is_popup": False,
            **dict.fromkeys(NO_FORM, False),
            "may_delete": self.has_delete_permission(request, row),
            "may_read": self.may_read(request),
            **self.page_context(request, row),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self.page_template, context)

    def changelist_view(self, request: HttpRequest, *args: Any, **named: Any) -> HttpResponse:
        """Django ignores an action which the person may not take; we refuse it aloud."""
        if request.method == "POST":
            allowed = {"", *self.get_actions(request)}
            if not allowed.issuperset(request.POST.getlist("action")):
                raise PermissionDenied
        return super().changelist_view(request, *args, **named)

    def gone(self, request: HttpRequest, key: object) -> HttpResponseRedirect:
        """Back to the list from a row that isn't there (any more)."""
        said = _("There is no %(name)s %(key)s: it was deleted, or it never was.")
        self.message_user(request, said % {"name": self.opts.verbose_name, "key": key}, messages.WARNING)
        return HttpResponseRedirect(self.url("changelist"))

    def url(self, name: str, *args: object) -> str:
        url_name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"
        return reverse(url_name, args=args, current_app=self.admin_site.name)


def shows_invisible(view: Callable[..., Any]) -> Callable[..., Any]:
    """A view whose page has escapes for what a record's text would hide or turn round in it."""

    @wraps(view)
    def shown(*args: Any, **kwargs: Any) -> Any:
        response = view(*args, **kwargs)
        if isinstance(response, TemplateResponse):
            response.add_post_render_callback(show)
        return response

    def show(response: HttpResponse) -> None:
        response.content = visible(response.content.decode(response.charset)).encode(response.charset)

    return shown


def framed(content: str, content_type: str | None = None) -> HttpResponse:
    """A page of somebody else's HTML: no scripts, nothing from elsewhere, an origin of its own."""
    return HttpResponse(visible(content), content_type=content_type, headers=FRAMED)
