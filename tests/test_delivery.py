"""What a mailer's errors mean, and what a connection does about them."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from email.message import Message
from typing import Any
from urllib.error import HTTPError

import django
import pytest
from anymail.exceptions import AnymailAPIError, AnymailRecipientsRefused
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend

from django_maillog.digest import Attachment, Digest
from django_maillog.outbox.connection import TIMEOUT_SECONDS, Connection, Mailers, message
from django_maillog.outbox.verdicts import Verdict, classify
from tests.smtp import SMTPServer


class Backend(BaseEmailBackend):
    """One that does as a test says; a project may have any."""

    def __init__(self, *errors: Exception | None, **options: Any) -> None:
        super().__init__()
        self.fail_silently = True
        self.errors = list(errors)
        self.timeout: float | None = None
        self.opened = self.closed = 0

    def open(self) -> bool:
        self.opened += 1
        return True

    def close(self) -> None:
        self.closed += 1
        raise OSError("gone")

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        error = self.errors.pop(0)
        if error is not None:
            raise error
        return len(email_messages)


class Target:
    using: str | None = None
    include_html = False
    has_own_mailer = True

    def __init__(self, backend: BaseEmailBackend) -> None:
        self.backend = backend

    def get_recipients(self) -> list[str]:
        return ["ada@example.com"]

    def get_sender(self) -> str:
        return "errors@example.com"

    def get_connection(self) -> BaseEmailBackend:
        return self.backend

    def get_digest_subject(self, report: object) -> str:
        return "An error"


def mail() -> EmailMultiAlternatives:
    return EmailMultiAlternatives("An error", "text", "errors@example.com", ["ada@example.com"])


@pytest.mark.parametrize(
    ("error", "retry", "lost"),
    [
        (smtplib.SMTPDataError(451, b"later"), True, False),
        (smtplib.SMTPDataError(552, b"too large"), False, False),
        (smtplib.SMTPSenderRefused(550, b"no", "a@b"), False, False),
        (smtplib.SMTPResponseException(421, b"closing"), True, True),
        (smtplib.SMTPAuthenticationError(535, b"wrong"), True, True),
        (smtplib.SMTPRecipientsRefused({"a@b": (450, b"later"), "c@d": (550, b"no")}), True, False),
        (smtplib.SMTPRecipientsRefused({"c@d": (550, b"no")}), False, False),
        (smtplib.SMTPServerDisconnected("gone"), True, True),
        (TimeoutError("timed out"), True, True),
        (ValueError("Header values can't contain newlines"), False, False),
        (UnicodeEncodeError("ascii", "ö", 0, 1, "no"), False, False),
        (RuntimeError("the mail service's API answered 503"), True, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_tried_again_or_not(error: Exception, retry: bool, lost: bool) -> None:
    verdict = classify(error)

    assert (verdict.sent, verdict.retry, verdict.connection_lost) == (False, retry, lost)
    assert verdict.error


@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [
        (400, "MessageRejected", False),
        (403, "SignatureDoesNotMatch", False),
        (400, "Throttling", True),
        (400, "TooManyRequestsException", True),
        (400, "LimitExceededException", True),
        (400, "ExpiredToken", True),
        (503, "ServiceUnavailable", True),
    ],
)
def test_what_aws_answers_is_final_or_not(status: int, code: str, retry: bool) -> None:
    """As boto's ClientError holds it, and anymail passes it on."""
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}

    verdict = classify(AnymailAPIError("An error occurred", response=answer))

    assert verdict.retry is retry


def test_an_answer_of_another_shape_says_nothing() -> None:
    assert classify(AnymailAPIError("An error occurred", response={"Status": "FAILED"})).retry


@pytest.mark.parametrize(("status", "retry"), [(422, False), (429, True), (500, True)])
def test_an_answer_that_urllib_raises_is_an_answer_and_no_lost_connection(status: int, retry: bool) -> None:
    with HTTPError("https://api.example.com", status, "no", Message(), None) as error:
        verdict = classify(error)

    assert (verdict.retry, verdict.connection_lost) == (retry, False)


