"""The whole path, from a logging call in one process to a mail at a real server."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

QUICK: dict[str, Any] = {**LOGGING, "handlers": {"mail": {**LOGGING["handlers"]["mail"], "group_wait": 0.5}}}

FAIL_AND_WAIT = """
import logging, sys
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("shop").exception("Order %s failed", 7)
sys.stdin.read()
"""

ROLL_BACK = """
import logging
from django.db import transaction
from django.contrib.auth.models import User
try:
    with transaction.atomic():
        User.objects.create(username="never")
        logging.getLogger("shop").error("inside a transaction that rolls back")
        raise RuntimeError("no")
except RuntimeError:
    print(User.objects.count())
"""

THREE_KINDS = """
import logging
log = logging.getLogger("shop")
for number in range(25):
    if number % 3 == 0:
        log.error("Order %s can't be shipped", number)
    elif number % 3 == 1:
        log.error("No stock left")
    else:
        try:
            {}[number]
        except KeyError:
            log.exception("Lookup failed")
"""

VISIT = """
import sys
from django.test import Client
client = Client(raise_request_exception=False)
for path in sys.argv[1:]:
    print(client.post(path, {"password": "hunter2", "user": "ada"}).status_code)
"""


def part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_an_error_is_mailed_by_the_worker_while_the_process_goes_on(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(QUICK)
    process = site.start(FAIL_AND_WAIT)

    [mail] = smtp.wait_for(1)
    process.communicate()

    assert mail["Subject"] == "[Django] ERROR ZeroDivisionError: division by zero"
    assert mail["From"] == "errors@example.com"
    assert mail["To"] == "ada@example.com, alan@example.com"
    assert mail["X-Maillog-Buffer"] == "mail"
    assert mail["X-Maillog-Reason"] == "new"
    assert mail["X-Maillog-Count"] == mail["X-Maillog-Groups"] == "1"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "Order 7 failed" in part(mail, "plain")
    assert "ZeroDivisionError: division by zero" in part(mail, "html")


def test_an_error_is_mailed_before_a_short_process_ends(site: Site, smtp: SMTPServer) -> None:
    site.run('import logging; logging.getLogger("cron").error("The nightly job failed")')

    [mail] = smtp.messages
    assert mail["Subject"] == "[Django] ERROR The nightly job failed"


def test_an_error_in_a_transaction_that_rolls_back_is_mailed(site: Site, smtp: SMTPServer) -> None:
    done = site.run(ROLL_BACK)

    assert done.stdout == "0\n"
    [mail] = smtp.messages
    assert mail["Subject"] == "[Django] ERROR inside a transaction that rolls back"


def test_flush_reports_25_errors_of_3_kinds_in_one_mail(site: Site, smtp: SMTPServer) -> None:
    site.run(THREE_KINDS, env={"MAILLOG_WORKER": "none"})

    done = site.manage("flush_maillogs", "--json")

    assert json.loads(done.stdout) == {
        "imported": 25,
        "set_aside": 0,
        "sealed": 1,
        "sent": 1,
        "retrying": 0,
        "failed": 0,
        "pending": 0,
        "sending": 0,
        "left_alone": 0,
    }
    [mail] = smtp.messages
    assert mail["X-Maillog-Count"] == "25"
    assert mail["X-Maillog-Groups"] == "3"
    [attachment] = mail.iter_attachments()
    lines = gzip.decompress(attachment.get_payload(decode=True)).splitlines()  # type: ignore[arg-type]
    assert sum(json.loads(line).get("count", 1) for line in lines) == 25


def test_a_second_flush_has_nothing_to_do(site: Site, smtp: SMTPServer) -> None:
    site.run(THREE_KINDS, env={"MAILLOG_WORKER": "none"})
    site.manage("flush_maillogs")

    done = site.manage("flush_maillogs", "--json")

    assert set(json.loads(done.stdout).values()) == {0}
    assert len(smtp.messages) == 1
    assert list(site.spool_dir.iterdir()) == []


def test_the_rules_hold_back_what_is_not_due(site: Site, smtp: SMTPServer) -> None:
    site.run(THREE_KINDS, env={"MAILLOG_WORKER": "none"})

    done = site.manage("flush_maillogs", "--due", "--json")

    assert json.loads(done.stdout) | {"sealed": 0, "sent": 0, "pending": 25} == json.loads(done.stdout)
    assert smtp.messages == []


def test_failing_views_arrive_with_request_and_without_secrets(site: Site, smtp: SMTPServer) -> None:
    done = site.run(VISIT, "/login/", "/asynchronous/", "/broken-transaction/")
    site.manage("flush_maillogs")

    assert done.stdout.split() == ["500"] * 3
    text = "".join(part(mail, "plain") for mail in smtp.messages)
    for expected in (
        "PermissionError",
        "failed in a coroutine",
        "rolled back",
        "about to roll back",
        "POST /login/",
    ):
        assert expected in text
    assert "hunter2" not in "".join(mail.as_string() for mail in smtp.messages)
    assert b"hunter2" not in b"".join(path.read_bytes() for path in site.folder.rglob("*") if path.is_file())


def test_without_tables_records_wait_and_arrive_after_migrate(empty_site: Site, smtp: SMTPServer) -> None:
    logged = empty_site.run('import logging; logging.getLogger("shop").error("before migrate")')
    early = empty_site.manage("flush_maillogs", check=False)

    assert "Traceback" not in logged.stderr
    assert early.returncode == 1
    assert "manage.py migrate" in early.stderr
    assert smtp.messages == []

    empty_site.manage("migrate", "--verbosity=0")
    empty_site.manage("flush_maillogs")

    [mail] = smtp.messages
    assert mail["Subject"] == "[Django] ERROR before migrate"


def test_without_admins_records_stay_pending_and_nothing_raises(site: Site, smtp: SMTPServer) -> None:
    logged = site.run(
        "from django.conf import settings; settings.ADMINS = []\n"
        'import logging; logging.getLogger("shop").error("to nobody")\n'
        "from django.core.management import call_command; call_command('flush_maillogs', '--json')"
    )

    assert json.loads(logged.stdout)["pending"] == 1
    assert smtp.messages == []

    site.manage("flush_maillogs")

    assert [mail["Subject"] for mail in smtp.messages] == ["[Django] ERROR to nobody"]


def test_without_the_app_installed_a_logging_call_does_not_raise(site: Site, smtp: SMTPServer) -> None:
    # A project that is known by more than its settings module.
    site.env["MAILLOG_PROJECT"] = "shop"
    done = site.run(
        'import logging; logging.getLogger("shop").error("not installed")',
        env={"DJANGO_SETTINGS_MODULE": "tests.settings_without_app"},
    )

    assert done.stderr == ""
    assert smtp.messages == []

    site.manage("flush_maillogs")

    assert [mail["Subject"] for mail in smtp.messages] == ["[Django] ERROR not installed"]


def test_a_buffer_that_does_not_exist_is_named_with_those_that_do(site: Site) -> None:
    done = site.manage("flush_maillogs", "nope", check=False)

    assert done.returncode == 1
    assert done.stderr.strip() == "CommandError: No buffer is called 'nope'. There is: 'mail'."


SHOW_AND_COUNT = """
import json
from datetime import datetime
from django.contrib.auth.models import User
from django.db.models import Sum
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_maillog.models import Batch, Group, Record, Tally
client = Client(headers={"host": "localhost"})
client.force_login(User.objects.create_superuser("ada"))
paths = [reverse(f"admin:django_maillog_{name}_changelist") for name in ("batch", "group", "record")]
paths += [reverse("admin:django_maillog_batch_change", args=[batch.pk]) for batch in Batch.objects.all()]
paths += [reverse("admin:django_maillog_group_change", args=[group.pk]) for group in Group.objects.all()]
paths += [f"{paths[1]}?{filters}" for filters in ("state=new", "state=active")]
now = datetime.now() if timezone.is_naive(timezone.now()) else timezone.now()
last = Record.objects.order_by("-last_at").first().last_at
print(json.dumps({
    "statuses": sorted({client.get(path).status_code for path in paths}),
    "records": Group.objects.aggregate(n=Sum("count"))["n"],
    "counted": Tally.objects.aggregate(n=Sum("count"))["n"],
    "age": abs((now - last).total_seconds()),
    "chart": "– 18" in client.get(paths[1]).content.decode(),
}))
"""


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_a_project_without_time_zones_gets_the_same(site: Site, smtp: SMTPServer, zone: str) -> None:
    site.env |= {"MAILLOG_TEST_USE_TZ": "0", "MAILLOG_TEST_TIME_ZONE": zone}
    for _each in range(2):  # the second time, batch and groups are known
        site.run(THREE_KINDS)
        site.manage("flush_maillogs")
        site.manage("prune_maillogs")

    shown = json.loads(site.run(SHOW_AND_COUNT).stdout)
    assert [mail["X-Maillog-Count"] for mail in smtp.messages] == ["25", "25"]
    assert (shown["statuses"], shown["records"], shown["counted"]) == ([200], 50, 50)
    assert shown["chart"]
    assert shown["age"] < 300
    dates = [parsedate_to_datetime(mail["Date"]) for mail in smtp.messages]
    assert all(abs((datetime.now(UTC) - date).total_seconds()) < 300 for date in dates)
    now = datetime.now(ZoneInfo(zone))
    text = part(smtp.messages[-1], "plain")
    assert any(f"{now - timedelta(minutes=ago):%H:%M}" in text for ago in range(5)), text
