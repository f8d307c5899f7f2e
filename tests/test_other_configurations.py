"""A process that has another LOGGING mails a buffer to the right people at the right time, or leaves it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils.translation import gettext_lazy

from django_maillog import buffers, handlers
from django_maillog.models import Batch
from django_maillog.outbox.batches import retry
from django_maillog.plan import problems
from tests.buffers import Buffer
from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

LOG = 'import logging; logging.getLogger("shop").error("Payment failed")'
DATABASE = pytest.mark.django_db(transaction=True)


def service(name: str, to: str, **rules: Any) -> dict[str, Any]:
    """LOGGING of a service with a buffer of its own."""
    package = "django_maillog.handlers"
    return {
        **LOGGING,
        "handlers": {
            f"{name}_target": {
                "class": f"{package}.SMTPHandler",
                "toaddrs": [to],
                "fromaddr": f"{name}@x.example",
            },
            name: {"class": f"{package}.BufferingHandler", "target": f"{name}_target", **rules},
        },
        "root": {"handlers": [name], "level": "INFO"},
    }


def test_another_services_buffer_goes_to_its_own_people_from_its_own_sender(
    site: Site, smtp: SMTPServer
) -> None:
    site.configure_logging(service("shop", "shop@example.com"))
    site.run(LOG, env={"MAILLOG_WORKER": "none"})
    site.configure_logging(service("blog", "blog@example.com"))

    site.manage("flush_maillogs")

    assert [envelope.rcpt_tos for envelope in smtp.envelopes] == [["shop@example.com"]]
    assert smtp.messages[0]["From"] == "shop@x.example"


def test_another_services_buffer_is_due_by_its_own_rules(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(service("shop", "shop@example.com", group_wait=3600))
    site.run(LOG, env={"MAILLOG_WORKER": "none"})
    site.configure_logging(service("blog", "blog@example.com", group_wait=0))

    site.manage("flush_maillogs", "--due")

    assert smtp.messages == []
    facts = "from django_maillog.models import Batch\nbatch = Batch.objects.get()\n"
    assert site.run(f"{facts}print((batch.due_at - batch.opened_at).seconds)").stdout == "3600\n"


@DATABASE
@pytest.mark.usefixtures("spool_dir")
def test_a_buffer_that_was_renamed_while_its_batch_was_open_keeps_its_people(smtp: SMTPServer) -> None:
    old = Buffer("old", toaddrs="old@example.com", repeat_interval=1e6, group_wait=7200)
    old.log()
    old.import_all()
    batch = Batch.objects.get()
    assert (batch.recipients, batch.rules["group_wait"]) == (["old@example.com"], 7200)
    now = old.now
    del old
    assert "old" not in buffers.configured()
    new = Buffer("new", toaddrs="new@example.com")
    new.now = now + timedelta(hours=1)

    assert new.flush(everything=False).sealed == 0
    new.wait(3601)
    assert new.flush(everything=False).sent == 1

    assert [envelope.rcpt_tos for envelope in smtp.envelopes] == [["old@example.com"]]


@DATABASE
@pytest.mark.usefixtures("spool_dir")
def test_what_failed_is_tried_again_with_the_corrected_addressee(smtp: SMTPServer) -> None:
    buffer = Buffer(toaddrs="wrong@example.com")
    buffer.seal()
    smtp.answer("550 no such user", at="RCPT")
    assert buffer.flush().failed == 1
    buffer.handler.target = handlers.SMTPHandler(toaddrs="right@example.com", fromaddr="new@example.com")

    assert retry(Batch.objects.get(), buffer.now)
    assert buffer.flush().sent == 1

    [envelope] = smtp.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("new@example.com", ["right@example.com"])


@DATABASE
@pytest.mark.usefixtures("spool_dir")
def test_a_problem_whose_mail_failed_for_good_is_new_again_and_the_next_mail_says_so(
    smtp: SMTPServer,
) -> None:
    buffer = Buffer(group_wait=30)
    buffer.seal("Payment failed", fingerprint="a")
    smtp.answer("550 no")
    assert buffer.flush().failed == 1
    buffer.wait(60)
    buffer.log("Payment failed", fingerprint="a")
    buffer.import_all()

    batch = Batch.objects.open().get()
    assert (batch.reason, batch.due_at) == ("new", buffer.now + timedelta(seconds=30))
    buffer.wait(30)
    assert buffer.flush(everything=False).sent == 1
    [message] = smtp.messages
    body = message.get_body(("plain",))
    assert body is not None
    text = body.get_content()
    assert "1 earlier mail of this buffer with 1 record could not be delivered: 550 no" in text
    assert "something broke that was not seen before" in text
    assert "quiet time" not in text


@DATABASE
@pytest.mark.usefixtures("spool_dir")
def test_a_problem_that_a_person_cancelled_counts_as_told(smtp: SMTPServer) -> None:
    from django_maillog.outbox.batches import cancel

    buffer = Buffer(repeat_interval=14_400)
    batch = buffer.seal("Payment failed", fingerprint="a")
    cancel(batch, buffer.now)
    buffer.wait(60)
    buffer.log("Payment failed", fingerprint="a")
    buffer.import_all()

    batch = Batch.objects.open().get()
    assert (batch.reason, batch.due_at) == ("repeat", buffer.now + timedelta(seconds=14_400 - 60))


class Target(handlers.SMTPHandler):
    """A project's own, whose recipients are whatever a function gives."""

    give: Callable[[], Any]

    def get_recipients(self) -> Any:
        return type(self).give()


