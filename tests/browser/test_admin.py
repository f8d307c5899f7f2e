"""The admin as a person uses it: look, flush, silence; with and without JavaScript, on desk and phone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from django_maillog.models import Batch, Group, Record, Status
from tests.showcase import Showcase
from tests.smtp import SMTPServer

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

View = Callable[[HttpRequest], HttpResponse]
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(autouse=True)
def _rows(db: None) -> None:
    Showcase(timezone.now()).build()


def test_a_pending_batch_is_seen_previewed_flushed_and_seen_sent(log_in: Page, smtp: SMTPServer) -> None:
    page = log_in
    page.get_by_role("link", name="Mail log", exact=True).first.click()
    page.get_by_role("link", name="mail_admins").click()
    page.get_by_role("heading", name="Next mail of mail_admins").wait_for()
    frame = page.frame_locator("iframe[title='The mail as HTML']")
    frame.get_by_text("ZeroDivisionError: division by zero").first.wait_for()
    page.get_by_text("As text").click()
    text = page.frame_locator("iframe[title='The mail as text']")
    text.get_by_text("ZeroDivisionError").first.wait_for()

    page.get_by_role("button", name="Flush now").click()

    page.get_by_text("was sent to ada@example.com, alan@example.com").wait_for()
    assert page.locator(".maillog-head .maillog-sent").inner_text() == "sent"
    page.get_by_role("button", name="Send again").wait_for()
    (mail,) = smtp.messages
    assert "ZeroDivisionError" in mail["Subject"]
    page.get_by_role("link", name="Batches", exact=True).first.click()
    row = page.locator("#result_list tr", has_text=mail["Subject"].strip()[:40]).first
    row.get_by_text("sent", exact=True).wait_for()


def test_a_group_is_silenced_with_a_note_by_keyboard_alone(log_in: Page, live_server: LiveServer) -> None:
    page, group = log_in, Group.objects.get(title__startswith="KeyError")
    page.goto(f"{live_server.url}/admin/django_maillog/group/{group.pk}/change/")

    page.get_by_label("Silence:").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type("known, the fix goes out tonight")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    page.get_by_text("is silenced for 1 day").wait_for()
    page.get_by_text("ada: known, the fix goes out tonight").wait_for()
    page.get_by_role("button", name="End silence").click()
    page.get_by_text("is no longer silenced").wait_for()


def test_groups_are_silenced_from_the_list(log_in: Page, live_server: LiveServer) -> None:
    page = log_in
    page.goto(f"{live_server.url}/admin/django_maillog/group/?q=Stock")

    page.locator("#result_list input[name=_selected_action]").check()
    page.locator("select[name=action]").select_option(label="Silence for ever")
    page.locator(".actions button").click()

    page.get_by_text("is silenced for ever").wait_for()
    page.get_by_text("silenced for ever", exact=True).wait_for()


def test_library_frames_unfold(log_in: Page, live_server: LiveServer) -> None:
    page, record = log_in, Record.objects.filter(full=True).exclude(traceback="")[0]
    page.goto(f"{live_server.url}/admin/django_maillog/record/{record.pk}/change/")
    frame = page.get_by_text("response = get_response(request)").first
    hidden = not frame.is_visible()

    page.get_by_text("3 library frames").click()

    assert hidden
    assert frame.is_visible()


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """The address of another site, and the paths that it was asked for."""
    asked: list[str] = []

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_a_hostile_mail_runs_nothing_and_loads_nothing(
    log_in: Page, live_server: LiveServer, elsewhere: tuple[str, list[str]]
) -> None:
    page, batch = log_in, Batch.objects.filter(status=Status.SENT)[0]
    address, asked = elsewhere
    remote = f"<img src='{address}/pixel.png'><style>@import '{address}/style.css'</style>"
    batch.subject, batch.html = EVIL, f"<p>the mail</p>{EVIL}{remote}"
    batch.save()

    page.goto(f"{live_server.url}/admin/django_maillog/batch/{batch.pk}/change/")
    page.frame_locator("iframe[title='The mail as HTML']").get_by_text("the mail").wait_for()
    page.wait_for_load_state("networkidle")

    page.get_by_role("heading", name=EVIL).wait_for()
    assert asked == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_is_wider_than_the_screen(
    log_in: Page, live_server: LiveServer, width: int, theme: str
) -> None:
    page = log_in
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    batch, group, record = Batch.objects.all()[0], Group.objects.all()[0], Record.objects.filter(full=True)[0]

    wide = {}
    for path in (
        "",
        "batch/",
        "group/",
        "record/",
        f"batch/{batch.pk}/change/",
        f"group/{group.pk}/change/",
        f"record/{record.pk}/change/",
    ):
        page.goto(f"{live_server.url}/admin/django_maillog/{path}")
        needed = page.locator("html").evaluate("element => element.scrollWidth")
        if needed > width:
            wide[path] = needed

    assert wide == {}


@pytest.mark.parametrize(
    ("language", "side_bar"), [("en", "folded"), ("en", "open"), ("de", "open"), ("fr", "open")]
)
@pytest.mark.parametrize("name", ["batch", "group", "record"])
def test_a_list_fits_beside_its_filters(
    log_in: Page, live_server: LiveServer, settings: Any, name: str, language: str, side_bar: str
) -> None:
    page = log_in
    settings.LANGUAGE_CODE = language
    page.set_viewport_size({"width": 1280, "height": 800})
    folded = "false" if side_bar == "folded" else "true"
    page.evaluate(f"localStorage.setItem('django.admin.navSidebarIsOpen', '{folded}')")

    page.goto(f"{live_server.url}/admin/django_maillog/{name}/")

    edge = page.locator("#changelist-filter").bounding_box()
    last = page.locator("#result_list thead th:visible").last.bounding_box()
    assert edge is not None
    assert last is not None
    assert last["x"] + last["width"] <= edge["x"]
    needed, there = page.locator(".results").evaluate("list => [list.scrollWidth, list.clientWidth]")
    assert needed <= there


def test_an_empty_log_says_what_to_try_first(log_in: Page, live_server: LiveServer) -> None:
    page = log_in
    Batch.objects.all().delete()
    Group.objects.all().delete()

    for name in ("", "batch/"):
        page.goto(f"{live_server.url}/admin/django_maillog/{name}")
        page.get_by_role("heading", name="Nothing has been logged yet").wait_for()
        page.get_by_text("python manage.py test_maillog").first.wait_for()
    page.goto(f"{live_server.url}/admin/django_maillog/group/?level=40")
    page.get_by_text("Nothing here matches.").wait_for()


def forbid_frames(get_response: View) -> View:
    """A project's middleware: no frames, on pages that say nothing else themselves."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", "frame-src 'none'")
        return response

    return middleware


def test_where_no_frames_are_allowed_a_link_leads_to_the_mail(
    log_in: Page, live_server: LiveServer, settings: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.forbid_frames"]
    batch = Batch.objects.filter(status=Status.SENT)[0]
    page = log_in

    page.goto(f"{live_server.url}/admin/django_maillog/batch/{batch.pk}/change/")
    framed = page.frame_locator("iframe.maillog-mail").first.locator("body")
    hint = page.get_by_text("The frame below stays blank where the Content-Security-Policy")
    assert hint.is_visible()
    assert framed.count() == 0 or batch.subject[:20] not in framed.inner_text()
    page.get_by_role("link", name="Open it in a page of its own").first.click()

    assert page.url.endswith("/mail.html/")
    assert "Times are in" in page.locator("body").inner_text()
