"""A project that logs with a BufferingHandler has tests of its own, and nothing of ours is seen by them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sites import ROOT

pytestmark = pytest.mark.processes

# As of a runner's process whose children are ended before they have tidied up.
KILLED = """
import os, signal, sys
import django
from django.test.utils import setup_test_environment
django.setup()
setup_test_environment()
import logging
pid = os.fork()
logging.getLogger("shop").error("failed")
if not pid:
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(pid, 0)
from django_maillog.spool.folder import spool_folder
print(sorted(str(path.relative_to(spool_folder())) for path in spool_folder().rglob("*.jsonl")))
"""

SETTINGS = """
import django

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "never-made.sqlite3"}}
SECRET_KEY = "secret"
ROOT_URLCONF = "shop.urls"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_maillog", "shop"]
ADMINS = ["ada@example.com"] if django.VERSION >= (6, 0) else [("Ada", "ada@example.com")]
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend"}}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "mail": {
            "class": "django_maillog.handlers.BufferingHandler",
            "report_level": "ERROR",
            "context": 20,
            "queries": True,
            "group_wait": 0,
        }
    },
    # Naming Django's logger takes Django's own handlers off it: mail_admins, and the console's.
    "loggers": {"django": {"level": "INFO"}},
    "root": {"handlers": ["mail"], "level": "DEBUG"},
}
"""

URLS = """
import logging

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import path

log = logging.getLogger("shop")


def fails(request):
    User.objects.count()
    raise ValueError("nothing in stock")


def logs(request):
    log.critical("%s users", User.objects.count())
    return HttpResponse("fine")


async def waits(request):
    log.error("%s users", await User.objects.acount())
    return HttpResponse("fine")


urlpatterns = [path("fails", fails), path("logs", logs), path("waits", waits)]
"""

TESTS = """
import logging
import threading

from django.contrib.auth.models import User
from django.core import mail
from django.db import transaction
from django.test import LiveServerTestCase, TestCase, TransactionTestCase
from urllib.request import urlopen


class Shared:
    def setUp(self):
        self.client.raise_request_exception = False
        self.before = set(threading.enumerate())

    def tearDown(self):
        assert mail.outbox == []
        # Of an async view's test asgiref keeps a thread, with and without us.
        assert [each for each in set(threading.enumerate()) - self.before if "maillog" in each.name] == []

    def test_a_view_that_fails_makes_its_own_query(self):
        with self.assertNumQueries(1):
            assert self.client.get("/fails").status_code == 500

    def test_a_view_that_logs_makes_its_own_query(self):
        with self.assertNumQueries(1):
            assert self.client.get("/logs").status_code == 200

    def test_an_async_view_makes_its_own_query(self):
        with self.assertNumQueries(1):
            assert self.client.get("/waits").status_code == 200

    async def test_an_async_test_goes_on(self):
        assert (await self.async_client.get("/waits")).status_code == 200

    def test_a_loop_that_logs_makes_no_query(self):
        with self.assertNumQueries(0):
            for number in range(200):
                logging.getLogger("shop").critical("number %s", number)

    def test_what_is_asserted_of_logs_is_what_was_logged(self):
        with self.assertLogs("shop", "ERROR") as logs:
            self.client.get("/logs")
        assert [record.getMessage() for record in logs.records] == ["0 users"]

    def test_a_mail_of_its_own_is_the_only_one(self):
        logging.getLogger("shop").critical("before")
        mail.send_mail("yours", "text", "shop@example.com", ["ada@example.com"])
        assert [message.subject for message in mail.outbox] == ["yours"]
        mail.outbox.clear()


class InATransaction(Shared, TestCase):
    def test_nothing_is_done_on_commit(self):
        with self.captureOnCommitCallbacks() as callbacks, transaction.atomic():
            logging.getLogger("shop").error("inside")
        assert callbacks == []


class Committing(Shared, TransactionTestCase):
    def test_a_thread_of_its_own_is_the_only_one(self):
        thread = threading.Thread(target=logging.getLogger("shop").error, args=["elsewhere"])
        thread.start()
        thread.join()
        assert set(threading.enumerate()) <= self.before


class Serving(Shared, LiveServerTestCase):
    def test_a_server_answers(self):
        assert urlopen(f"{self.live_server_url}/logs").read() == b"fine"
"""

RUNNERS = {
    "django": ["-m", "django", "test", "--noinput"],
    "django in two processes": ["-m", "django", "test", "--noinput", "--parallel=2"],
    "django in random order": ["-m", "django", "test", "--noinput", "--shuffle"],
    "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "shop/tests.py"],
    "pytest in two processes": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n2", "shop/tests.py"],
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of a project; folders for its state and for what is temporary lie beside it."""
    shop = tmp_path / "project" / "shop"
    shop.mkdir(parents=True)
    for name, text in {"settings": SETTINGS, "urls": URLS, "tests": TESTS, "__init__": ""}.items():
        (shop / f"{name}.py").write_text(text)
    (shop.parent / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    return shop.parent


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_project_s_tests_see_nothing_of_it(project: Path, runner: str) -> None:
    folder = project.parent
    ours = ("MAILLOG_", "DJANGO_", "PYTEST_", "XDG_", "COVERAGE_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env |= {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "HOME": str(folder / "home"),
        "PYTHONDEVMODE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f"{project}{os.pathsep}{ROOT}",
        "PYTHONWARNINGS": "error",
        "TMPDIR": str(folder / "tmp"),
    }
    before = set(folder.rglob("*"))

    done = subprocess.run(
        [sys.executable, *RUNNERS[runner]],
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Ran 24 tests" in said or "24 passed" in said, said
    assert "maillog" not in said, said
    # pytest-xdist keeps its folders.
    left = {path for path in folder.rglob("*") if "tmp/pytest-of-" not in str(path.relative_to(folder))}
    assert left == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_folder_of_a_child_that_is_killed_goes_with_its_parents(project: Path, tmp_path: Path) -> None:
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "PYTHONPATH": f"{project}{os.pathsep}{ROOT}",
        "TMPDIR": str(tmp_path / "tmp"),
    }
    done = subprocess.run([sys.executable, "-c", KILLED], env=env, capture_output=True, text=True, check=True)

    assert done.stdout.count(".jsonl") == 2
    assert list((tmp_path / "tmp").iterdir()) == []
