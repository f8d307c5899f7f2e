"""The handler tests of the standard library and of Django, with our classes in place of theirs.

The standard library's run where Python ships its tests. Django's run where MAILLOG_DJANGO_TESTS names the
``tests`` folder of the source distribution of the Django that is installed. A test that is expected to fail
here asks for something that is better otherwise: what it is stands beside its name.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

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

# A mail error is reported to handleError; these want the connection to swallow it (fail_silently), and one of
# them wants email_backend to be deprecated, which here is a way that works wherever Django lets it.
SILENT = {
    "test_fail_silently",
    "test_sends_using_fail_silently",
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
    folder = os.environ.get("MAILLOG_DJANGO_TESTS")
    if not folder:
        pytest.skip("MAILLOG_DJANGO_TESTS doesn't name the tests folder of Django's source distribution")

    done = run(DJANGO, str(Path(folder).resolve()))

    lines = done.stderr.splitlines()
    failed = {line.split()[1] for line in lines if line.startswith(("FAIL: ", "ERROR: "))}
    assert "test_accepts_args_and_request" in done.stderr
    assert failed <= SILENT, done.stderr
