"""PgBouncer in transaction mode: each transaction has whatever connection to the server is free."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.conftest import KIND
from tests.pgbouncer import PgBouncer
from tests.sites import Site
from tests.smtp import SMTPServer
from tests.test_outage import ON_DEMAND, QUICK, ask, state, text, total, wait_for

pytestmark = pytest.mark.skipif(KIND != "postgresql", reason="PgBouncer is PostgreSQL's")

PROCESSES, RECORDS = 4, 300
# What a project sets (docs/deployment.md).
RECOMMENDED = "?DISABLE_SERVER_SIDE_CURSORS=True"
LOG = """
import logging, sys, time
log = logging.getLogger("shop")
for number in range(int(sys.argv[2])):
    log.error("order %s of %s failed", number, sys.argv[1], extra={"fingerprint": str(number % 40)})
    time.sleep(0.005)
"""
# The admin reads through PgBouncer, too; the session's zone is one that each connection has to be told.
PAGES = """
import json
from django.contrib.auth.models import User
from django.test import Client
User.objects.create_superuser("ada")
client = Client()
client.force_login(User.objects.get())
pages = ["", "batch/", "group/", "record/", "batch/?status=sent"]
print(json.dumps([client.get(f"/admin/django_maillog/{page}").status_code for page in pages]))
"""


@pytest.fixture(autouse=True)
def _recommended(site: Site) -> None:
    site.env |= {"PYTHONDEVMODE": "", "MAILLOG_OUTAGE_WAIT": "1"}
    site.configure_logging(QUICK)


@contextmanager
def pgbouncer_before(site: Site, **limits: Any) -> Iterator[PgBouncer]:
    """What starts from now on connects to a PgBouncer."""
    url = site.env["DATABASE_URL"]
    with PgBouncer(url, **limits) as pgbouncer:
        site.env["DATABASE_URL"] = pgbouncer.url + RECOMMENDED
        yield pgbouncer
        site.stop()
    site.env["DATABASE_URL"] = url


def test_several_processes_and_flushers_mail_each_record_once(site: Site, smtp: SMTPServer) -> None:
    with pgbouncer_before(site, pool_size=3):
        site.env["MAILLOG_TEST_TIME_ZONE"] = "Asia/Karachi"
        command = [sys.executable, "-m", "django", "flush_maillogs", "--watch", "--interval=0.1"]
        flushers = [site.popen(command) for _each in range(3)]
        loggers = [site.start(LOG, str(each), str(RECORDS)) for each in range(PROCESSES)]
        for process in loggers:
            process.communicate(timeout=120)
        for process in flushers:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        site.manage("flush_maillogs")

        assert [process.returncode for process in (*loggers, *flushers)] == [0] * 7
        assert total(smtp) == PROCESSES * RECORDS
        assert set(Counter(mail["Message-ID"] for mail in smtp.messages).values()) == {1}
        found = state(site)
        assert sum(found["groups"].values()) == PROCESSES * RECORDS
        assert {status for _reason, status, _count in found["batches"]} == {"sent"}
        assert json.loads(site.run(PAGES).stdout) == [200] * 5
        assert site.manage("prune_maillogs", "--days=0").returncode == 0


@pytest.mark.parametrize(("damage", "repair"), [("pause", "resume"), ("kill", "start")])
def test_a_mail_comes_from_the_spool_while_it_gives_no_answer(
    site: Site, smtp: SMTPServer, damage: str, repair: str
) -> None:
    with pgbouncer_before(site) as pgbouncer:
        process = site.start(ON_DEMAND)
        ask(process, "before")
        smtp.wait_for(1)
        wait_for(lambda: state(site)["batches"] == [["new", "sent", 1]])

        getattr(pgbouncer, damage)()
        ask(process, "during")
        mail = smtp.wait_for(2)[1]
        getattr(pgbouncer, repair)()
        ask(process, "after")
        smtp.wait_for(3)
        process.communicate(timeout=60)
        site.manage("flush_maillogs")

        assert mail["X-Maillog-Reason"] == "outage"
        assert "The database is away" in text(mail)
        assert total(smtp) == 3
        assert state(site)["groups"] == {f"record {name}": 1 for name in ("before", "during", "after")}


@pytest.mark.parametrize("limit", [{"pool_size": 1, "wait": 0.2}, {"clients": 1}])
def test_one_without_a_free_connection_is_told_apart(
    site: Site, smtp: SMTPServer, limit: dict[str, Any]
) -> None:
    """All connections to the server are in use for longer than clients may wait, or it takes no more."""
    with pgbouncer_before(site, **limit) as pgbouncer:
        with psycopg.connect(pgbouncer.url) as held:
            held.execute("SELECT 1")
            process = site.start(ON_DEMAND)
            ask(process, "crowded")
            (mail,) = smtp.wait_for(1)

        assert text(mail).startswith("*** The database gives no connection")
        ask(process, "afterwards")
        smtp.wait_for(2)
        process.communicate(timeout=60)
        assert total(smtp) == 2
