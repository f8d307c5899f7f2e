"""`MAILLOG_DELIVERY = "task"`: the worker seals, a task delivers."""

from __future__ import annotations

import math
import os
from importlib.util import find_spec

import django
import pytest

from django_maillog import compat
from django_maillog.worker import enqueuer
from django_maillog.worker.heartbeat import Heartbeat
from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

needs_django_tasks = pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has tasks since 6.0")
needs_tasks_db = pytest.mark.skipif(
    not find_spec("django_tasks_db"), reason="django-tasks-db isn't installed"
)

IMMEDIATE = """
from tests.settings import *
TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
"""
DATABASE = """
from tests.settings import *
INSTALLED_APPS += ["django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
"""
EAGER = """
from celery import Celery
app = Celery("tests", broker="memory://")
app.conf.task_always_eager = True
app.set_default()
from django_maillog.tasks import deliver
assert deliver.name == "django_maillog.tasks.deliver"
"""
NOBODY = """
from celery import Celery
Celery("tests", broker="redis://127.0.0.1:9/0").set_default()
"""
LOG = """
import logging
logging.getLogger("shop").error("by a task")
"""
# Each try is met by a record that nobody imports until the try is over.
IMPATIENT = """
import logging, sys, threading
from django_maillog import compat
from django_maillog.worker import enqueuer
enqueuer.RETRY_SECONDS, enqueuer.GIVE_UP_SECONDS = 0.1, 1
logging.getLogger("django_maillog").addHandler(logging.StreamHandler(sys.stdout))
enqueue_task = compat.enqueue_task
def enqueue(path):
    other = threading.Thread(target=logging.getLogger("shop").error, args=["meanwhile"])
    other.start()
    other.join()
    enqueue_task(path)
compat.enqueue_task = enqueue
for line in sys.stdin:
    logging.getLogger("shop").critical(line.strip(), extra={"fingerprint": line})
"""


def use_settings(site: Site, text: str) -> None:
    """Have the site's processes use these settings."""
    (site.folder / "task_settings.py").write_text(text)
    site.env["DJANGO_SETTINGS_MODULE"] = "task_settings"
    site.env["PYTHONPATH"] += os.pathsep + str(site.folder)


@pytest.mark.parametrize("runner", [pytest.param("django", marks=needs_django_tasks), "celery"])
def test_a_task_delivers_what_the_worker_seals(site: Site, smtp: SMTPServer, runner: str) -> None:
    if runner == "django":
        use_settings(site, IMMEDIATE)
    if runner == "celery":
        pytest.importorskip("celery")
    site.configure_logging({**LOGGING, "loggers": {**LOGGING["loggers"], "celery": {"propagate": False}}})

    site.run((EAGER if runner == "celery" else "") + LOG, env={"MAILLOG_DELIVERY": "task"})

    [mail] = smtp.messages
    assert mail["Subject"] == "[Django] ERROR by a task"


@needs_django_tasks
@needs_tasks_db
def test_a_worker_of_django_tasks_db_delivers(empty_site: Site, smtp: SMTPServer) -> None:
    site = empty_site  # whose tables no other test finds
    use_settings(site, DATABASE)
    site.env["MAILLOG_DELIVERY"] = "task"
    site.manage("migrate", "--verbosity=0")
    site.run(LOG + "for _ in range(99): logging.getLogger('shop').error('by a task')")
    assert smtp.messages == []

    site.manage("db_worker", "--batch", "--no-startup-delay")

    [mail] = smtp.messages
    assert (mail["Subject"], mail["X-Maillog-Count"]) == ("[Django] ERROR ×100 by a task", "100")


@pytest.mark.parametrize(
    "broker",
    [
        "nobody answers",
        pytest.param("no table", marks=[needs_django_tasks, needs_tasks_db]),
    ],
)
def test_where_no_task_can_be_enqueued_the_worker_delivers_and_says_so_once(
    site: Site, smtp: SMTPServer, broker: str
) -> None:
    code = IMPATIENT
    if broker == "no table":
        use_settings(site, DATABASE)
    else:
        pytest.importorskip("redis")
        code = NOBODY + IMPATIENT
    site.env |= {"MAILLOG_DELIVERY": "task", "MAILLOG_OUTAGE_WAIT": "1"}
    process = site.start(code)
    assert process.stdin is not None
    for number, name in enumerate(["one", "two"], 1):
        process.stdin.write(f"{name}\n")
        process.stdin.flush()
        smtp.wait_for(number)

    printed, _ = process.communicate()

    # No digest from the spool: the database was there all the time.
    assert {mail["X-Maillog-Reason"] for mail in smtp.messages} <= {"level", "new"}
    assert printed.startswith("no task can be enqueued, the worker delivers: ")
    # Nothing else was warned of; a database's error may be several lines.
    assert printed.count("error=") == 1


@pytest.mark.django_db
def test_a_failure_is_tried_again_while_something_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "enqueue_task", lambda path: path.no_attribute)
    monkeypatch.setattr(enqueuer, "RETRY_SECONDS", 0)
    asked = enqueuer.Enqueuer(Heartbeat())

    asked.deliver(sealed=True)
    assert asked.retry_seconds() == 0
    asked.deliver(sealed=False)
    assert asked.retry_seconds() == math.inf


def test_without_tasks_the_batch_stays_ready_for_the_command(site: Site, smtp: SMTPServer) -> None:
    site.run(LOG, env={"MAILLOG_DELIVERY": "command"})
    assert smtp.messages == []

    site.manage("flush_maillogs", "--due")

    [mail] = smtp.messages
    assert mail["Subject"] == "[Django] ERROR by a task"
