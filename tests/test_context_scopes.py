"""Whose lines they are under real servers and workers: no request or task ever sees another's."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import django
import pytest

from tests.sites import SETUP, Site, wait_for
from tests.test_celery import celery, end, project
from tests.test_processes import free_port, need
from tests.test_tasks import needs_django_tasks, needs_tasks_db, use_settings

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
__all__ = ["project"]  # a fixture

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "mail": {
            "class": "django_maillog.handlers.BufferingHandler",
            "level": "DEBUG",
            "report_level": "ERROR",
            "context": 50,
        }
    },
    "root": {"handlers": ["mail"], "level": "WARNING"},
    "loggers": {"context_project": {"level": "DEBUG"}, "django.server": {"propagate": False}},
}

PROJECT = """
import asyncio, logging, time
from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from tests.settings import *
ROOT_URLCONF = "context_project"
MIDDLEWARE = []
log = logging.getLogger("context_project")

async def child(number):
    log.info("child of %s", number)
    await asyncio.sleep(0.01)

async def asynchronous(request, number):
    request.body
    # The first lines of the request are not logged by its own task.
    await asyncio.gather(child(number), child(number))
    await sync_to_async(log.debug)("thread of %s", number)
    await asyncio.sleep(0.02)
    log.error("failed %s", number, extra={"fingerprint": f"{number}"})
    return HttpResponse("done")

def synchronous(request, number):
    log.info("first of %s", number)
    request.body
    time.sleep(0.02)
    log.info("second of %s", number)
    log.error("failed %s", number, extra={"fingerprint": f"{number}"})
    return HttpResponse("done")

def asgi():
    application = get_asgi_application()
    log.info("started")
    return application

def wsgi():
    application = get_wsgi_application()
    log.info("started")
    return application

urlpatterns = [path("a/<int:number>/", asynchronous), path("s/<int:number>/", synchronous)]
"""
LINES = {"a": ["child of {0}", "child of {0}", "thread of {0}"], "s": ["first of {0}", "second of {0}"]}


@pytest.fixture
def server_site(site: Site, tmp_path: Path) -> Site:
    """A site with two views that log, fail and wait, whose spool nobody imports."""
    (tmp_path / "context_project.py").write_text(PROJECT)
    site.configure_logging(LOGGING)
    site.env |= {
        "DJANGO_SETTINGS_MODULE": "context_project",
        "PYTHONPATH": os.pathsep.join([site.env["PYTHONPATH"], str(tmp_path)]),
        "MAILLOG_WORKER": "none",
        "HOME": str(tmp_path),
    }
    return site


def written(site: Site) -> dict[str, dict[str, Any]]:
    """The records in the spool, by message."""
    texts = [path.read_text() for path in site.spool_dir.glob("*.jsonl")]
    values = [json.loads(line) for text in texts for line in text.splitlines()]
    return {value["message"]: value for value in values if "message" in value}


def messages(value: dict[str, Any]) -> list[str]:
    return [line["message"] for line in value.get("context", {"lines": []})["lines"]]


def kind(number: int) -> str:
    """Which of the views a request with this number is for."""
    return "as"[number % 2]


def visit(port: int, numbers: list[int]) -> None:
    """Requests one after the other on one connection; each second one is so large that reading pauses."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number in numbers:
        body = b"x" * (200_000 if number % 4 < 2 else 10)
        connection.request("POST", f"/{kind(number)}/{number}/", body=body)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
    connection.close()


def pipeline(port: int, numbers: list[int]) -> None:
    """Requests on one connection, none of which waits for an answer."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        for number in numbers:
            connection.sendall(f"GET /{kind(number)}/{number}/ HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
        answers = b""
        while answers.count(b"200 OK") < len(numbers):
            answers += connection.recv(65_536)


SERVERS = {
    "uvicorn": ["uvicorn", "--factory", "context_project:asgi", "--log-level=warning"],
    "gunicorn": [
        *["gunicorn", "context_project:wsgi()", "--worker-class=gthread", "--threads=16"],
        *["--keep-alive=30", "--log-level=warning"],
    ],
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_hundred_concurrent_requests_never_see_each_others_lines(server_site: Site, server: str) -> None:
    need(server)
    port = free_port()
    address = f"--port={port}" if server == "uvicorn" else f"--bind=127.0.0.1:{port}"
    process = server_site.popen([sys.executable, "-m", *SERVERS[server], address])
    wait_for(lambda: answers(port, process))

    visitors = [
        threading.Thread(target=visit, args=[port, list(range(first, first + 4))])
        for first in range(0, 400, 4)
    ]
    visitors.append(threading.Thread(target=pipeline, args=[port, list(range(400, 410))]))
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    end(process)

    found = written(server_site)
    assert set(found) == {f"failed {number}" for number in range(410)}
    for number in range(410):
        expected = [line.format(number) for line in LINES[kind(number)]]
        assert messages(found[f"failed {number}"]) == expected
        # Up to Django 6.0 a request that was sent before the last one was answered may take over its scope.
        if number < 400 or django.VERSION >= (6, 1) or server == "gunicorn":
            assert found[f"failed {number}"]["context"]["scope"] == "request"


def answers(port: int, process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, "the server ended"
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


TASKS = """
import logging
from celery import shared_task
log = logging.getLogger("proj")
@shared_task
def fail(number):
    log.info("first of %s", number)
    log.info("second of %s", number)
    raise LookupError(f"number {number}")
