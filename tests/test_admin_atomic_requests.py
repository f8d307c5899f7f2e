"""The admin's buttons in a project with ATOMIC_REQUESTS: no mail is sent in the request's transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connections
from django.db.models.signals import post_save
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_maillog.models import Batch, Status
from tests.showcase import Showcase
from tests.smtp import SMTPServer

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings  # an older pytest-django has it under another name

pytestmark = pytest.mark.django_db(transaction=True)

Press = Callable[[Client, Batch], Any]


@pytest.fixture(autouse=True)
def _atomic_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    Showcase(timezone.now()).build()


@pytest.fixture
def client() -> Client:
    User.objects.create_superuser("ada")
    made = Client(raise_request_exception=False)
    made.force_login(User.objects.get())
    return made


@pytest.fixture
def batch() -> Batch:
    return Batch.objects.open().get(buffer="mail_admins")


def button(client: Client, batch: Batch) -> Any:
    return client.post(reverse("admin:django_maillog_batch_flush", args=[batch.pk]))


def action(client: Client, batch: Batch) -> Any:
    form = {"action": "flush_now", "index": "0", "_selected_action": [str(batch.pk)]}
    return client.post(reverse("admin:django_maillog_batch_changelist"), form)


@pytest.fixture
def _failing_history() -> Iterator[None]:
    """A project's own receiver, which fails when the admin notes who sent the mail."""

    def fail(**_kwargs: object) -> None:
        raise RuntimeError("the audit log is full")

    post_save.connect(fail, sender=LogEntry)
    yield
    post_save.disconnect(fail, sender=LogEntry)


def fails_afterwards(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """A middleware that fails once the view is done."""

    def middleware(request: HttpRequest) -> Any:
        response = get_response(request)
        if request.method == "POST":
            raise RuntimeError("after the view")
        return response

    return middleware


@pytest.mark.parametrize("press", [button, action])
@pytest.mark.usefixtures("_failing_history")
def test_what_was_sent_stays_sent_when_the_request_fails_afterwards(
    client: Client, batch: Batch, smtp: SMTPServer, press: Press
) -> None:
    answer = press(client, batch)

    batch.refresh_from_db()
    (mail,) = smtp.messages
    assert answer.status_code == 500
    assert (batch.status, batch.message_id) == (Status.SENT, mail["Message-ID"])


def test_what_was_sent_stays_sent_when_a_middleware_fails_afterwards(
    client: Client, batch: Batch, smtp: SMTPServer, settings: Settings
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.fails_afterwards"]

    answer = button(client, batch)

    batch.refresh_from_db()
    assert answer.status_code == 500
    assert (batch.status, len(smtp.messages)) == (Status.SENT, 1)


@pytest.mark.parametrize("press", [button, action])
def test_nobody_waits_for_the_mail_server_but_the_one_who_pressed(
    client: Client, batch: Batch, smtp: SMTPServer, press: Press
) -> None:
    smtp.hang(at="CONNECT")

    def work() -> None:
        press(client, batch)
        connections.close_all()

    pressing = threading.Thread(target=work)
    pressing.start()
    smtp.wait_for_connections(1)
    batch.refresh_from_db()
    User.objects.create(username="a writer of the project")
    was_waiting = pressing.is_alive()
    smtp.stop()
    pressing.join(30)

    assert (batch.status, was_waiting) == (Status.SENDING, True)
