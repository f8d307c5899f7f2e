"""Two versions on one database and spool: the older one lets pass what the newer one has added."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from django_maillog import health
from django_maillog.health import Level
from django_maillog.models import Attempt, Batch, Group, Record
from django_maillog.outbox.targets import rules_of
from django_maillog.policy import Reason
from django_maillog.spool import lines
from django_maillog.spool.journal import journal
from django_maillog.worker.outage import Mailer
from tests.buffers import NOON, Buffer, totals
from tests.sites import Site
from tests.smtp import SMTPServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]

# What a later migration may bring: a column that may be NULL, one with a default in the database, a table.
MIGRATE_FURTHER = """
from django.apps import apps
from django.db import connection
with connection.cursor() as cursor:
    for model in apps.get_app_config("django_maillog").get_models():
        table = model._meta.db_table
        cursor.execute(f"ALTER TABLE {table} ADD COLUMN later_text varchar(20) NULL")
        cursor.execute(f"ALTER TABLE {table} ADD COLUMN later_number integer DEFAULT 7 NOT NULL")
    cursor.execute("CREATE TABLE django_maillog_later (id integer PRIMARY KEY, batch_id bigint)")
"""
LOG = """
import logging
for number in range(30):
    logging.getLogger("shop").error("order %s failed", number, extra={"fingerprint": str(number % 3)})
"""
LATER = """
import json
from django.db import connection
with connection.cursor() as cursor:
    found = []
    for table in ("batch", "group", "record", "attempt", "segment", "host", "silence", "tally"):
        cursor.execute(f"SELECT DISTINCT later_text, later_number FROM django_maillog_{table}")
        found += cursor.fetchall()
