"""The database goes away: logging goes on, a mail comes straight from the spool, nothing comes twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from django_maillog.spool.segment import SegmentFile
from tests.conftest import KIND
from tests.proxies import Proxy
from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

QUICK: dict[str, Any] = {**LOGGING, "handlers": {"mail": {**LOGGING["handlers"]["mail"], "group_wait": 0}}}

# Logs under each name that it reads, and answers how many milliseconds the call took.
ON_DEMAND = """
import logging, sys, time
log = logging.getLogger("shop")
for name in sys.stdin:
    before = time.perf_counter()
    log.error("record %s", name.strip(), extra={"fingerprint": name})
    print((time.perf_counter() - before) * 1000, flush=True)
"""

STATE = """
import json
from django_maillog.models import Batch, Group
print(json.dumps({
    "groups": dict(Group.objects.values_list("title", "count")),
    "batches": sorted(Batch.objects.values_list("reason", "status", "record_count")),
}))
"""

FAIL_AT_EACH_STATEMENT = """
import logging
from datetime import timedelta
from django.db import OperationalError, connection
from django.utils import timezone
from django_maillog import buffers
from django_maillog.flush import flush
from django_maillog.outbox.options import FlushOptions
log = logging.getLogger("shop")
number, failed = 0, True
while failed:
    number += 1
    log.error("record %s", number, extra={"fingerprint": str(number)})
    statements, failed = 0, False
    def fail(execute, *args):
        global statements, failed
        statements += 1
        if statements == number:
            failed = True
            raise OperationalError("the server has gone away")
        return execute(*args)
    try:
        with buffers.muted(), connection.execute_wrapper(fail):
            flush(FlushOptions(clock=lambda: timezone.now() + timedelta(minutes=20 * number)))
    except OperationalError:
        connection.close()
with buffers.muted():
    flush(FlushOptions(clock=lambda: timezone.now() + timedelta(days=2)))
print(number)
"""

# The same to a buffer of its own.
AUDIT = ON_DEMAND.replace('getLogger("shop")', 'getLogger("audit")')
LOG_MANY = """
import logging
log = logging.getLogger("shop")
for number in range(1000):
    log.error("record %s" + 500 * "x", number)
