"""``flush_maillogs --watch``: a service that flushes, and a flush that is told to end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from django_maillog.watch import Termination
from tests.sites import LOGGING, Site, wait_for
from tests.smtp import SMTPServer
from tests.test_flushers import SEAL, STATUSES

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM")

QUICK: dict[str, Any] = {**LOGGING, "handlers": {"mail": {**LOGGING["handlers"]["mail"], "group_wait": 0}}}
LOG = """
import logging, sys
for number in range(int(sys.argv[1])):
    logging.getLogger("shop").error("failed", extra={"fingerprint": f"{sys.argv[2]} {number}"})
"""


@pytest.fixture
def watched(site: Site) -> Site:
    """A site that leaves all work to a flusher."""
    site.configure_logging(QUICK)
    site.env |= {"MAILLOG_WORKER": "none", "PYTHONDEVMODE": ""}
    return site


def watch(site: Site, *args: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "django", "flush_maillogs", "--watch", "--interval", "0.2", *args]
    process = site.popen(command, env=env, stderr=subprocess.PIPE)
    assert process.stdout is not None
    line = ""
    while not line.startswith("Watching"):
        line = process.stdout.readline()
        assert line, process.communicate()
    return process


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> tuple[str, str]:
    """Tell it to end; what it had printed, and how long it took is bounded."""
    process.send_signal(number)
    return process.communicate(timeout=15)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_logged_is_mailed_until_a_signal_ends_it(
    watched: Site, smtp: SMTPServer, number: signal.Signals
) -> None:
    process = watch(watched)
    watched.run(LOG, "3", "first")
    smtp.wait_for(1)
    watched.run(LOG, "3", "second")
    smtp.wait_for(2)
    printed, warned = end(process, number)

    assert process.returncode == 0
    assert printed.endswith("Stopped.\n")
    assert "3 records imported" in printed
    assert warned == ""
    assert sum(int(message["X-Maillog-Count"]) for message in smtp.messages) == 6


def test_three_of_them_send_each_batch_once(watched: Site, smtp: SMTPServer) -> None:
    processes = [watch(watched) for _each in range(3)]
    watched.run(SEAL, "200")
    smtp.wait_for(200)
    for process in processes:
        end(process)

    assert set(Counter(message["Message-ID"] for message in smtp.messages).values()) == {1}
    assert watched.run(STATUSES).stdout == '{"sent": 200, "attempts": 200}\n'


def test_a_service_manager_is_told_when_it_is_ready_and_when_it_stops(
    watched: Site, smtp: SMTPServer, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        process = watch(watched, env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(100) == b"READY=1"
        end(process)
        assert manager.recv(100) == b"STOPPING=1"


def test_a_mail_server_that_hangs_holds_no_stop_up_and_nothing_is_lost(
    watched: Site, smtp: SMTPServer
) -> None:
    smtp.hang(at="DATA")
    process = watch(watched)
    watched.run(LOG, "1", "only")
    smtp.wait_for_connections(1)
    wait_for(lambda: '"sending": 1' in watched.run(STATUSES).stdout)
    started = time.monotonic()
    end(process)

    assert time.monotonic() - started < 10
    states = json.loads(watched.run(STATUSES).stdout)
    assert states == {"ready": 1, "attempts": 1}


def test_a_mail_server_that_was_away_gets_everything_once(watched: Site, smtp: SMTPServer) -> None:
    smtp.stop()
    process = watch(watched)
    watched.run(LOG, "2", "first")
    wait_for(lambda: '"ready": 1' in watched.run(STATUSES).stdout)
    smtp.start()
    watched.manage("flush_maillogs")
    smtp.wait_for(1)
    end(process)

    assert [message["X-Maillog-Count"] for message in smtp.messages] == ["2"]


def test_one_line_a_flush_or_one_object(watched: Site, smtp: SMTPServer) -> None:
    process = watch(watched, "--json")
    watched.run(LOG, "2", "first")
    smtp.wait_for(1)
    printed, _warned = end(process)

    said = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert sum(each["imported"] for each in said) == 2
    assert sum(each["sent"] for each in said) == 1


def test_it_prunes(watched: Site, smtp: SMTPServer) -> None:
    watched.run(SEAL, "1")
    watched.manage("flush_maillogs")
    watched.run(
        "from django_maillog.models import Batch; Batch.objects.update(opened_at='2020-01-01T00:00Z')"
    )

    end(watch(watched))

    assert json.loads(watched.run(STATUSES).stdout) == {"attempts": 0}


def test_a_run_delivers_no_more_than_its_limit(watched: Site, smtp: SMTPServer) -> None:
    watched.run(SEAL, "5")
    done = watched.manage("flush_maillogs", "--limit", "2", "--json")
    assert json.loads(done.stdout)["sent"] == 2
    assert len(smtp.messages) == 2
    assert json.loads(watched.manage("flush_maillogs", "--json").stdout)["sent"] == 3


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5"])
def test_a_wrong_limit_is_refused(watched: Site, value: str) -> None:
    done = watched.manage("flush_maillogs", f"--limit={value}", check=False)
    assert done.returncode == 2 or done.returncode == 1
    assert "is not a whole number of at least 1" in done.stderr


def test_a_flush_that_is_terminated_ends_after_the_mail_in_hand(watched: Site, smtp: SMTPServer) -> None:
    watched.run(SEAL, "50")
    watched.env["MAILLOG_TEST_EMAIL_TIMEOUT"] = "60"  # it is the signal that ends the wait, not the time-out
    smtp.hang(at="ACCEPTED")
    process = watched.popen([sys.executable, "-m", "django", "flush_maillogs"], stderr=subprocess.PIPE)
    smtp.wait_for(1)
    _printed, warned = end(process)

    assert process.returncode in (130, 143)
    assert "Nothing is lost" in warned
    assert len(smtp.messages) < 50
    states = json.loads(watched.run(STATUSES).stdout)
    assert "sending" not in states


def test_a_database_that_is_away_is_warned_of_once_and_waited_for(
    watched: Site, smtp: SMTPServer, tmp_path: Path
) -> None:
    watched.env["DATABASE_URL"] = f"sqlite:///{tmp_path / 'later' / 'db.sqlite3'}"
    process = watch(watched)
    watched.run(LOG, "2", "first")
    time_of_some_tries = time.monotonic() + 1
    wait_for(lambda: time.monotonic() > time_of_some_tries)
    (tmp_path / "later").mkdir()
    watched.manage("migrate", "--verbosity=0")
    smtp.wait_for(1)
    _printed, warned = end(process)

    assert process.returncode == 0
    assert warned.count("flush failed, trying again: error=OperationalError") == 1
    assert [message["X-Maillog-Count"] for message in smtp.messages] == ["2"]


@pytest.mark.parametrize("value", ["0", "-1", "soon", "86401"])
def test_a_wrong_interval_is_refused(watched: Site, value: str) -> None:
    done = watched.manage("flush_maillogs", "--watch", f"--interval={value}", check=False)
    assert "is not a number of seconds, above 0 and at most 86400" in done.stderr


def test_the_projects_alarm_goes_on_beside_a_flush() -> None:
    """As of a test runner with time-outs, whose code calls the command."""
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _frame: rang.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with Termination(signal.SIGTERM) as stop:
            wait_for(lambda: rang, seconds=10)
            assert not stop.is_asked()
        signal.setitimer(signal.ITIMER_REAL, 60)
        with Termination(signal.SIGTERM):
            pass
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_platform_without_an_alarm_stops_between_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "setitimer")
    monkeypatch.delattr(signal, "SIGALRM")
    before = signal.getsignal(signal.SIGTERM)
    with Termination(signal.SIGTERM) as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_asked()
        stop.wait(60)  # it does not

    assert signal.getsignal(signal.SIGTERM) is before
