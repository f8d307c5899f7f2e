"""A process that has another LOGGING mails a buffer to the right people at the right time, or leaves it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.core.mail.backends.base import BaseEmailBackend
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils.translation import gettext_lazy

from django_maillog import buffers, compat, handlers
from django_maillog.flush import flush_batch
from django_maillog.models import Batch, Status
from django_maillog.outbox.batches import retry, send_again
from django_maillog.outbox.options import FlushOptions
from django_maillog.plan import problems
from django_maillog.worker.enqueuer import Enqueuer
from django_maillog.worker.heartbeat import Heartbeat
from django_maillog.worker.outage import Mailer
from tests.buffers import Buffer
from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

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
    new.wait(3601 + 600)
    assert new.flush(everything=False).sent == 1

    assert [envelope.rcpt_tos for envelope in smtp.envelopes] == [["old@example.com"]]


@DATABASE
@pytest.mark.usefixtures("spool_dir")
def test_a_process_without_the_handler_comes_after_those_that_have_it(smtp: SMTPServer) -> None:
    other, buffer = Buffer("blog"), Buffer("shop", group_wait=30)
    buffer.log()
    buffer.import_all()
    other.now = buffer.now
    del buffer

    other.wait(31)
    assert other.flush(everything=False).sealed == 0
    assert other.flush(everything=False, at_exit=True).sealed == 0
    other.wait(600)
    assert other.flush(everything=False).sent == 1


@DATABASE
@pytest.mark.usefixtures("spool_dir")
@pytest.mark.parametrize("state", [Status.READY, Status.SENDING])
def test_what_is_sealed_is_left_to_those_that_have_the_handler_first(smtp: SMTPServer, state: str) -> None:
    other, buffer = Buffer("blog"), Buffer("shop")
    buffer.seal()
    other.now = buffer.now
    del buffer
    Batch.objects.update(status=state, claimed_until=other.now if state == Status.SENDING else None)

    other.wait(599)
    assert other.flush(everything=False).sent == 0
    other.wait(1)
    assert other.flush(everything=False).sent == 1


def own_server(smtp: SMTPServer) -> handlers.SMTPHandler:
    return handlers.SMTPHandler((smtp.host, smtp.port), "shop@x.example", "shop@example.com")


class OwnConnection(handlers.SMTPHandler):
    def get_connection(self) -> BaseEmailBackend:
        return super().get_connection()


OWN_MAILERS = pytest.mark.parametrize(
    "make", [own_server, lambda _smtp: OwnConnection(toaddrs="shop@example.com")], ids=["mailhost", "method"]
)


@DATABASE
@pytest.mark.usefixtures("spool_dir")
@OWN_MAILERS
def test_what_has_a_mailer_of_its_own_is_sent_by_nobody_else(
    smtp: SMTPServer, make: Callable[[SMTPServer], handlers.SMTPHandler]
) -> None:
    other, buffer = Buffer("blog"), Buffer("shop")
    target = buffer.handler.target = make(smtp)
    buffer.log()
    del buffer  # the other one imports it, and knows of it what the spool says

    for _each in range(2):
        summary = other.flush()
        assert (summary.sealed, summary.sent, summary.as_dict()["left_alone"]) == (0, 0, 1)
        other.wait(100_000)
        assert other.flush(everything=False).sent == 0

    buffer = Buffer("shop")
    buffer.handler.target, buffer.now = target, other.now
    assert buffer.flush(everything=False).sent == 1
    assert [envelope.rcpt_tos for envelope in smtp.envelopes] == [["shop@example.com"]]


@DATABASE
@pytest.mark.usefixtures("spool_dir")
def test_a_mail_of_a_mailer_of_its_own_waits_for_it_in_any_state(smtp: SMTPServer) -> None:
    """Sealed, tried again and sent again: the row says whose it is, though it was opened without a word."""
    other, buffer = Buffer("blog"), Buffer("shop")
    buffer.log()
    buffer.import_all()
    buffer.handler.target = own_server(smtp)
    smtp.answer("451 later")
    assert buffer.flush().retrying == 1
    target, other.now = buffer.handler.target, buffer.now
    del buffer

    batch = Batch.objects.get()
    assert retry(batch, other.now)
    assert other.flush().sent == 0
    assert flush_batch(batch, FlushOptions(clock=other.clock)).attempts == 1
    Batch.objects.update(status=Status.CANCELLED)
    copy = send_again(Batch.objects.get(), other.now)
    assert copy is not None
    assert flush_batch(copy, FlushOptions(clock=other.clock)).attempts == 0

    buffer = Buffer("shop")
    buffer.handler.target, buffer.now = target, other.now
    assert buffer.flush().sent == 1


@DATABASE
@pytest.mark.usefixtures("spool_dir")
@OWN_MAILERS
def test_without_the_database_nobody_else_mails_it_either(
    smtp: SMTPServer, make: Callable[[SMTPServer], handlers.SMTPHandler]
) -> None:
    other, buffer = Buffer("blog", toaddrs="blog@example.com"), Buffer("shop")
    buffer.handler.target = make(smtp)
    buffer.log()
    del buffer
    other.log()

    assert Mailer().mail() == 1
    assert [envelope.rcpt_tos for envelope in smtp.envelopes] == [["blog@example.com"]]
    other.import_all()
    assert Batch.objects.open().get().buffer == "shop"


@DATABASE
@pytest.mark.usefixtures("spool_dir")
def test_no_task_is_enqueued_for_what_others_send(
    smtp: SMTPServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAILLOG_DELIVERY = "task"
    enqueued: list[str] = []
    monkeypatch.setattr(compat, "enqueue_task", enqueued.append)
    buffer = Buffer("shop")
    buffer.handler.target = target = own_server(smtp)
    buffer.seal()
    del buffer

    Enqueuer(Heartbeat()).deliver(sealed=False)
    assert enqueued == []
    buffer = Buffer("shop")
    buffer.handler.target = target
    Enqueuer(Heartbeat()).deliver(sealed=False)
    assert len(enqueued) == 1


@pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS came with Django 6.1")
@DATABASE
@pytest.mark.usefixtures("spool_dir")
def test_what_goes_through_an_unknown_mailer_is_left_alone(smtp: SMTPServer, settings: Settings) -> None:
    server = {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {"host": smtp.host, "port": smtp.port},
    }
    settings.MAILERS = {"default": server, "ops": server}
    other, buffer = Buffer("blog"), Buffer("shop")
    buffer.handler.target = handlers.SMTPHandler(toaddrs="ops@example.com", using="ops")
    buffer.seal()
    other.now = buffer.now
    del buffer

    settings.MAILERS = {"default": server}
    other.wait(3600)
    assert (other.flush().outcomes, len(other.flush().left_alone)) == (Counter(), 1)
    assert Batch.objects.get().attempts == 0
    settings.MAILERS = {"default": server, "ops": server}
    assert other.flush().sent == 1


def test_the_command_says_what_it_leaves_to_others(site: Site, smtp: SMTPServer) -> None:
    with SMTPServer() as own:
        shop = service("shop", "shop@example.com")
        shop["handlers"]["shop_target"]["mailhost"] = [own.host, own.port]
        site.configure_logging(shop)
        site.run(LOG, env={"MAILLOG_WORKER": "none"})
        site.configure_logging(service("blog", "blog@example.com"))

        done = site.manage("flush_maillogs")

        assert "1 batch is left to the processes that have the handler, and its mailer: shop." in done.stderr
        assert "Nothing" in site.manage("flush_maillogs", "--dry-run").stdout
        assert (smtp.messages, own.messages) == ([], [])
        site.configure_logging(shop)
        site.manage("flush_maillogs")
        assert [envelope.rcpt_tos for envelope in own.envelopes] == [["shop@example.com"]]


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
