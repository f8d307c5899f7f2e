"""A fork while a thread of ours is busy: its child has the locks, and not the thread that releases them."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.conftest import KIND
from tests.sites import Site
from tests.smtp import SMTPServer
from tests.test_processes import FORK_IS_FINE, QUICK, groups

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# A child that hangs is ended by its alarm.
BESIDE_SQLITE = """
import logging, os, signal, sqlite3, time
from django_maillog import forks
forks.WAIT_SECONDS = 60  # a busy machine is no exception
log = logging.getLogger("shop")
ends = []
for number in range(400):
    log.error("error %s", number, extra={"fingerprint": str(number)})
    time.sleep(number % 10 / 1000)
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        sqlite3.connect(":memory:").execute("SELECT 1").fetchall()
        os._exit(0)
    ends.append(os.waitpid(pid, 0)[1])
print(len(ends), [end for end in ends if end])
"""

# Looks at the last moment before a fork, for which it has to be there first, where our threads are.
LOOK = """
import json, os, sys, threading
LIBRARIES = ("django.db.backends.", "sqlite3", "psycopg", "MySQLdb", "smtplib", "ssl", "socket", "importlib")
threads, inside = set(), []

def look():
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread.name.startswith("maillog") and thread.ident in frames:
            threads.add(thread.name)
            frame = frames[thread.ident]
            while frame:
                module = frame.f_globals["__name__"]
                if module.startswith(LIBRARIES):
                    inside.append(f"{thread.name}: {module}, line {frame.f_lineno}")
                    break
                frame = frame.f_back

os.register_at_fork(before=look)
import django
django.setup()
import logging, time
from django_maillog import forks
forks.WAIT_SECONDS = 60
log = logging.getLogger("shop")
for number in range(200):
    log.error("error %s", number, extra={"fingerprint": str(number)})
    time.sleep(number % 10 / 1000)
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
print(json.dumps([sorted(threads), inside]))
"""

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
            forks.pause()

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
    fork()
    # No fork waits again for a thread that gets nowhere, and any for one that gets on.
    module.WAIT_SECONDS = 3600
    for _ in range(49):
        fork()
    go_on.set()
    thread.join()
"""


SIGNALLED = """
import os, signal, sys, threading, time
from django_maillog.forks import forks
number = getattr(signal, sys.argv[1])
if number == signal.SIGTERM:
    signal.signal(number, lambda *_: sys.exit(3))
handler = signal.getsignal(number)
is_busy, go_on = threading.Event(), threading.Event()

def stuck():
    with forks.put_off():
        is_busy.set()
        while not forks._signals._handlers: pass
        os.kill(os.getpid(), number)
        go_on.wait()

def release():
    while not forks._signals._came: pass
    go_on.set()

for target in (stuck, release):
    threading.Thread(target=target, daemon=True).start()
is_busy.wait()
pid = os.fork()
if not pid:
    os._exit(7 if signal.getsignal(number) is handler else 8)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(KIND != "sqlite", reason="these locks are SQLite's")
def test_no_child_hangs_in_sqlite(site: Site) -> None:
    site.configure_logging(QUICK)

    done = site.run(BESIDE_SQLITE, env=FORK_IS_FINE)

    assert done.stdout == "400 []\n"
    assert sum(groups(site).values()) == 400


def test_no_fork_comes_while_our_threads_are_in_a_library(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(QUICK)
    site.env |= FORK_IS_FINE

    process = site.popen([sys.executable, "-c", LOOK])
    threads, inside = json.loads(process.communicate(timeout=120)[0])

    assert threads == ["maillog-clock", "maillog-worker"]
    assert not inside
    assert smtp.messages
    assert sum(groups(site).values()) == 200


@pytest.mark.parametrize(
    ("seconds", "case", "count"),
    [
        pytest.param(0.05, "stuck", 50, id="a thread that gets nowhere holds one fork up, for a moment"),
        pytest.param(3600, "at_work", 50, id="a thread that pauses lets forks come"),
        pytest.param(3600, "its own", 1, id="a busy thread may fork"),
    ],
)
def test_a_fork_waits_for_busy_threads(site: Site, seconds: float, case: str, count: int) -> None:
    done = site.run(BUSY, str(seconds), case, env=FORK_IS_FINE)

    assert done.stdout == "7\n" * count


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 3), ("SIGINT", -2)])
def test_a_signal_that_comes_while_a_fork_waits_is_not_lost(site: Site, name: str, status: int) -> None:
    process = site.start(SIGNALLED, name, env=FORK_IS_FINE)

    printed, _ = process.communicate(timeout=60)

    assert printed in ("7\n", "")
    assert process.returncode == status
