"""The release's folder is removed under a live process: what it has to report is mailed all the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sites import LOGGING, ROOT, Site
from tests.smtp import SMTPServer

DIRECT: dict[str, Any] = {
    **LOGGING,
    "handlers": {
        **LOGGING["handlers"],
        "direct": {"class": "django_maillog.handlers.SMTPHandler", "include_html": True},
        "memory": {"class": "django_maillog.handlers.MemoryHandler", "capacity": 10, "target": "direct"},
    },
    "loggers": {
        **LOGGING["loggers"],
        "direct": {"handlers": ["direct"], "propagate": False},
        "memory": {"handlers": ["memory"], "propagate": False},
    },
}

CODE = """
import logging, sys, threading
import django
django.setup()
import django_maillog.worker.thread
loaded, preload = threading.Event(), django_maillog.worker.thread.preload
django_maillog.worker.thread.preload = lambda: (preload(), loaded.set())

def fail(logger):
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger(logger).exception("failed in %s", logger)

fail("shop")
print(django_maillog.__file__, loaded.wait(60), flush=True)
sys.stdin.readline()
for logger in ("direct", "memory"):
    fail(logger)
    logging.getLogger(logger).error("failed in %s without an exception", logger)
"""

SUBJECTS = [
    "[Django] ERROR ZeroDivisionError: division by zero",
    "[Django] ERROR ZeroDivisionError: division by zero",
    "[Django] ERROR failed in memory without an exception",
    "[Django] ERROR: failed in direct",
    "[Django] ERROR: failed in direct without an exception",
]


def unpacked(folder: Path) -> Path:
    shutil.copytree(ROOT / "django_maillog", folder / "django_maillog")
    return folder


def zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", ROOT, "django_maillog"))


@pytest.mark.parametrize("release", [unpacked, zipped])
def test_mails_go_out_after_the_release_was_removed(
    site: Site, smtp: SMTPServer, tmp_path: Path, release: Any
) -> None:
    site.configure_logging(DIRECT)
    path = release(tmp_path / "release")
    process = site.popen(
        [sys.executable, "-P", "-c", CODE],
        env={"PYTHONPATH": f"{path}:{ROOT}"},
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"{path}/django_maillog/__init__.py True\n"

    shutil.rmtree(path) if path.is_dir() else path.unlink()
    _out, errors = process.communicate("\n", timeout=60)

    assert (process.returncode, errors) == (0, "")
    assert sorted(str(mail["Subject"]) for mail in smtp.wait_for(len(SUBJECTS))) == SUBJECTS
