"""``manage.py test_maillog``: a test error through the configured handlers, and where it stops if it does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from django_maillog.handlers import SMTPHandler
from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

MAIL = LOGGING["handlers"]["mail"]
TO_OPS = {"class": "django_maillog.handlers.SMTPHandler", "toaddrs": "ops@example.com"}
STATE = """
import json
from django_maillog.models import Batch
print(json.dumps(list(Batch.objects.order_by("pk").values_list("buffer", "status", "record_count"))))
"""


@pytest.fixture
def idle(site: Site) -> Site:
    """A site whose processes leave all work to commands."""
    site.env["MAILLOG_WORKER"] = "none"
    return site


def state(site: Site) -> Any:
    return json.loads(site.run(STATE).stdout)


def test_one_test_mail_of_its_own_goes_out_and_each_step_is_told(idle: Site, smtp: SMTPServer) -> None:
    idle.run('import logging; logging.getLogger("shop").error("waits for its turn")')

    said = idle.manage("test_maillog").stdout.splitlines()

    (mail,) = smtp.messages
    assert "MaillogTestError" in mail["Subject"]
    assert "waits for its turn" not in str(mail)
    assert [line.split()[:2] for line in said[1:6]] == [
        ["ok", "handler"],
        ["ok", "spool"],
        ["ok", "imported"],
        ["ok", "to"],
        ["ok", "sent"],
    ]
    assert str(idle.spool_dir) in said[2]
    assert "ada@example.com, alan@example.com from" in said[4]
    assert f"127.0.0.1:{smtp.port}" in said[5]
    assert mail["Message-ID"] in said[5]
    assert "flush_maillogs must run regularly" in said[6]
    assert sorted(state(idle)) == [["mail", "open", 1], ["mail (test)", "sent", 1]]

    idle.manage("flush_maillogs")
    assert [each["X-Maillog-Count"] for each in smtp.messages] == ["1", "1"]


def test_a_record_that_the_spool_has_no_room_for_is_no_success_of_an_earlier_test(
    idle: Site, smtp: SMTPServer
) -> None:
    idle.manage("test_maillog")
    idle.env["MAILLOG_SPOOL_MAX_BYTES"] = "100"

    done = idle.manage("test_maillog", check=False)

    assert done.returncode == 1
    assert "FAILED imported     nothing came: is the spool full?" in done.stdout
    assert "ok     sent" not in done.stdout
    assert len(smtp.messages) == 1


def test_a_server_that_refuses_is_quoted_and_the_test_mail_is_not_tried_again(
    idle: Site, smtp: SMTPServer
) -> None:
    smtp.answer("451 Greylisted, come back later", at="RCPT", times=None)

    done = idle.manage("test_maillog", check=False)

    assert done.returncode == 1
    assert "FAILED sent" in done.stdout
    assert "451 Greylisted" in done.stdout
    assert "No test mail from: mail." in done.stderr
    assert state(idle) == [["mail (test)", "cancelled", 1]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"filters": ["nothing"]}, "FAILED filters      Nothing lets no such record through"),
        ({"target": "nowhere"}, "FAILED to           ImproperlyConfigured: target='nowhere' must name"),
        ({"target": "nobody"}, "FAILED to           nobody: set ADMINS"),
    ],
)
def test_what_keeps_mail_from_people_is_named(
    idle: Site, smtp: SMTPServer, change: dict[str, Any], expected: str
) -> None:
    handlers = {"mail": {**MAIL, **change}, "nobody": {"class": "tests.test_trial.ToNobody"}}
    filters = {"nothing": {"()": "tests.test_trial.Nothing"}}
    idle.configure_logging({**LOGGING, "filters": filters, "handlers": handlers})

    done = idle.manage("test_maillog", check=False)

    assert done.returncode == 1
    assert expected in done.stdout
    assert smtp.messages == []


class Nothing:
    """A filter."""

    def filter(self, record: object) -> bool:
        return False


class ToNobody(SMTPHandler):
    """Somebody's own choice of recipients."""

    def get_recipients(self) -> list[str]:
        return []


def test_each_handler_that_mails_is_tried_or_those_that_are_named(idle: Site, smtp: SMTPServer) -> None:
    in_memory = {"class": "django_maillog.handlers.MemoryHandler", "capacity": 9, "target": "behind"}
    at_once = {**TO_OPS, "level": "CRITICAL", "toaddrs": "at-once@example.com"}
    behind = {**TO_OPS, "toaddrs": "behind@example.com"}
    handlers = {"mail": MAIL, "at_once": at_once, "memory": in_memory, "behind": behind, "unused": TO_OPS}
    root = {"handlers": ["mail", "at_once", "memory"], "level": "INFO"}
    idle.configure_logging({**LOGGING, "handlers": handlers, "root": root})

    idle.manage("test_maillog")

    assert sorted(str(mail["To"]).split(",")[0] for mail in smtp.messages) == [
        "ada@example.com",
        "at-once@example.com",
        "behind@example.com",
    ]

    number = len(smtp.messages)
    assert idle.manage("test_maillog", "at_once").returncode == 0
    assert [str(mail["To"]) for mail in smtp.messages[number:]] == ["at-once@example.com"]
    for name in ("mial", "unused"):
        wrong = idle.manage("test_maillog", name, check=False)
        assert (
            f"No handler that mails is called {name!r}, or no logger has it. There is: 'mail'" in wrong.stderr
        )


def test_without_tables_without_a_spool_and_without_handlers_it_says_so(
    empty_site: Site, smtp: SMTPServer
) -> None:
    empty_site.env["MAILLOG_WORKER"] = "none"
    done = empty_site.manage("test_maillog", check=False)
    assert "FAILED database" in done.stdout
    assert "migrate" in done.stdout
    assert "Traceback" not in done.stderr

    empty_site.manage("migrate", "--verbosity=0")
    empty_site.env["MAILLOG_SPOOL_DIR"] = "/proc/nowhere"
    done = empty_site.manage("test_maillog", check=False)
    assert "FAILED spool" in done.stdout
    assert len(smtp.messages) == 1

    empty_site.configure_logging({**LOGGING, "handlers": {}, "root": {}})
    done = empty_site.manage("test_maillog", check=False)
    assert "LOGGING has no handler of django_maillog" in done.stderr