"""


@pytest.fixture
def proxy(tmp_path: Path, migrated: Callable[[str, Path], str]) -> Iterator[Proxy]:
    with Proxy(migrated(KIND, tmp_path)) as proxy:
        yield proxy


@pytest.fixture
def remote_site(proxy: Proxy, tmp_path: Path, smtp: SMTPServer) -> Iterator[Site]:
    """A site whose database server is behind the proxy."""
    site = Site(folder=tmp_path, database_url=proxy.url, email_url=smtp.url)
    site.configure_logging(QUICK)
    site.env["MAILLOG_OUTAGE_WAIT"] = "1"
    yield site
    site.stop()


def ask(process: subprocess.Popen[str], name: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{name}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def state(site: Site) -> dict[str, Any]:
    value = json.loads(site.run(STATE, env={"MAILLOG_WORKER": "none"}).stdout)
    assert isinstance(value, dict)
    return value


def total(smtp: SMTPServer) -> int:
    return sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def text(mail: Any) -> str:
    return str(mail.get_body(("plain",)).get_content())


@pytest.mark.parametrize("damage", ["freeze", "refuse"])
def test_errors_are_mailed_without_the_database_and_imported_once_it_is_back(
    remote_site: Site, proxy: Proxy, smtp: SMTPServer, damage: str
) -> None:
    process = remote_site.start(ON_DEMAND)
    ask(process, "before")
    smtp.wait_for(1)

    getattr(proxy, damage)()
    milliseconds = sorted(ask(process, name) for name in ("one", "two", "three", "two", "two", "one"))
    mail = smtp.wait_for(2)[1]
    ask(process, "four")
    proxy.restore()
    smtp.wait_for(3)
    process.communicate()
    remote_site.manage("flush_maillogs")

    assert milliseconds[3] < 5
    assert mail["X-Maillog-Reason"] == "outage"
    assert "The database is away" in text(mail)
    assert total(smtp) == 8
    found = state(remote_site)
    expected = {"before": 1, "one": 2, "two": 3, "three": 1, "four": 1}
    assert found["groups"] == {f"record {name}": count for name, count in expected.items()}
    assert sum(count for _reason, _status, count in found["batches"]) == 8
    assert ["outage", "sent", int(mail["X-Maillog-Count"])] in found["batches"]
    assert {status for _reason, status, _count in found["batches"]} == {"sent"}
    assert [path.name for path in remote_site.spool_dir.iterdir()] == ["outage"]


def test_the_processes_of_a_host_send_one_mail_of_all_they_have(
    remote_site: Site, proxy: Proxy, smtp: SMTPServer
) -> None:
    """What was imported before is in none; one of them was killed; one has a buffer that the others lack."""
    remote_site.env["MAILLOG_OUTAGE_WAIT"] = "4"
    processes = [remote_site.start(ON_DEMAND) for _each in range(6)]
    for number, process in enumerate(processes):
        ask(process, f"before {number}")
    only_audit = {"handlers": ["audit"], "propagate": False}
    logging = {**QUICK, "handlers": {"audit": QUICK["handlers"]["mail"]}, "root": {}}
    remote_site.configure_logging({**logging, "loggers": {**QUICK["loggers"], "audit": only_audit}})
    processes.append(remote_site.start(AUDIT))
    ask(processes[-1], "before 6")
    # More new bugs than the rules mail at once.
    remote_site.manage("flush_maillogs")
    assert total(smtp) == 7
    mails = len(smtp.messages)
    proxy.refuse()
    # Each notices by itself, all of them within a moment.
    ask(processes[0], "in the outage 0")
    processes[0].kill()
    for number, process in enumerate(processes[1:], 1):
        ask(process, f"in the outage {number}")
    smtp.wait_for(mails + 2)
    wait_for(lambda: all(process.poll() is None for process in processes[1:]))
    more = ask(processes[1], "afterwards")
    assert more < 100
    proxy.restore()
    for process in processes[1:]:
        process.communicate(timeout=60)
    remote_site.manage("flush_maillogs")

    of_the_outage = [mail for mail in smtp.messages if mail["X-Maillog-Reason"] == "outage"]
    counts = {mail["List-Id"].split()[0]: int(mail["X-Maillog-Count"]) for mail in of_the_outage}
    assert len(of_the_outage) == 2
    assert sum(counts.values()) == 7
    assert total(smtp) == 7 + 7 + 1
    assert not any("before" in text(mail) for mail in of_the_outage)
    found = state(remote_site)
    assert sum(found["groups"].values()) == 15


@pytest.mark.skipif(KIND != "postgresql", reason="the role's limit of connections is PostgreSQL's")
def test_a_database_that_gives_no_connection_is_waited_for_longer_and_named(
    site: Site, smtp: SMTPServer, tmp_path: Path
) -> None:
    url = urlsplit(site.env["DATABASE_URL"])
    with psycopg.connect(site.env["DATABASE_URL"], autocommit=True) as server:
        server.execute("DROP ROLE IF EXISTS maillog_crowded")
        server.execute("CREATE ROLE maillog_crowded LOGIN CONNECTION LIMIT 0")
        try:
            site.configure_logging(QUICK)
            crowded = urlunsplit(url._replace(netloc=f"maillog_crowded@{url.hostname}:{url.port}"))
            site.env |= {"DATABASE_URL": crowded, "MAILLOG_OUTAGE_WAIT": "0.5"}
            began_at = time.monotonic()
            process = site.start(ON_DEMAND)
            ask(process, "crowded")
            (mail,) = smtp.wait_for(1)
            waited = time.monotonic() - began_at
            process.kill()
            process.wait()
        finally:
            server.execute("DROP ROLE maillog_crowded")

    assert text(mail).startswith("*** The database gives no connection: all that it allows")
    assert waited > 5


def test_a_process_ends_in_time_and_quietly_while_the_database_is_frozen(
    remote_site: Site, proxy: Proxy, smtp: SMTPServer
) -> None:
    remote_site.env["MAILLOG_OUTAGE_WAIT"] = "60"
    process = remote_site.start(ON_DEMAND)
    ask(process, "first")
    smtp.wait_for(1)
    wait_for(lambda: state(remote_site)["batches"] == [["new", "sent", 1]])
    proxy.freeze()
    ask(process, "second")

    began_at = time.monotonic()
    process.communicate(timeout=60)

    assert time.monotonic() - began_at < 15
    assert process.returncode == 0
    proxy.restore()
    remote_site.manage("flush_maillogs")
    assert total(smtp) == 2


def test_with_neither_database_nor_mail_server_everything_comes_once_they_are_back(
    remote_site: Site, proxy: Proxy, smtp: SMTPServer
) -> None:
    process = remote_site.start(ON_DEMAND)
    ask(process, "before")
    smtp.wait_for(1)
    proxy.refuse()
    smtp.drop(at="CONNECT", times=None)
    connections = smtp.connections
    for name in ("one", "two"):
        ask(process, name)
    smtp.wait_for_connections(connections + 1)

    smtp.behave()
    proxy.restore()
    smtp.wait_for(2)
    process.communicate()
    remote_site.manage("flush_maillogs")

    assert total(smtp) == 3
    assert state(remote_site)["groups"] == {"record before": 1, "record one": 1, "record two": 1}


def test_without_tables_errors_are_mailed_and_after_migrate_they_count_as_reported(
    empty_site: Site, smtp: SMTPServer
) -> None:
    empty_site.configure_logging(QUICK)
    empty_site.env["MAILLOG_OUTAGE_WAIT"] = "0.5"
    process = empty_site.start(ON_DEMAND)
    ask(process, "one")
    [mail] = smtp.wait_for(1)
    assert mail["X-Maillog-Reason"] == "outage"
    wait_for(lambda: any(path.stat().st_size for path in empty_site.spool_dir.glob("*.reported")))
    process.kill()
    process.wait()

    empty_site.manage("migrate", "--verbosity=0")
    empty_site.manage("flush_maillogs")

    assert len(smtp.messages) == 1
    assert state(empty_site) == {"groups": {"record one": 1}, "batches": [["outage", "sent", 1]]}


def test_an_import_waits_while_a_mail_is_made_of_the_segment(site: Site, smtp: SMTPServer) -> None:
    site.run('import logging; logging.getLogger("shop").error("once")', env={"MAILLOG_WORKER": "none"})
    [path] = site.spool_dir.glob("*.jsonl")
    facts = {
        "message_id": "<made@example.com>",
        "sender": "errors@example.com",
        "recipients": [],
        "text": "x",
    }
    with SegmentFile.open(path) as segment, segment.mailing():
        flush = site.popen([sys.executable, "-m", "django", "flush_maillogs"])
        with pytest.raises(subprocess.TimeoutExpired):
            flush.wait(3)
        end = segment.read(0)[1]
        segment.add_mailed_range({"from": 0, "to": end, "time": time.time(), "mails": {"mail": facts}})
    flush.communicate()

    assert smtp.messages == []
    assert state(site) == {"groups": {"once": 1}, "batches": [["outage", "sent", 1]]}


def test_a_statement_that_fails_anywhere_in_a_flush_loses_and_repeats_nothing(
    site: Site, smtp: SMTPServer
) -> None:
    env = {"MAILLOG_WORKER": "none", "PYTHONDEVMODE": ""}
    number = int(site.run(FAIL_AT_EACH_STATEMENT, env=env).stdout)

    found = state(site)
    assert number > 15
    assert found["groups"] == {f"record {k}": 1 for k in range(1, number + 1)}
    assert sum(count for _reason, _status, count in found["batches"]) == number
    mails = {mail["Message-ID"]: int(mail["X-Maillog-Count"]) for mail in smtp.messages}
    assert sum(mails.values()) == number


def test_beyond_the_spool_s_limit_records_are_counted_and_the_mail_says_so(
    site: Site, smtp: SMTPServer
) -> None:
    site.run(LOG_MANY, env={"MAILLOG_WORKER": "none", "MAILLOG_SPOOL_MAX_BYTES": "100000"})
    assert sum(path.stat().st_size for path in site.spool_dir.iterdir()) < 101_000

    site.manage("flush_maillogs")

    [mail] = smtp.messages
    assert mail["X-Maillog-Count"] == "1000"
    assert "records could not be kept" in text(mail)


def test_on_a_full_disk_records_are_counted_and_the_mail_says_so(site: Site, smtp: SMTPServer) -> None:
    resource = pytest.importorskip("resource")
    assert resource is not None
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))\n"
    freed = "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"

    done = site.run(full + LOG_MANY + freed, env={"MAILLOG_WORKER": "none"})
    site.manage("flush_maillogs")

    assert done.stderr == ""
    [mail] = smtp.messages
    assert mail["X-Maillog-Count"] == "1000"
    assert "records could not be kept" in text(mail)
