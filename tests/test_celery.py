"""A Celery worker as Celery's documentation starts it, with a real broker, under the README's LOGGING."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import lack
from tests.sites import Site, wait_for
from tests.smtp import SMTPServer

pytest.importorskip("celery")
kombu = pytest.importorskip("kombu")
redis = pytest.importorskip("redis")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

BROKERS = {"redis": "MAILLOG_TEST_REDIS_URL", "rabbitmq": "MAILLOG_TEST_RABBITMQ_URL"}
PROJECT = {
    "__init__.py": "from .celery import app as celery_app",
    "celery.py": """
from celery import Celery
app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
""",
    "settings.py": """
import json, os
from tests.settings import *
INSTALLED_APPS += ["proj"]
CELERY_BROKER_URL = os.environ["PROJ_BROKER"]
CELERY_TASK_DEFAULT_QUEUE = os.environ["PROJ_QUEUE"]
if CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": os.environ["PROJ_QUEUE"]}
CELERY_WORKER_REDIRECT_STDOUTS = False
""",
    "tasks.py": """
import logging
from celery import shared_task
from celery.utils.log import get_task_logger
@shared_task
def fail(number):
    raise LookupError(number)
@shared_task
def log_both():
    get_task_logger(__name__).error("by the task logger")
    logging.getLogger("proj.elsewhere").error("by another logger")
""",
}


def readme_logging(**options: Any) -> dict[str, Any]:
    """The README's first example, its handler with these arguments."""
    mail = {"class": "django_maillog.handlers.BufferingHandler", "level": "ERROR", **options}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"mail": mail, "console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["mail", "console"]},
        "loggers": {
            "django": {"level": "INFO"},
            "django.server": {"handlers": ["console"], "propagate": False},
        },
    }


@pytest.fixture
def project(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """The site with Celery, and with queues of its own at the broker: Redis unless the test says another."""
    variable = BROKERS[getattr(request, "param", "redis")]
    broker = os.environ.get(variable, "")
    if not broker:
        lack(f"{variable} isn't set: no broker to test with")
    (tmp_path / "proj").mkdir()
    for name, text in PROJECT.items():
        (tmp_path / "proj" / name).write_text(text)
    site.env |= {
        "DJANGO_SETTINGS_MODULE": "proj.settings",
        "PYTHONPATH": os.pathsep.join([site.env["PYTHONPATH"], str(tmp_path)]),
        "PYTHONDEVMODE": "",
        "PROJ_BROKER": broker,
        "PROJ_QUEUE": f"maillog-{uuid.uuid4().hex}",
    }
    site.configure_logging(readme_logging(group_wait=1))
    yield site
    # A worker that a failed test left would make its keys again.
    site.stop()
    forget(broker, site.env["PROJ_QUEUE"])


def forget(broker: str, queue: str) -> None:
    """Take away what a test has left at the broker."""
    if broker.startswith("redis"):
        with redis.Redis.from_url(broker) as server:
            for key in server.scan_iter(f"{queue}*"):
                server.delete(key)
        return
    with kombu.Connection(broker) as connection:
        channel = connection.channel()
        channel.queue_delete(queue)
        channel.exchange_delete(queue)


def celery(project: Site, *args: str) -> subprocess.Popen[str]:
    return project.popen([sys.executable, "-m", "celery", "-A", "proj", *args])


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def counts(smtp: SMTPServer) -> int:
    return sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages)


GROUPS = """
import json
from django_maillog.models import Group
print(json.dumps(dict(Group.objects.values_list("title", "count"))))
"""


def groups(project: Site) -> Any:
    return json.loads(project.run(GROUPS, env={"MAILLOG_WORKER": "none"}).stdout)


@pytest.mark.parametrize(
    ("project", "pool"),
    [("redis", "prefork"), ("redis", "threads"), ("redis", "solo"), ("rabbitmq", "prefork")],
    indirect=["project"],
)
def test_each_failing_task_is_mailed_once(project: Site, smtp: SMTPServer, pool: str) -> None:
    worker = celery(project, "worker", f"--pool={pool}", "--concurrency=2")
    project.run("from proj.tasks import *\nfor n in range(5): fail.delay(n)\nlog_both.delay()")

    smtp.wait_for(1)
    wait_for(lambda: sum(groups(project).values()) >= 7)
    end(worker)

    found = groups(project)
    failed = sum(count for title, count in found.items() if "LookupError" in title)
    assert (failed, sum(found.values())) == (5, 7)
    assert found["by the task logger"] == found["by another logger"] == 1
    project.manage("flush_maillogs")
    assert counts(smtp) == 7


def test_a_child_that_ends_mails_its_news(project: Site, smtp: SMTPServer) -> None:
    project.configure_logging(readme_logging(group_wait=3600))
    worker = celery(project, "worker", "--concurrency=1", "--max-tasks-per-child=1")
    project.run("from proj.tasks import *\nfail.delay(1)")

    [mail] = smtp.wait_for(1)

    assert worker.poll() is None
    assert mail["X-Maillog-Count"] == "1"
    end(worker)


def test_a_beat_that_fails_is_mailed(project: Site, smtp: SMTPServer, tmp_path: Path) -> None:
    # Beat logs a broker that it can't reach, and goes on.
    project.env["PROJ_BROKER"] = "redis://127.0.0.1:9/0"
    with (tmp_path / "proj" / "settings.py").open("a") as settings:
        settings.write(
            'CELERY_BEAT_SCHEDULE = {"soon": {"task": "proj.tasks.fail", "args": [1], "schedule": 0.1}}\n'
        )
    beat = celery(project, "beat", f"--schedule={tmp_path / 'schedule'}", f"--pidfile={tmp_path / 'pid'}")

    [mail, *_more] = smtp.wait_for(1)
    beat.kill()

    assert "beat: Connection error" in mail["Subject"]
