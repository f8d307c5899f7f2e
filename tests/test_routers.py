"""The tables in a database of their own, by a router: everything follows it, and no replica is read."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KIND
from tests.databases import fresh_database
from tests.proxies import Proxy
from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

LOG = 'import logging; logging.getLogger("shop").error("Payment failed")'
QUICK: dict[str, Any] = {**LOGGING, "handlers": {"mail": {**LOGGING["handlers"]["mail"], "group_wait": 0}}}
TABLES = """
import json
from django.db import connections
tables = {alias: connections[alias].introspection.table_names() for alias in connections}
print(json.dumps({alias: sum(name.startswith("django_maillog_") for name in names)
    for alias, names in tables.items()}))
print(json.dumps(["auth_user" in names for names in tables.values()]))
"""
STATES = """
import json
from django_maillog.models import Batch
print(json.dumps(list(Batch.objects.using("maillog").order_by("pk").values_list("status", "record_count"))))
"""
# Logs what it reads, with a record of the project's own in the database that is not ours.
ON_DEMAND = """
import logging, sys
from django.contrib.auth.models import User
log = logging.getLogger("shop")
for line in sys.stdin:
    log.error("record %s", line.strip(), extra={"fingerprint": line})
    User.objects.create(username=line.strip())
    print("logged", flush=True)
"""
# Everybody's pages and all buttons, as a person would press them.
ADMIN = """
import json, re
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django_maillog.models import Batch, Group, Record
User.objects.create_superuser("ada")
client = Client()
client.force_login(User.objects.get())
base = "/admin/django_maillog/"
batch, group, record = (model.objects.using("maillog").get() for model in (Batch, Group, Record))
pages = ["", "batch/", "group/", "record/", f"batch/{batch.pk}/change/", f"batch/{batch.pk}/mail.html/",
    f"batch/{batch.pk}/mail.txt/", f"batch/{batch.pk}/mail.eml/", f"group/{group.pk}/change/",
    f"record/{record.pk}/change/", "record/?q=Payment", f"batch/{batch.pk}/history/"]
print(json.dumps([page for page in pages if client.get(base + page).status_code != 200]))

def press(button, **data):
    page = client.post(f"{base}{button}/", data, follow=True).content.decode()
    print(json.dumps(re.findall('<li class="(success|info|warning|error)"', page)))

press(f"group/{group.pk}/silence", length="hour")
press(f"group/{group.pk}/speak")
press(f"group/{group.pk}/resolve")
press(f"batch/{batch.pk}/flush")
press(f"batch/{batch.pk}/again")
deleted = {"action": "delete_selected", "_selected_action": [str(batch.pk)], "post": "yes"}
client.post(f"{base}batch/", deleted)
print(json.dumps([Batch.objects.using("maillog").count(), LogEntry.objects.using("default").count()]))
"""


@pytest.fixture(params=["Apart", "ReadElsewhere"])
def apart(request: pytest.FixtureRequest, empty_site: Site, tmp_path: Path) -> Iterator[Site]:
    """A migrated site whose tables are in the database "maillog", the project's in "default"."""
    with fresh_database(KIND, tmp_path) as ours, fresh_database(KIND, tmp_path) as replica:
        empty_site.env |= {
            "PYTHONDEVMODE": "",
            "MAILLOG_TEST_ROUTERS": f"tests.routers.{request.param}",
            "MAILLOG_TEST_DATABASES": json.dumps({"maillog": ours, "replica": replica}),
        }
        for alias in ("default", "maillog"):
            empty_site.manage("migrate", "--verbosity=0", f"--database={alias}")
        yield empty_site
        empty_site.stop()