print(json.dumps(found))
"""


def append_to_segment(spool_dir: Path, **value: Any) -> None:
    """A line by a later version behind those that are there."""
    (path,) = spool_dir.glob("*.jsonl")
    with path.open("a") as file:
        file.write(json.dumps(value) + "\n")


def line_of(**fields: Any) -> dict[str, Any]:
    """What the line of a record needs."""
    needed = {"time": NOON.timestamp(), "level": 40, "logger": "shop", "message": "Payment failed"}
    return {**needed, "fingerprint": "ml2:1", "buffer": "mail", **fields}


def test_fields_that_a_line_has_too_many_are_kept_and_travel_on(smtp: SMTPServer, spool_dir: Path) -> None:
    buffer = Buffer()
    buffer.log("by this version", fingerprint="ours")
    append_to_segment(spool_dir, **line_of(full=True, release="2.0", span={"trace": "abc"}, sampled=False))

    assert buffer.flush().sent == 1

    row = Record.objects.get(message="Payment failed")
    assert row.details == {
        "release": "2.0",
        "title": "Payment failed",
        "span": {"trace": "abc"},
        "sampled": False,
    }
    (mail,) = smtp.messages
    assert mail["X-Maillog-Count"] == "2"
    (attached,) = (part for part in mail.iter_attachments() if "records" in str(part.get_filename()))
    values = [json.loads(line) for line in gzip.decompress(attached.get_content()).splitlines()]
    assert [value.get("span") for value in values] == [None, {"trace": "abc"}]


def test_a_buffer_of_a_later_version_keeps_its_people_and_its_rules(
    smtp: SMTPServer, spool_dir: Path
) -> None:
    Buffer("here").log()
    rules = {"group_wait": 7200, "group_interval": 60, "quiet_hours": "22-6"}
    append_to_segment(
        spool_dir, configures="there", recipients=["there@example.com"], rules=rules, channel="#ops"
    )
    append_to_segment(spool_dir, **line_of(buffer="there"))
    buffer = Buffer("here")
    buffer.import_all()

    batch = Batch.objects.get(buffer="there")
    assert batch.recipients == ["there@example.com"]
    assert (rules_of(batch).group_wait, rules_of(batch).group_interval) == (7200, 60)
    assert batch.due_at is not None
    assert (batch.due_at - batch.opened_at).total_seconds() == 7200


def test_a_note_of_a_mail_by_a_later_version_counts_as_mailed(smtp: SMTPServer, spool_dir: Path) -> None:
    buffer = Buffer()
    buffer.log()
    (path,) = spool_dir.glob("*.jsonl")
    mail = {"message_id": "<a@example.com>", "recipients": ["ada@example.com"], "subject": "x", "priority": 1}
    report = {
        "from": 0,
        "to": path.stat().st_size,
        "time": NOON.timestamp(),
        "mails": {"mail": mail},
        "by": 2,
    }
    reports = path.with_suffix(".reported")
    reports.write_text(f'"a word"\n{json.dumps(report)}\n')
    reports.chmod(0o600)

    assert buffer.flush().sent == 0
    assert list(Batch.objects.values_list("status", "reason", "record_count")) == [("sent", "outage", 1)]


def test_a_segment_of_a_later_format_is_left_for_the_later_version_and_told_of(
    smtp: SMTPServer, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.rotate()
    with monkeypatch.context() as later:
        later.setattr(lines, "FORMAT", 2)
        Buffer().log("by the later version")
        journal.rotate()
    buffer = Buffer()
    buffer.now = timezone.now()
    (path,) = spool_dir.glob("*.jsonl")
    content = path.read_bytes()
    buffer.log("by this version")

    summary = buffer.flush()

    assert (summary.imported, summary.set_aside, summary.sent) == (1, 0, 1)
    assert Mailer().mail() == 0
    assert path.read_bytes() == content
    assert health.check().level == Level.OK
    os.utime(path, (time.time(), time.time() - 3600))
    ((level, reason),) = health.check().reasons
    assert level == Level.CRITICAL
    assert reason.endswith(
        f"bytes in 1 segments of {spool_dir} are imported by nobody. "
        "1 are left alone: its format is 2, this version reads 1."
    )
    with monkeypatch.context() as later:
        later.setattr(lines, "FORMAT", 2)
        assert buffer.flush().imported == 1
    assert totals() == {"batches": 2, "groups": 2, "records": 2}


def test_rows_with_words_of_a_later_version_are_mailed_and_shown(smtp: SMTPServer) -> None:
    buffer = Buffer(group_wait=0)
    buffer.seal("one", fingerprint="one")
    Batch.objects.update(reason="forecast", rules={"group_wait": 0, "quiet_hours": "22-6"})
    Group.objects.update(kind=9)
    buffer.log("one", fingerprint="one")
    buffer.log("two", fingerprint="two")
    buffer.import_all()
    Batch.objects.open().update(reason="forecast")

    assert buffer.flush(everything=False, at_exit=True).sent == 2

    assert sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages) == 3
    Batch.objects.filter(pk=Batch.objects.earliest("pk").pk).update(status="parked")
    Attempt.objects.update(outcome="deferred")
    assert Reason(Batch.objects.latest("pk").reason) == Reason.VARIANT
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    base = "/admin/django_maillog"
    pages = ["", "/batch", "/group", *(f"/batch/{row.pk}/change" for row in Batch.objects.all())]
    pages += [f"/group/{row.pk}/change" for row in Group.objects.all()]
    assert {page: client.get(f"{base}{page}/").status_code for page in pages} == dict.fromkeys(pages, 200)


def test_tables_that_a_later_version_has_migrated_already(empty_site: Site, smtp: SMTPServer) -> None:
    site = empty_site
    site.env["MAILLOG_WORKER"] = "none"
    site.manage("migrate", "--verbosity=0")
    site.run(LOG)
    site.manage("flush_maillogs")
    site.run(MIGRATE_FURTHER)

    site.run(LOG)
    site.manage("silence_maillogs", "--for=1h")
    site.manage("flush_maillogs")

    assert sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages) == 60
    assert json.loads(site.run(LATER).stdout) == [[None, 7]] * 8
    site.manage("prune_maillogs", "--days=0")
    assert site.run("from django_maillog.models import Batch; print(Batch.objects.count())").stdout == "0\n"
