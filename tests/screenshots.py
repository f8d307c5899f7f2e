"""Make the README's pictures of the admin: ``python -m tests.screenshots`` writes two PNG files into docs/.

With a folder as argument it writes every page there, in both themes, as wide as a desk and as a phone.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PASSWORD = "only for pictures"


def prepare(folder: Path) -> dict[str, str]:
    """A database with the showcase in it; returns the paths of the pages by name."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    os.environ["DATABASE_URL"] = f"sqlite:///{folder / 'pictures.sqlite3'}"
    os.environ["MAILLOG_WORKER"] = "none"
    os.environ["MAILLOG_SPOOL_DIR"] = str(folder / "spool")
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.utils import timezone

    from django_maillog.models import Batch, Group, Record, Status
    from tests.showcase import Showcase

    call_command("migrate", run_syncdb=True, verbosity=0)
    get_user_model().objects.create_superuser("ada", password=PASSWORD)
    Showcase(timezone.now()).build()
    batches = {
        status: Batch.objects.filter(status=status).order_by("-record_count")[0].pk
        for status in Status
        if status != "sending"
    }
    group = Group.objects.get(title__startswith="KeyError")
    base = "/admin/django_maillog"
    return {
        "start": f"{base}/",
        "batches": f"{base}/batch/",
        "batches-filtered": f"{base}/batch/?status__exact=sent",
        **{f"batch-{status}": f"{base}/batch/{pk}/change/" for status, pk in batches.items()},
        "problems": f"{base}/group/",
        "problem": f"{base}/group/{group.pk}/change/",
        "records": f"{base}/record/",
        "record": f"{base}/record/{Record.objects.filter(full=True, group=group)[0].pk}/change/",
    }


@contextmanager
def serving() -> Iterator[str]:
    """The project behind Django's own server on a free port."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing of each request."""

    server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.set_app(StaticFilesHandler(get_wsgi_application()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def browsing(address: str, **options: Any) -> Iterator[Any]:
    """A page of a headless Chromium, logged in."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        page = browser.new_context(**options).new_page()
        page.goto(f"{address}/admin/login/")
        page.fill("#id_username", "ada")
        page.fill("#id_password", PASSWORD)
        page.click("[type=submit]")
        # The list of apps beside each page is folded away, as readers with a small screen have it.
        page.evaluate("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
        yield page
        browser.close()


def shoot_all(pages: dict[str, str], address: str, target: Path, only: list[str]) -> None:
    """Every page in both themes and both widths, whole."""
    target.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        for size in (DESK, PHONE):
            with browsing(address, color_scheme=theme, viewport=size) as page:
                for name, path in pages.items():
                    if only and name not in only:
                        continue
                    page.goto(address + path)
                    # A mail's frame is read when it comes into sight.
                    for frame in page.locator("iframe:visible").all():
                        frame.scroll_into_view_if_needed()
                        frame.content_frame.locator("body *").first.wait_for()
                    page.wait_for_load_state("networkidle")
                    page.screenshot(path=target / f"{name}-{theme}-{size['width']}.png", full_page=True)


def shoot_readme(pages: dict[str, str], address: str, target: Path) -> None:
    """The two pictures that the README shows."""
    target.mkdir(exist_ok=True)
    with browsing(address, color_scheme="light", viewport=DESK) as page:
        for name, file, height in (("batches", "batches.png", 1080), ("problems", "problems.png", 820)):
            page.set_viewport_size({**DESK, "height": height})
            page.goto(address + pages[name])
            page.wait_for_load_state("networkidle")
            page.screenshot(path=target / file)


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pages = prepare(Path(folder))
        with serving() as address:
            if arguments:
                shoot_all(pages, address, Path(arguments[0]), arguments[1:])
            else:
                shoot_readme(pages, address, ROOT / "docs")


if __name__ == "__main__":
    main(sys.argv[1:])
