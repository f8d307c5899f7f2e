"""`MAILLOG_DELIVERY = "task"`: the worker seals, a task delivers."""

from __future__ import annotations

import os
from pathlib import Path

import django
import pytest

from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

IMMEDIATE = """
from tests.settings import *
TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
"""
EAGER = """
from celery import Celery
app = Celery("tests", broker="memory://")
app.conf.task_always_eager = True
app.set_default()
"""
LOG = """
import logging
logging.getLogger("shop").error("by a task")
"""


@pytest.mark.parametrize("runner", ["django", "celery"])
def test_a_task_delivers_what_the_worker_seals(
    site: Site, smtp: SMTPServer, tmp_path: Path, runner: str
) -> None:
    if runner == "django" and django.VERSION < (6, 0):
        pytest.skip("Django has tasks since 6.0")
    if runner == "django":
        (tmp_path / "task_settings.py").write_text(IMMEDIATE)
        site.env["DJANGO_SETTINGS_MODULE"] = "task_settings"
        site.env["PYTHONPATH"] += os.pathsep + str(tmp_path)
    if runner == "celery":
        pytest.importorskip("celery")
    site.configure_logging({**LOGGING, "loggers": {**LOGGING["loggers"], "celery": {"propagate": False}}})

    site.run((EAGER if runner == "celery" else "") + LOG, env={"MAILLOG_DELIVERY": "task"})

    [mail] = smtp.messages
    assert mail["Subject"] == "[Django] ERROR by a task"


def test_without_tasks_the_batch_stays_ready_for_the_command(site: Site, smtp: SMTPServer) -> None:
    site.run(LOG, env={"MAILLOG_DELIVERY": "command"})
    assert smtp.messages == []

    site.manage("flush_maillogs", "--due")

    [mail] = smtp.messages
    assert mail["Subject"] == "[Django] ERROR by a task"
