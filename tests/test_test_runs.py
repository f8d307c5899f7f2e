"""A process that runs tests: what it logs reaches no database and no mail server, afterwards either."""

from __future__ import annotations

import pytest

from tests.sites import Site
from tests.smtp import SMTPServer

COMMON = """
import logging, threading, time
from django.test.utils import setup_test_environment, teardown_test_environment
from django_maillog.spool.folder import spool_folder
from django_maillog.worker import thread
log = logging.getLogger("shop")
def imported():
    from django.db.models import Sum
    from django_maillog.models import Group
    return Group.objects.aggregate(n=Sum("count"))["n"] or 0
def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
def threads():
    return [each for each in threading.enumerate() if each.name.startswith("maillog")]
"""

IN_TESTS = """
setup_test_environment()
log.error("in a test")
print(threading.active_count(), imported())
"""

# As of a module that logs when pytest imports it.
BEFORE_TESTS = """
thread.LOOK_SECONDS = 0.1
log.error("while tests are collected")
wait_for(lambda: imported() == 1 and thread.worker.inbox.idle)
started = len(threads())
setup_test_environment()
log.critical("in a test")
wait_for(lambda: not threads())
print(started, imported())
"""

AFTER_TESTS = """
from django.contrib.auth.models import User
setup_test_environment()
if {logs}:
    log.error("in a test")
User.objects.count()
teardown_test_environment()
log.critical("after the tests")
for handler in logging.root.handlers:
    handler.flush()
print(len(threads()), imported())
"""

AT_EXIT = """
import atexit
class Task:
    def __del__(self):
        log.critical("destroyed")
atexit.register(log.critical, "at exit")
setup_test_environment()
log.error("in a test")
teardown_test_environment()
_task = Task()
"""


def test_a_test_run_starts_no_thread_and_mails_nothing(site: Site, smtp: SMTPServer) -> None:
    site.env.pop("MAILLOG_SPOOL_DIR")

    done = site.run(COMMON + IN_TESTS, env={"TMPDIR": str(site.folder)})

    assert done.stdout == "1 0\n"
    assert smtp.messages == []
    assert [path.name for path in site.folder.glob("django_maillog-tests*")] == []


def test_a_thread_from_before_the_tests_ends_with_their_beginning(site: Site, smtp: SMTPServer) -> None:
    done = site.run(COMMON + BEFORE_TESTS)

    site.manage("flush_maillogs")
    assert (done.stdout, done.stderr) == ("2 1\n", "")
    assert [mail["Subject"] for mail in smtp.messages] == ["[Django] ERROR while tests are collected"]


@pytest.mark.parametrize(
    ("mode", "logs"), [("thread", True), ("thread", False), ("inline", False), ("none", True)]
)
def test_what_is_logged_after_the_tests_stays_out_of_everything(
    site: Site, smtp: SMTPServer, mode: str, logs: bool
) -> None:
    site.run(COMMON + 'log.error("waits")', env={"MAILLOG_WORKER": "none"})

    done = site.run(COMMON + AFTER_TESTS.format(logs=logs), env={"MAILLOG_WORKER": mode})

    assert (done.stdout, done.stderr, smtp.messages) == ("0 0\n", "", [])
    site.manage("flush_maillogs")
    assert [mail["Subject"] for mail in smtp.messages] == ["[Django] ERROR waits"]


def test_what_is_logged_when_the_interpreter_ends_leaves_nothing(site: Site, smtp: SMTPServer) -> None:
    done = site.run(COMMON + AT_EXIT, env={"TMPDIR": str(site.folder)})

    site.manage("flush_maillogs")
    assert done.stderr == ""
    assert smtp.messages == []
    assert [path.name for path in site.folder.glob("django_maillog-tests*")] == []