def test_recipients_that_a_service_refuses_are_refused_for_good() -> None:
    backend = Backend(AnymailRecipientsRefused("all of them"))

    verdict = Connection(backend).send(mail())

    assert (verdict.sent, verdict.retry, verdict.handed_over) == (False, False, False)


class SilentSMTP(EmailBackend):
    def open(self) -> bool:
        return True

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        return 0


def test_a_mail_that_djangos_smtp_backend_did_not_send_is_tried_again() -> None:
    options: dict[str, Any] = {"alias": "silent"} if django.VERSION >= (6, 1) else {}

    verdict = Connection(SilentSMTP(host="127.0.0.1", **options)).send(mail())

    assert (verdict.sent, verdict.retry, verdict.handed_over) == (False, True, False)


def test_another_backends_nothing_is_not_confirmed_and_not_tried_again() -> None:
    backend = Backend()
    backend.send_messages = lambda messages: 0  # type: ignore[method-assign, assignment]

    verdict = Connection(backend).send(mail())

    assert (verdict.sent, verdict.confirmed, verdict.retry) == (True, False, False)


@pytest.mark.parametrize("answer", [None, True, False, "queued", [object()], 1])
def test_whatever_else_a_backend_answers_it_has_taken_the_mail(answer: Any) -> None:
    backend = Backend()
    backend.send_messages = lambda messages: answer  # type: ignore[method-assign, assignment]

    verdict = Connection(backend).send(mail())

    assert (verdict.sent, verdict.confirmed) == (True, True)


def test_a_mailer_without_a_time_out_gets_one_and_may_not_be_silent() -> None:
    backend = Backend(None)

    assert Connection(backend).send(mail()) == Verdict(sent=True)
    assert (backend.timeout, backend.fail_silently) == (TIMEOUT_SECONDS, False)


def test_closing_never_raises_and_closes_once() -> None:
    backend = Backend(None)
    connection = Connection(backend)
    connection.close()
    connection.send(mail())

    connection.close()
    connection.close()

    assert (backend.opened, backend.closed) == (1, 1)


def test_an_error_of_the_message_keeps_the_connection() -> None:
    backend = Backend(ValueError("bad"), None)
    connection = Connection(backend)

    assert [connection.send(mail()).sent for _each in range(2)] == [False, True]
    assert backend.opened == 1


def test_a_mailer_that_can_not_be_made_is_unreachable() -> None:
    class Broken(Target):
        def get_connection(self) -> BaseEmailBackend:
            raise LookupError("no such mailer")

    verdict = Mailers().send(Broken(Backend()), mail())

    assert (verdict.retry, verdict.handed_over, verdict.unreachable) == (True, False, True)
    assert verdict.error == "LookupError: no such mailer"


@pytest.mark.parametrize("interrupted", ["open", "send_messages"])
def test_an_interrupt_is_not_swallowed(interrupted: str) -> None:
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    backend = Backend(None)
    setattr(backend, interrupted, interrupt)

    with pytest.raises(KeyboardInterrupt):
        Connection(backend).send(mail())


def test_a_digest_becomes_a_message_with_all_its_parts() -> None:
    attachment = Attachment(name="records.jsonl.gz", content=b"\x1f\x8b", mimetype="application/gzip")
    digest = Digest(subject="An error", text="text", html="<p>html</p>", attachments=[attachment])

    made = message(digest, {"X-Maillog-Count": "1"}, sender="a@example.com", recipients=["b@example.com"])

    assert (made.subject, made.from_email, made.to) == ("An error", "a@example.com", ["b@example.com"])
    kinds = [part.get_content_type() for part in made.message().walk() if not part.is_multipart()]
    assert kinds == ["text/plain", "text/html", "application/gzip"]
    assert made.message()["X-Maillog-Count"] == "1"


def test_what_the_server_was_given_is_known(smtp: SMTPServer) -> None:
    from django_maillog import compat

    smtp.answer("450 later", at="RCPT")
    smtp.answer("451 later", at="DATA")
    connection = Connection(compat.get_connection())

    verdicts = [connection.send(mail()) for _each in range(3)]
    connection.close()

    assert [verdict.handed_over for verdict in verdicts] == [False, True, True]
    assert [verdict.sent for verdict in verdicts] == [False, False, True]
