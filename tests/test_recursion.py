"""No recursion, no mails about mails: what our own work logs, or makes a project's code log, stays out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core import mail
from django.core.mail.backends.smtp import EmailBackend
from django.db import connection

from django_maillog.flush import flush
from django_maillog.handlers import BufferingHandler, MemoryHandler, SMTPHandler
from django_maillog.spool.journal import journal
from tests.log_records import make_record
from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

log = logging.getLogger("talkative")

EVERYTHING: dict[str, Any] = {
    **LOGGING,
    "handlers": {
        "mail": {
            "class": "django_maillog.handlers.BufferingHandler",
            "level": "DEBUG",
            "flushLevel": "ERROR",
            "group_wait": 0,
        }
    },
    "root": {"handlers": ["mail"], "level": "DEBUG"},
    "loggers": {"django": {"level": "DEBUG"}, "asyncio": {"level": "WARNING"}},
}


class TalkativeBackend(EmailBackend):
    """A mail backend that logs errors, as ones that call an API over HTTP do."""

    def open(self) -> bool | None:
        log.error("connecting")
        return super().open()

    def send_messages(self, email_messages: Iterable[Any]) -> int:
        log.critical("sending")
        return super().send_messages(list(email_messages))


class TalkativeRouter:
    """A database router that logs an error each time it is asked."""

    def db_for_write(self, model: Any, **hints: Any) -> None:
        log.error("which database for %s?", model.__name__)

    db_for_read = db_for_write


class TalkativeFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        logging.getLogger("formatter").error("formatting a record of %s", record.name)
        return super().format(record)


class TalkativeFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        logging.getLogger("filter").error("filtering a record of %s", record.name)
        return True


class Talkative:
    """An object whose text is logged when it is asked for."""

    def __str__(self) -> str:
        logging.getLogger("str").error("asked for the text of an object")
        return "talkative"


TALK = """
import logging, sys
from django.conf import settings
settings.DEBUG = True
settings.DATABASE_ROUTERS = ["tests.test_recursion.TalkativeRouter"]
if hasattr(settings, "MAILERS"):
    settings.MAILERS["default"]["BACKEND"] = "tests.test_recursion.TalkativeBackend"
else:
    settings.EMAIL_BACKEND = "tests.test_recursion.TalkativeBackend"
logging.getLogger("shop").error("The only record")
sys.stdin.read()
"""

QUERY = """
import logging
from django.conf import settings
from django.db import connection
settings.DEBUG = True
with connection.cursor() as cursor:
    cursor.execute("SELECT 1")
"""


def total(messages: Iterable[Any]) -> int:
    return sum(int(message["X-Maillog-Count"]) for message in messages)


def test_a_worker_whose_parts_all_log_mails_the_only_record(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(EVERYTHING)
    process = site.start(TALK)
    smtp.wait_for(1)
    process.communicate("", timeout=60)
    site.run("import logging; logging.getLogger('shop').error('Another')")

    assert [message["X-Maillog-Count"] for message in smtp.messages] == ["1", "1"]
    assert "The only record" in smtp.messages[0]["Subject"]


def test_a_command_whose_parts_all_log_mails_the_only_record(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(EVERYTHING)
    flush = "from django.core.management import call_command; call_command('flush_maillogs')"
    site.run(TALK.replace("sys.stdin.read()", flush), env={"MAILLOG_WORKER": "none"})

    assert total(smtp.messages) == 1


def test_an_unreachable_mail_server_is_not_mailed_about(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(EVERYTHING)
    smtp.stop()
    site.run(TALK)
    done = site.manage("flush_maillogs", "--json", check=False)

    assert json.loads(done.stdout)["pending"] == 1


def test_the_projects_own_queries_are_records_and_ours_are_not(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(EVERYTHING)
    site.run(QUERY, env={"MAILLOG_WORKER": "none"})
    site.manage("flush_maillogs")

    [message] = smtp.messages
    [body] = [part for part in [message.get_body(("plain",))] if part]
    assert "SELECT 1" in body.get_content()
    assert "maillog_" not in body.get_content()


@pytest.fixture
def root(
    settings: Settings, spool_dir: Path, configure_logging: Callable[[dict[str, Any]], None]
) -> Iterator[Callable[[logging.Handler], None]]:
    """Put a handler on the root logger, at DEBUG, with a spool of the test's own."""
    settings.DATABASE_ROUTERS = ["tests.test_recursion.TalkativeRouter"]
    settings.MAILLOG_WORKER = "inline"
    connection.force_debug_cursor = True
    journal.rotate()
    configure_logging({"version": 1, "disable_existing_loggers": False, "root": {"level": "DEBUG"}})
    yield logging.root.addHandler
    connection.force_debug_cursor = False
    journal.rotate()


class StrictBuffer(BufferingHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        raise  # noqa: PLE0704  # logging calls it while the error is handled


class StrictMail(SMTPHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        raise  # noqa: PLE0704


class StrictMemory(MemoryHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        raise  # noqa: PLE0704


@pytest.mark.django_db(transaction=True)
def test_inline_imports_and_deliveries_log_nothing_into_the_buffer(root: Callable[..., None]) -> None:
    handler = StrictBuffer(group_wait=0)
    root(handler)

    logging.getLogger("shop").error("The only record")
    logging.root.removeHandler(handler)
    flush()

    assert total(message.message() for message in mail.outbox) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("part", ["formatter", "filter", "argument", "message", "extra"])
def test_a_record_that_logs_when_it_is_handled_is_kept_and_ends(part: str, root: Callable[..., None]) -> None:
    handler = StrictBuffer(group_wait=0)
    record = awkward(part, handler)
    root(handler)

    logging.getLogger("shop").handle(record)
    logging.root.removeHandler(handler)
    flush()

    text = "".join(str(message.body) for message in mail.outbox)
    assert "shop" in text
    assert total(message.message() for message in mail.outbox) <= 10


@pytest.mark.parametrize("part", ["formatter", "filter", "argument", "message", "extra"])
@pytest.mark.parametrize("kind", ["smtp", "memory"])
def test_a_record_that_logs_when_it_is_mailed_at_once_ends(
    part: str, kind: str, root: Callable[..., None]
) -> None:
    target = StrictMail()
    handler = target if kind == "smtp" else StrictMemory(1, target=target)
    record = awkward(part, handler)
    root(handler)

    logging.getLogger("shop").handle(record)
    handler.close()

    assert 1 <= len(mail.outbox) <= 10


def awkward(part: str, handler: logging.Handler) -> logging.LogRecord:
    """A record one part of which logs; of formatter and filter the handler's."""
    if part == "formatter":
        handler.setFormatter(TalkativeFormatter())
    elif part == "filter":
        handler.addFilter(TalkativeFilter())
    elif part == "argument":
        return make_record("Order %s failed", Talkative())
    elif part == "message":
        return make_record(Talkative())
    elif part == "extra":
        return make_record("Order failed", talkative=Talkative(), fingerprint=Talkative())
    return make_record("Order failed")