def addresses() -> Iterator[str]:
    yield "ada@example.com"
    yield "alan@example.com"


def raise_error() -> Any:
    raise RuntimeError("the directory is away")


def ask_the_database() -> Any:
    raise OperationalError("no such table: staff")


ANYTHING = pytest.mark.parametrize(
    "give",
    [
        lambda: ("ada@example.com", "alan@example.com"),
        lambda: {"ada@example.com", "alan@example.com"},
        addresses,
        lambda: [gettext_lazy("ada@example.com"), gettext_lazy("alan@example.com")],
    ],
    ids=["tuple", "set", "generator", "lazy"],
)


@ANYTHING
def test_the_handlers_without_a_database_take_any_strings_in_anything(
    smtp: SMTPServer, give: Callable[[], Any]
) -> None:
    target = type("Given", (Target,), {"give": staticmethod(give)})()
    memory = handlers.MemoryHandler(10, target=target)
    record = logging.LogRecord("shop", logging.ERROR, __file__, 1, "no stock", (), None)

    target.handle(record)
    memory.handle(record)
    memory.flush()

    assert [sorted(envelope.rcpt_tos) for envelope in smtp.envelopes] == [
        ["ada@example.com", "alan@example.com"]
    ] * 2


@ANYTHING
@DATABASE
@pytest.mark.usefixtures("spool_dir")
def test_recipients_may_be_any_strings_in_anything(smtp: SMTPServer, give: Callable[[], Any]) -> None:
    buffer = Buffer()
    buffer.handler.target = type("Given", (Target,), {"give": staticmethod(give)})()
    buffer.log()

    assert buffer.flush().sent == 1

    assert sorted(smtp.envelopes[0].rcpt_tos) == ["ada@example.com", "alan@example.com"]
    assert list(problems()) == []


@pytest.mark.parametrize("give", [raise_error, ask_the_database])
@DATABASE
@pytest.mark.usefixtures("spool_dir")
def test_a_target_that_raises_keeps_its_own_buffer_only(smtp: SMTPServer, give: Callable[[], Any]) -> None:
    wrong, right = Buffer("wrong"), Buffer("right")
    wrong.handler.target = type("Given", (Target,), {"give": staticmethod(give)})()
    wrong.log()
    right.log()

    summary = right.flush()

    assert (summary.sent, summary.pending) == (1, 1)
    assert [message["X-Maillog-Buffer"] for message in smtp.messages] == ["right"]


@DATABASE
@pytest.mark.usefixtures("spool_dir")
def test_recipients_that_ask_a_table_which_is_not_there_stop_no_command() -> None:
    buffer = Buffer()

    def ask() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT address FROM staff_that_is_not_there")
        return cursor.fetchall()

    buffer.handler.target = type("Given", (Target,), {"give": staticmethod(ask)})()

    call_command("check")
