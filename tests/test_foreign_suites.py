"""The handler tests of the standard library and of Django, with our classes in place of theirs.

The standard library's run where Python ships its tests. Django's run where MAILLOG_TEST_DJANGO_SOURCES names
a folder in which Django's source distributions lie unpacked, as ``.ci/run`` gets them. A test that is
expected to fail here asks for something that is better otherwise: what it is stands beside its name.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import django
import pytest

from tests.sites import ROOT

STDLIB = """
import logging.handlers, sys, unittest
from django.conf import settings
settings.configure()
from test import test_logging
from django_maillog import handlers
logging.handlers.SMTPHandler = handlers.SMTPHandler
logging.handlers.MemoryHandler = handlers.MemoryHandler
suite = unittest.defaultTestLoader.loadTestsFromTestCase(getattr(test_logging, sys.argv[1]))
result = unittest.TextTestRunner().run(suite)
sys.exit(not (result.wasSuccessful() and result.testsRun))
"""

DJANGO = """
import os, runpy, sys
from django.utils import log
from django_maillog import handlers
log.AdminEmailHandler = type("AdminEmailHandler", (handlers.SMTPHandler,), {})
os.chdir(sys.argv[1])
sys.path.insert(0, sys.argv[1])
sys.argv = ["runtests.py", "--settings=test_sqlite", "--parallel=1", "--verbosity=2", "logging_tests"]
runpy.run_path("runtests.py", run_name="__main__")
"""

IS_OLD = django.VERSION < (6, 1)
DIFFERENCES = {
    # It asks that the connection swallow mail errors (fail_silently): ours go to handleError.
    "test_fail_silently" if IS_OLD else "test_sends_using_fail_silently",
    # Before 6.1 it asks the same; since then that email_backend be deprecated, which works here wherever
    # Django lets it.
    "test_uses_custom_email_backend",
}


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.skipif(not importlib.util.find_spec("test.test_logging"), reason="this Python ships no tests")
@pytest.mark.parametrize("case", ["SMTPHandlerTest", "MemoryHandlerTest"])
def test_the_standard_librarys_tests_hold(case: str) -> None:
    done = run(STDLIB, case)

    assert done.returncode == 0, done.stderr


def test_djangos_tests_hold() -> None:
    sources = os.environ.get("MAILLOG_TEST_DJANGO_SOURCES", "")
    if not sources and not os.environ.get("MAILLOG_TEST_REQUIRE_SERVERS"):
        pytest.skip("MAILLOG_TEST_DJANGO_SOURCES names no folder with Django's source distributions")
    folder = Path(sources, f"django-{django.__version__}", "tests").resolve()
    assert folder.is_dir(), f"{folder} isn't there"

    done = run(DJANGO, str(folder))

    lines = done.stderr.splitlines()
    failed = {line.split()[1] for line in lines if line.startswith(("FAIL: ", "ERROR: "))}
    assert "test_accepts_args_and_request" in done.stderr
    assert failed == DIFFERENCES, done.stderr
