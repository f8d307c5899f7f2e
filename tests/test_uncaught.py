"""What isn't logged isn't mailed: the documented recipes for what Django doesn't log, with real servers."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_maillog.uncaught import log_uncaught
from tests.sites import ROOT, Site, wait_for
from tests.smtp import SMTPServer

PROJECT = {
    "__init__.py": "",
    "apps.py": """
from django.apps import AppConfig
class ProjConfig(AppConfig):
    name = "proj"
    def ready(self):
        from django_maillog.uncaught import log_uncaught
        log_uncaught()
        log_uncaught()
""",
    "settings.py": """
from tests.settings import *
INSTALLED_APPS += ["proj.apps.ProjConfig"]
ROOT_URLCONF = "proj.urls"
ALLOWED_HOSTS = ["*"]
""",
    "urls.py": """
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
def chunks():
    yield b"a"
    raise LookupError("in the stream")
async def achunks():
    yield b"a"
    raise LookupError("in the stream")
async def aview(request):
    return StreamingHttpResponse(achunks())
urlpatterns = [path("sync/", lambda request: StreamingHttpResponse(chunks())), path("async/", aview),
               path("", lambda request: HttpResponse("up"))]
""",
    "wsgi.py": "from django.core.wsgi import get_wsgi_application as make\napplication = make()",
    "asgi.py": "from django.core.asgi import get_asgi_application as make\napplication = make()",
    "management/__init__.py": "",
    "management/commands/__init__.py": "",
    "management/commands/nightly.py": """
from django.core.management.base import BaseCommand, CommandError
class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("how")
    def handle(self, *args, how, **options):
        raise {"fail": LookupError("in the night"), "told": CommandError("told"), "stop": KeyboardInterrupt(),
               "exit": SystemExit(3)}[how]
""",
}


def recipe() -> dict[str, Any]:
    """The documented LOGGING for these."""
    page = (ROOT / "docs" / "handlers.md").read_text(encoding="utf-8")
    section = page.partition("### What Django doesn't log")[2]
    found = re.search(r"```python\n(LOGGING =.*?)```", section, re.DOTALL)
    assert found
    values: dict[str, Any] = {}
    exec(found[1], values)
    return dict(values["LOGGING"])


@pytest.fixture
def project(site: Site, tmp_path: Path) -> Site:
    for name, content in PROJECT.items():
        path = tmp_path / "proj" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    site.env |= {"DJANGO_SETTINGS_MODULE": "proj.settings", "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    site.configure_logging(recipe())
    return site


def text_of(mail: Any) -> str:
    return str(mail.get_body(("plain",)).get_content())


def subjects(site: Site, smtp: SMTPServer) -> list[str]:
    site.manage("flush_maillogs")
    return [str(mail["Subject"]) for mail in smtp.messages]


def test_a_command_that_fails_is_mailed_when_it_ends(project: Site, smtp: SMTPServer) -> None:
    done = project.manage("nightly", "fail", check=False)

    [mail] = smtp.wait_for(1)
    assert "LookupError: in the night" in mail["Subject"]
    assert "nightly ended by an uncaught exception" in text_of(mail)
    assert "LookupError: in the night" in done.stderr


@pytest.mark.parametrize("how", ["told", "stop", "exit"])
def test_a_command_that_ends_on_purpose_is_not_mailed(how: str, project: Site, smtp: SMTPServer) -> None:
    assert project.manage("nightly", how, check=False).returncode

    assert subjects(project, smtp) == []


def test_threads_and_tasks_that_fail_are_mailed(project: Site, smtp: SMTPServer) -> None:
    done = project.run(
        "import asyncio, gc, threading\n"
        "def fail(): raise LookupError('in a thread')\n"
        "thread = threading.Thread(target=fail, name='importer'); thread.start(); thread.join()\n"
        "async def task(): raise LookupError('in a task')\n"
        "async def main():\n"
        "    started = asyncio.ensure_future(task()); await asyncio.sleep(0)\n"
        "    del started; gc.collect()\n"
        "asyncio.run(main())\n"
    )

    text = text_of(smtp.wait_for(1)[0])
    assert "LookupError: in a thread" in text
    assert "LookupError: in a task" in text
    assert "LookupError: in a thread" in done.stderr


def test_what_ends_a_thread_or_the_process_is_logged_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "excepthook", lambda *args: told.append(args[0]))
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    log_uncaught()
    hook = sys.excepthook
    log_uncaught()

    assert sys.excepthook is hook
    hook(ValueError, ValueError("in the process"), None)
    hook(KeyboardInterrupt, KeyboardInterrupt(), None)
    for thread in (threading.current_thread(), None):
        args = (LookupError, LookupError("in a thread"), None, thread)
        threading.excepthook(threading.ExceptHookArgs(args))
    threading.excepthook(threading.ExceptHookArgs((SystemExit, None, None, None)))

    assert told == [ValueError, KeyboardInterrupt, LookupError, LookupError, SystemExit]
    assert [record.name for record in caplog.records] == ["uncaught"] * 3
    assert "MainThread ended" in caplog.text
    assert "a thread ended" in caplog.text


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


SERVERS: dict[str, tuple[str, Callable[[int], list[str]]]] = {
    "gunicorn": ("sync/", lambda port: ["gunicorn", f"--bind=127.0.0.1:{port}", "proj.wsgi"]),
    "uvicorn": ("async/", lambda port: ["uvicorn", f"--port={port}", "proj.asgi:application"]),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_streaming_response_that_fails_is_mailed(
    server: str, project: Site, smtp: SMTPServer, tmp_path: Path
) -> None:
    pytest.importorskip(server)
    path, command = SERVERS[server]
    port = free_port()
    with (tmp_path / "stderr").open("w") as stderr:
        started = project.popen([sys.executable, "-m", *command(port)], stderr=stderr)

    def ask(path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
                return bool(answer.read())
        except OSError:
            return False

    wait_for(lambda: ask("") or started.poll() is not None)
    # The server cuts the answer off.
    with contextlib.suppress(http.client.HTTPException):
        ask(path)
    wait_for(lambda: any("in the stream" in file.read_text() for file in project.spool_dir.glob("*.jsonl")))
    started.terminate()
    started.wait(60)

    assert any("LookupError: in the stream" in subject for subject in subjects(project, smtp))
    assert "in the stream" in (tmp_path / "stderr").read_text()