def lines(done: subprocess.CompletedProcess[str]) -> list[Any]:
    """The JSON of each line that a process printed."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def states(site: Site) -> Any:
    return lines(site.run(STATES, env={"MAILLOG_WORKER": "none"}))[0]


def test_migrations_make_the_tables_where_the_router_says(apart: Site) -> None:
    assert lines(apart.run(TABLES)) == [{"default": 0, "maillog": 8, "replica": 0}, [True, False, False]]


def test_all_commands_follow_the_router(apart: Site, smtp: SMTPServer) -> None:
    apart.env["MAILLOG_WORKER"] = "none"
    apart.run(LOG)

    assert "1 record" in apart.manage("flush_maillogs", "--dry-run").stdout
    assert json.loads(apart.manage("flush_maillogs", "--json").stdout)["sent"] == 1
    assert smtp.messages[0]["X-Maillog-Count"] == "1"
    assert apart.manage("flush_maillogs", "--check").returncode == 0
    apart.manage("flush_maillogs", "--retry-failed")
    apart.manage("silence_maillogs", "mail", "--for", "30m", "--note", "deploy")
    apart.run(LOG)
    assert json.loads(apart.manage("flush_maillogs", "--json").stdout)["imported"] == 1
    assert "mail" in apart.manage("silence_maillogs").stdout
    apart.manage("silence_maillogs", "mail", "--end")
    apart.manage("check", "--database", "maillog", "--database", "default")
    assert states(apart)[0] == ["sent", 1]
    apart.manage("prune_maillogs", "--days", "0")
    assert ["sent", 1] not in states(apart)


def test_the_worker_follows_the_router(apart: Site, smtp: SMTPServer) -> None:
    apart.configure_logging(QUICK)
    process = apart.start(ON_DEMAND)

    log(process, "one")

    assert "record one" in str(smtp.wait_for(1)[0]["Subject"])
    process.communicate(timeout=60)
    assert states(apart) == [["sent", 1]]


def test_pages_and_buttons_follow_the_router(apart: Site, smtp: SMTPServer) -> None:
    apart.env["MAILLOG_WORKER"] = "none"
    apart.run(LOG)
    apart.manage("flush_maillogs", "--due")

    bad_pages, *pressed, counts = lines(apart.run(ADMIN))

    assert bad_pages == []
    assert pressed == [["success"]] * 5
    assert len(smtp.messages) == 2
    # The first batch is deleted, its copy isn't; each button and the deletion is in the project's history.
    assert counts == [1, 6]


def test_a_mail_comes_from_the_spool_while_only_our_database_is_away(
    empty_site: Site, smtp: SMTPServer, tmp_path: Path
) -> None:
    with fresh_database(KIND, tmp_path) as ours, reachable(ours) as (url, away):
        site = empty_site
        site.configure_logging(QUICK)
        site.env |= {
            "MAILLOG_OUTAGE_WAIT": "1",
            "MAILLOG_TEST_ROUTERS": "tests.routers.Apart",
            "MAILLOG_TEST_DATABASES": json.dumps({"maillog": url}),
        }
        for alias in ("default", "maillog"):
            site.manage("migrate", "--verbosity=0", f"--database={alias}")
        process = site.start(ON_DEMAND)
        log(process, "before")
        smtp.wait_for(1)

        with away():
            # The project's own database takes a row meanwhile, or this waits in vain.
            log(process, "during")
            mail = smtp.wait_for(2)[1]

        assert mail["X-Maillog-Reason"] == "outage"
        log(process, "after")
        smtp.wait_for(3)
        process.communicate(timeout=60)
        assert sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages) == 3
        assert sum(count for _status, count in states(site)) == 3
        site.stop()


def log(process: subprocess.Popen[str], name: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{name}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "logged\n"


@contextmanager
def reachable(url: str) -> Iterator[Any]:
    """The URL by which a database is reached, and a context in which it isn't: SQLite's file is locked."""
    if KIND != "sqlite":
        with Proxy(url) as proxy:

            @contextmanager
            def refused() -> Iterator[None]:
                proxy.freeze()
                yield
                proxy.restore()

            yield proxy.url, refused
        return

    @contextmanager
    def locked() -> Iterator[None]:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield

    yield url, locked