"""


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_each_celery_task_tells_its_own_lines(project: Site, tmp_path: Path, pool: str) -> None:
    (tmp_path / "proj" / "tasks.py").write_text(TASKS)
    project.configure_logging({**LOGGING, "loggers": {"proj": {"level": "DEBUG"}}})
    project.env["MAILLOG_WORKER"] = "none"
    # Each failure by itself is captured in full.
    project.env["MAILLOG_TEST_LOGGING"] = project.env["MAILLOG_TEST_LOGGING"].replace(
        '"context": 50', '"context": 50, "fingerprint": "proj.keys.by_message"'
    )
    (tmp_path / "proj" / "keys.py").write_text(
        "from django_maillog.capture.fingerprint import Key\n"
        "def by_message(record):\n"
        "    name = str(record.exc_info[1])[:60].replace(' ', '-')\n"
        "    return Key(name, name)\n"
    )
    worker = celery(project, "worker", f"--pool={pool}", "--concurrency=4")
    project.run("from proj.tasks import *\nfor n in range(20): fail.delay(n)")

    def failed() -> dict[str, dict[str, Any]]:
        return {
            value["exception"]["value"]: value
            for value in written_all(project)
            if value.get("exception", {}).get("type") == "LookupError"
        }

    wait_for(lambda: len(failed()) == 20)
    end(worker)

    for number in range(20):
        value = failed()[f"number {number}"]
        assert value["context"]["scope"] == "task"
        assert messages(value) == [f"first of {number}", f"second of {number}"]


def written_all(site: Site) -> list[dict[str, Any]]:
    texts = [path.read_text() for path in site.spool_dir.glob("*.jsonl")]
    lines = [line for text in texts for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [value for value in map(json.loads, lines) if "message" in value]


DJANGO_TASKS = """
import logging
from django.tasks import task
log = logging.getLogger("context_project")
@task
def fail(number):
    log.info("first of %s", number)
    log.info("second of %s", number)
    log.error("failed %s", number, extra={"fingerprint": f"{number}"})
"""
TASK_SETTINGS = """
from tests.settings import *
INSTALLED_APPS += ["django_tasks_db"]
TASKS = {"default": {"BACKEND": "BACKEND_PATH"}}
"""


@needs_django_tasks
@needs_tasks_db
@pytest.mark.parametrize(
    "backend", ["django.tasks.backends.immediate.ImmediateBackend", "django_tasks_db.DatabaseBackend"]
)
def test_each_django_task_tells_its_own_lines(empty_site: Site, tmp_path: Path, backend: str) -> None:
    site = empty_site
    use_settings(site, TASK_SETTINGS.replace("BACKEND_PATH", backend))
    (tmp_path / "shop_tasks.py").write_text(DJANGO_TASKS)
    site.configure_logging(LOGGING)
    site.env["MAILLOG_WORKER"] = "none"
    site.manage("migrate", "--verbosity=0")

    site.run("import logging, shop_tasks\nfor n in range(3): shop_tasks.fail.enqueue(n)")
    if "db" in backend:
        site.manage("db_worker", "--batch", "--no-startup-delay", "--verbosity=0")

    found = written(site)
    for number in range(3):
        value = found[f"failed {number}"]
        assert value["context"]["scope"] == "task"
        assert messages(value) == [f"first of {number}", f"second of {number}"]


COMMAND = """
import logging, threading
log = logging.getLogger("context_project")
log.info("read the list")
other = threading.Thread(target=log.info, args=["in another thread"])
other.start()
other.join()
log.error("failed")
"""


def test_a_command_tells_the_lines_of_its_thread(site: Site) -> None:
    site.configure_logging(LOGGING)

    site.popen([sys.executable, "-c", SETUP + COMMAND], env={"MAILLOG_WORKER": "none"}).communicate(
        timeout=60
    )

    value = written(site)["failed"]
    assert value["context"]["scope"] == "thread"
    assert messages(value) == ["read the list"]
