"""psycopg's connection pool (``OPTIONS["pool"]``): our thread has a connection of its own."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.conftest import KIND
from tests.proxies import Proxy
from tests.sites import Site, wait_for
from tests.smtp import SMTPServer
from tests.test_outage import QUICK, ask, state, text
from tests.test_processes import FORK_IS_FINE, free_port, get, need

pytestmark = pytest.mark.skipif(KIND != "postgresql", reason="the pool is psycopg's")

# Logs what it reads while a transaction has the pool's only connection.
BUSY = """
import logging, sys
from django.contrib.auth.models import User
from django.db import transaction
log = logging.getLogger("shop")
with transaction.atomic():
    User.objects.count()
    for name in sys.stdin:
        log.error("record %s", name.strip(), extra={"fingerprint": name})
        print(0, flush=True)
"""
# The parent's worker has been at the database when it forks; what children write is the project's own.
FORKS = """
import json, logging, os, sys
from django.contrib.auth.models import User
from django.db import connection
log = logging.getLogger("shop")
log.error("in the parent", extra={"fingerprint": "parent"})
sys.stdin.readline()
children = []
for number in range(3):
    pid = os.fork()
    if not pid:
        found = 0
        try:
            log.error("in child %s", number, extra={"fingerprint": str(number)})
            for each in range(50):
                User.objects.create(username=f"{number} {each}")
                found += User.objects.filter(username=f"{number} {each}").count()
        finally:
            os._exit(found)
    children.append(pid)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]), flush=True)
sys.stdin.readline()
"""
APPLICATION = """
import logging, os
from django.core.wsgi import get_wsgi_application
get_wsgi_application()
from django.contrib.auth.models import User
from django.db import connection
logging.getLogger("shop").error("while it is loaded")
number = iter(range(10**6))
def application(environ, start_response):
    name = f"{os.getpid()} {next(number)}"
    User.objects.create(username=name)
    answer = f"{os.getpid()} {User.objects.filter(username=name).count()}"
    connection.close()
    start_response("200 OK", [])
    return [answer.encode()]
"""


@pytest.fixture(autouse=True)
def _pool(site: Site) -> None:
    need("psycopg_pool")
    site.configure_logging(QUICK)
    site.env |= {"PYTHONDEVMODE": "", **FORK_IS_FINE, "MAILLOG_TEST_POOL": "true"}


def sessions(site: Site) -> int:
    with psycopg.connect(site.env["DATABASE_URL"]) as connection:
        ours = "datname = current_database() AND pid <> pg_backend_pid()"
        row = connection.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {ours}").fetchone()
        assert row is not None
        return int(row[0])


def test_an_exhausted_pool_keeps_no_mail_back_and_our_connection_is_given_back(
    site: Site, smtp: SMTPServer
) -> None:
    site.env["MAILLOG_TEST_POOL"] = json.dumps({"min_size": 1, "max_size": 1})
    process = site.start(BUSY)

    ask(process, "one")

    assert smtp.wait_for(1)[0]["X-Maillog-Reason"] == "new"
    wait_for(lambda: sessions(site) == 1)
    process.communicate(timeout=60)
    assert state(site)["batches"] == [["new", "sent", 1]]


def test_a_database_that_is_away_is_an_outage_and_no_exhausted_pool(site: Site, smtp: SMTPServer) -> None:
    with Proxy(site.env["DATABASE_URL"]) as proxy:
        pool = json.dumps({"timeout": 0.2})
        site.env |= {"DATABASE_URL": proxy.url, "MAILLOG_OUTAGE_WAIT": "1", "MAILLOG_TEST_POOL": pool}
        process = site.start(BUSY)
        ask(process, "before")
        smtp.wait_for(1)
        proxy.refuse()
        ask(process, "during")
        mail = smtp.wait_for(2)[1]
        proxy.restore()
        process.kill()

    assert "The database is away" in text(mail)


def test_children_of_a_process_that_logged_have_a_pool_of_their_own(site: Site, smtp: SMTPServer) -> None:
    process = site.start(FORKS)
    smtp.wait_for(1)
    printed, _errors = process.communicate("\n\n", timeout=60)

    assert json.loads(printed) == [50, 50, 50]
    site.manage("flush_maillogs")
    # A child that ends between the server's acceptance and our note has its mail repeated, as the same one.
    assert sum({mail["Message-ID"]: int(mail["X-Maillog-Count"]) for mail in smtp.messages}.values()) == 4


def test_gunicorn_that_preloads_an_application_which_logs(
    site: Site, smtp: SMTPServer, tmp_path: Path
) -> None:
    need("gunicorn")
    (tmp_path / "pooled_application.py").write_text(APPLICATION)
    site.env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    port = free_port()
    arguments = ["--preload", "--workers=3", f"--bind=127.0.0.1:{port}", "--log-level=error"]
    server = site.popen([sys.executable, "-m", "gunicorn", *arguments, "pooled_application"])
    smtp.wait_for(1)
    assert get(f"http://127.0.0.1:{port}/", server) == 200

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(answer, [port] * 120))

    assert {count for _pid, count in answers} == {"1"}
    assert len({pid for pid, _count in answers}) > 1


def answer(port: int) -> tuple[str, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as response:
        pid, count = response.read().decode().split()
        return pid, count
