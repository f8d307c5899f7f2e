"""A real headless Chromium in front of a live server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from pytest_django.live_server_helper import LiveServer

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PASSWORD = "only for tests"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser; Playwright's own event loop must not look like an asynchronous caller to Django."""
    from playwright.sync_api import sync_playwright

    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(params=["with JavaScript", "without JavaScript"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that has loaded nothing from anywhere else, and reported no error, when the test ends."""
    problems: list[str] = []
    context = browser.new_context(java_script_enabled=request.param == "with JavaScript")
    opened = context.new_page()
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("dialog", lambda dialog: problems.append(f"a dialog: {dialog.message}"))
    opened.on("response", lambda got: problems.append(got.url) if "//localhost:" not in got.url else None)
    yield opened
    context.close()
    assert problems == []


@pytest.fixture
def log_in(page: Page, live_server: LiveServer, django_user_model: Any) -> Page:
    """The page, with a superuser logged in through the form, on the admin's start page."""
    django_user_model.objects.create_superuser("ada", password=PASSWORD)
    page.goto(f"{live_server.url}/admin/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    return page
