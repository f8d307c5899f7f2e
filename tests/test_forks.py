"""A fork while a thread of ours is busy: its child has the locks, and not the thread that releases them."""

from __future__ import annotations

import os

import pytest

from tests.conftest import KIND
from tests.sites import Site
from tests.test_processes import FORK_IS_FINE, QUICK, groups

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.skipif(KIND != "sqlite", reason="SQLite's locks are a process's"),
]

# A child that hangs is ended by its alarm.
FORKS = """
import logging, os, signal, sqlite3, time
log = logging.getLogger("shop")
ends = []
for number in range(400):
    log.error("error %s", number, extra={"fingerprint": str(number)})
    time.sleep(number % 10 / 1000)
    pid = os.fork()
    if not pid:
        signal.alarm(5)
        sqlite3.connect(":memory:").execute("SELECT 1").fetchall()
        os._exit(0)
    ends.append(os.waitpid(pid, 0)[1])
print(len(ends), [end for end in ends if end])
"""


def test_no_child_hangs_in_sqlite(site: Site) -> None:
    site.configure_logging(QUICK)

    done = site.run(FORKS, env=FORK_IS_FINE)

    assert done.stdout == "400 []\n"
    assert sum(groups(site).values()) == 400


BUSY = """
import os, sys, threading
from django_maillog import forks as module
from django_maillog.forks import forks
module.WAIT_SECONDS, case = float(sys.argv[1]), sys.argv[2]
is_busy, go_on = threading.Event(), threading.Event()

def stuck():
    with forks.put_off():
        is_busy.set()
        go_on.wait()

def at_work():
    with forks.put_off():
        is_busy.set()
        while not go_on.is_set():
            with forks.welcome():
                pass

def fork():
    pid = os.fork()
    if not pid:
        with forks.put_off():
            os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

if case == "its own":
    with forks.put_off():
        fork()
else:
    thread = threading.Thread(target=globals()[case])
    thread.start()
    is_busy.wait()
    for _ in range(50 if case == "at_work" else 1):
        fork()
    go_on.set()
    thread.join()
"""


@pytest.mark.parametrize(
    ("seconds", "case", "count"),
    [
        pytest.param(0.05, "stuck", 1, id="a thread that never gets on holds no fork up for long"),
        pytest.param(3600, "at_work", 50, id="a thread that pauses lets forks through"),
        pytest.param(3600, "its own", 1, id="a busy thread may fork itself"),
    ],
)
def test_a_fork_waits_for_busy_threads(site: Site, seconds: float, case: str, count: int) -> None:
    done = site.run(BUSY, str(seconds), case, env=FORK_IS_FINE)

    assert done.stdout == "7\n" * count
