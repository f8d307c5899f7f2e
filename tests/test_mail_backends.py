"""Mail backends that queue, swallow, or speak to a service: each mail goes out once, and a loss is seen."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import django
import pytest
from django.core.mail.backends.base import BaseEmailBackend

from django_maillog import handlers
from django_maillog.models import Attempt, Batch, Outcome
from django_maillog.plan import problems
from tests.buffers import Buffer
from tests.sites import Site
from tests.smtp import SMTPServer

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

HOUR = 4000  # seconds: longer than any back-off

LOG_AND_FLUSH = """
import logging
from datetime import timedelta
from django.utils import timezone
from django_maillog.flush import flush
from django_maillog.outbox.options import FlushOptions
from post_office.models import Email
logging.getLogger("shop").error("Payment failed")
for hours in range(5):
    flush(FlushOptions(clock=lambda: timezone.now() + timedelta(hours=hours)))
from django_maillog.models import Batch
print(Email.objects.count(), Batch.objects.get().status, Batch.objects.get().attempts)
"""


class Silent(BaseEmailBackend):
    """One that says of every mail that it sent none."""

    taken = 0

    def send_messages(self, email_messages: Any) -> int:
        type(self).taken += 1
        return 0


def use_backend(settings: Settings, path: str) -> None:
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": path}}
    else:
        settings.EMAIL_BACKEND = path


@contextmanager
def service(*statuses: int) -> Iterator[tuple[str, list[bytes]]]:
    """A mail service's HTTP API that answers with these statuses, then with success; what it was sent."""
    left = list(statuses)
    requests: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(self.rfile.read(int(self.headers["Content-Length"])))
            status = left.pop(0) if left else 200
            body = json.dumps({"id": "<1@example.com>", "message": "Queued. Thank you."}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v3/", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def anymail(settings: Settings) -> Any:
    """Configures anymail's Mailgun backend for a service at this address."""

    def configure(url: str) -> None:
        settings.ANYMAIL = {
            "MAILGUN_API_KEY": "key",
            "MAILGUN_API_URL": url,
            "MAILGUN_SENDER_DOMAIN": "example.com",
            "REQUESTS_TIMEOUT": 5,
        }
        use_backend(settings, "anymail.backends.mailgun.EmailBackend")

    return configure


def states() -> list[tuple[str, int, bool]]:
    return list(Batch.objects.order_by("pk").values_list("status", "attempts", "handed_over"))


def test_a_mail_that_post_office_has_queued_is_not_queued_again(empty_site: Site) -> None:
    site = empty_site
    site.env |= {
        "MAILLOG_TEST_APPS": "post_office",
        "MAILLOG_TEST_EMAIL_BACKEND": "post_office.EmailBackend",
        "MAILLOG_WORKER": "none",
        "PYTHONDEVMODE": "",
    }
    site.manage("migrate", "--verbosity=0")

    assert site.run(LOG_AND_FLUSH).stdout == "1 sent 1\n"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("spool_dir")
def test_a_mail_that_a_backend_does_not_confirm_is_tried_once_and_named(settings: Settings) -> None:
    use_backend(settings, f"{__name__}.Silent")
    Silent.taken = 0
    buffer = Buffer()
    buffer.seal()

    for _each in range(3):
        buffer.flush()
        buffer.wait(HOUR)

    assert Silent.taken == 1
    assert [(status, attempts) for status, attempts, _handed_over in states()] == [("sent", 1)]
    assert Attempt.objects.get().outcome == Outcome.UNCONFIRMED
    assert "not confirmed" in "".join(problems())


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("spool_dir")
@pytest.mark.filterwarnings("ignore::anymail.exceptions.AnymailDeprecationWarning")
@pytest.mark.parametrize(
    ("status", "expected"),
    [(500, "ready"), (429, "ready"), (400, "failed"), (401, "failed")],
)
def test_a_services_answer_is_final_or_not(anymail: Any, status: int, expected: str) -> None:
    buffer = Buffer()
    buffer.seal()
    with service(status) as (url, requests):
        anymail(url)
        buffer.flush()
        assert states() == [(expected, 1, False)]
        buffer.wait(HOUR)
        buffer.flush()

    assert Batch.objects.get().status == ("sent" if expected == "ready" else "failed")
    assert len(requests) == (2 if expected == "ready" else 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("spool_dir")
def test_a_service_that_can_not_be_reached_holds_the_open_batch_back(anymail: Any) -> None:
    buffer = Buffer()
    buffer.seal("first")
    buffer.seal("second", fingerprint="b")
    anymail("http://127.0.0.1:9/v3/")

    summary = buffer.flush()

    assert states() == [("ready", 1, False), ("ready", 0, False)]
    buffer.log("third", fingerprint="c")
    summary = buffer.flush()
    assert (summary.sealed, summary.held_back) == (0, 1)


class Service(BaseEmailBackend):
    """A service's, whose account is in a dictionary of parameters; ``taken``: by whose account, to whom."""

    made = 0
    taken: ClassVar[list[tuple[str, list[str]]]] = []

    def __init__(self, params: dict[str, str] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.params = params or {}

    def open(self) -> bool:
        type(self).made += 1
        return True

    def send_messages(self, email_messages: Any) -> int:
        for mail in email_messages:
            self.taken.append((self.params["key"], mail.to))
        return len(email_messages)


class Account(Service):
    """One that has nothing but its alias, and looks up the rest."""

    def send_messages(self, email_messages: Any) -> int:
        self.params = {"key": str(vars(self)["alias"])}
        return super().send_messages(email_messages)


class OwnAccount(handlers.SMTPHandler):
    """A project's own, which gives its backend what is no text."""

    key = ""

    def get_connection(self) -> BaseEmailBackend:
        return Service({"key": self.key})


@pytest.fixture
def taken() -> list[tuple[str, list[str]]]:
    Service.taken.clear()
    Service.made = 0
    return Service.taken


def sealed(**targets: handlers.SMTPHandler) -> list[Buffer]:
    """Buffers with these targets and a mail each that is ready to go; alive while the list is."""
    made = []
    for name, target in targets.items():
        buffer = Buffer(name)
        buffer.handler.target = target
        buffer.seal()
        made.append(buffer)
    return made


needs_mailers = pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS came with Django 6.1")


@needs_mailers
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("spool_dir")
@pytest.mark.parametrize("backend", ["Service", "Account"])
def test_each_mailer_of_one_class_sends_with_its_own_account(
    settings: Settings, taken: list[tuple[str, list[str]]], backend: str
) -> None:
    def mailer(key: str) -> dict[str, Any]:
        options = {"params": {"key": key}} if backend == "Service" else {}
        return {"BACKEND": f"{__name__}.{backend}", "OPTIONS": options}

    settings.MAILERS = {"default": mailer("default"), "ops": mailer("ops")}
    made = sealed(
        mail=handlers.SMTPHandler(toaddrs="dev@example.com"),
        ops_mail=handlers.SMTPHandler(toaddrs="ops@example.com", using="ops"),
    )

    assert made[0].flush().sent == 2

    assert taken == [("default", ["dev@example.com"]), ("ops", ["ops@example.com"])]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("spool_dir")
def test_a_targets_own_backend_sends_with_its_own_account_over_one_connection(
    taken: list[tuple[str, list[str]]],
) -> None:
    first, second = OwnAccount(toaddrs="first@example.com"), OwnAccount(toaddrs="second@example.com")
    first.key, second.key = "first", "second"
    made = sealed(mail=first, ops_mail=second)
    made[0].seal("No stock")

    assert made[0].flush().sent == 3

    to_first = ("first", ["first@example.com"])
    assert taken == [to_first, ("second", ["second@example.com"]), to_first]
    assert Service.made == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("spool_dir")
def test_targets_with_the_same_server_share_one_connection(smtp: SMTPServer) -> None:
    made = sealed(
        mail=handlers.SMTPHandler((smtp.host, smtp.port), "errors@example.com", "dev@example.com"),
        ops_mail=handlers.SMTPHandler((smtp.host, smtp.port), "errors@example.com", "ops@example.com"),
    )

    assert made[0].flush().sent == 2

    assert smtp.connections == 1
