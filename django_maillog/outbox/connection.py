"""A digest becomes an EmailMessage and goes to a mailer; what the mailer says becomes a verdict."""

from __future__ import annotations

import logging
import selectors
import smtplib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from django.core.mail import EmailMultiAlternatives

from ..capture.text import header_text

if TYPE_CHECKING:
    from django.core.mail.backends.base import BaseEmailBackend

    from ..digest import Digest, Report

# Seconds, for a mailer that sets none: a server that never answers must not hold a worker for ever.
TIMEOUT = 30.0
PATIENCE = 0.25  # seconds after which a server that has not answered counts as slow
# RFC 4954: they speak of the connection, not of the message.
AUTHENTICATION_CODES = frozenset({530, 534, 535, 538})
START_MAIL_INPUT = 354  # RFC 5321, 4.2.3: what comes next is the text

# One that has nothing to be closed, where there is one; select() knows no high file numbers.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)

log = logging.getLogger("django_maillog")


class Target(Protocol):
    """What delivery needs of an SMTPHandler."""

    using: str | None
    include_html: bool

    def get_recipients(self) -> list[str]: ...
    def get_sender(self) -> str: ...
    def get_connection(self) -> BaseEmailBackend: ...
    def get_digest_subject(self, report: Report) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How a try ended.

    ``sent``, or else ``retry`` later or never; ``reached``: the server was given the message, and may have
    it; ``connection_lost``: the next message needs a new connection; ``unreachable``: it won't get one now;
    ``error``: what the server said.
    """

    sent: bool = False
    retry: bool = False
    reached: bool = True
    connection_lost: bool = False
    unreachable: bool = False
    error: str = ""


def message(
    digest: Digest, headers: dict[str, str], *, sender: str, recipients: list[str]
) -> EmailMultiAlternatives:
    """The mail of a digest: text, HTML and attachments."""
    mail = EmailMultiAlternatives(
        header_text(digest.subject), digest.text, sender, recipients, headers=headers
    )
    if digest.html:
        mail.attach_alternative(digest.html, "text/html")
    for attachment in digest.attachments:
        mail.attach(attachment.name, attachment.content, attachment.mimetype)
    return mail


class Connection:
    """One connection of a mailer, opened at the first message and used for all that follow.

    ``meanwhile`` is called while the server has a message and owes the answer, so that the time is of use:
    perhaps more than once a message, or never. ``waiting`` is called before we wait for long, once the server
    has kept us waiting for PATIENCE seconds, or before a step of which nothing is known. Neither may raise.
    """

    def __init__(
        self,
        target: Target,
        *,
        meanwhile: Callable[[], object] = lambda: None,
        waiting: Callable[[], object] = lambda: None,
    ) -> None:
        self._target = target
        self._meanwhile = meanwhile
        self._waiting = waiting
        self._backend: BaseEmailBackend | None = None
        self._used = False  # since it was opened
        self._given = True  # whether the server was given the text of the last message; only SMTP tells
        self._refused: dict[str, Any] = {}

    def send(self, mail: EmailMultiAlternatives) -> Verdict:
        """Try to send one message; never raises."""
        verdict = self._try(mail)
        if verdict.connection_lost and self._used and not verdict.reached and not verdict.unreachable:
            verdict = self._try(mail)  # the server had closed the connection between two messages, as it may
        return verdict

    def close(self) -> None:
        """Close the connection if it is open; never raises."""
        backend, self._backend = self._backend, None
        if backend is None:
            return
        try:
            backend.close()
        except Exception:  # all mails of this connection have had their answer: nothing is lost with it
            log.debug("connection not closed well", exc_info=True)
        finally:
            _cut(backend)

    def _try(self, mail: EmailMultiAlternatives) -> Verdict:
        self._used = self._backend is not None
        if self._smtp() is None:
            self._waiting()
        try:
            backend = self._open()
        except Exception as error:  # whatever keeps us from the server: the message is not to blame
            self._abandon()
            return Verdict(
                retry=True, reached=False, connection_lost=True, unreachable=True, error=_describe(error)
            )
        except BaseException:
            self._abandon()
            raise
        self._refused = {}
        try:
            if backend.send_messages([mail]) == 0:
                return Verdict(retry=True, error="The mail backend sent nothing and gave no reason.")
        except (
            Exception
        ) as error:  # any backend's error, a poison message's included: it must not stop the others
            verdict = replace(classify(error), reached=self._given)
            if verdict.connection_lost:
                self._abandon()
            return verdict
        except BaseException:  # a person's Ctrl-C: a good-bye could wait as long as what was interrupted
            self._abandon()
            raise
        return Verdict(sent=True, error=_describe_refused(self._refused))

    def _abandon(self) -> None:
        """Drop the connection without a good-bye, which would wait for a server that may never answer."""
        backend, self._backend = self._backend, None
        if backend is not None:
            _cut(backend)

    def _open(self) -> BaseEmailBackend:
        if self._backend is None:
            backend = self._target.get_connection()
            options = vars(backend)
            if options.get("timeout", TIMEOUT) is None:
                backend.timeout = TIMEOUT  # type: ignore[attr-defined]
            if options.get("fail_silently"):
                backend.fail_silently = False
            self._backend = backend  # before it is open, so that one that was opened in part is ended, too
            backend.open()
            self._watch()
        self._given = self._smtp() is None
        return self._backend

    def _smtp(self) -> smtplib.SMTP | None:
        """The open connection, if it is one of Django's SMTP backend."""
        smtp = vars(self._backend).get("connection") if self._backend is not None else None
        return smtp if isinstance(smtp, smtplib.SMTP) else None

    def _watch(self) -> None:
        """Note what Django's SMTP backend doesn't tell: who was refused, what was given, a long wait."""
        smtp = self._smtp()
        if smtp is None:
            return
        assert smtp.sock is not None  # it was opened just now
        sendmail, getreply = smtp.sendmail, smtp.getreply
        socket = _Selector()
        socket.register(smtp.sock, selectors.EVENT_READ)

        def watched_sendmail(*args: Any, **kwargs: Any) -> Any:
            self._refused = sendmail(*args, **kwargs)
            return self._refused

        def watched_getreply() -> tuple[int, bytes]:
            if self._given:
                self._meanwhile()
            if not socket.select(PATIENCE):
                self._waiting()
            code, answer = getreply()
            if code == START_MAIL_INPUT:
                self._given = True
            return code, answer

        smtp.sendmail, smtp.getreply = watched_sendmail, watched_getreply  # type: ignore[method-assign]


def classify(error: Exception) -> Verdict:
    """What an error while sending means (RFC 5321, 4.2.1: 4xx is worth another try, 5xx is not)."""
    text = _describe(error)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _answer in error.recipients.values()]
        return Verdict(retry=any(code < 500 for code in codes), error=text)
    if isinstance(error, smtplib.SMTPResponseException):
        code = error.smtp_code
        of_connection = code in AUTHENTICATION_CODES or code == 421
        return Verdict(retry=code < 500 or of_connection, connection_lost=of_connection, error=text)
    if isinstance(
        error, OSError
    ):  # SMTPServerDisconnected, a time-out, a reset: it may or may not have the message
        return Verdict(retry=True, connection_lost=True, error=text)
    # A bad address, a header that can't be: never better. Of another backend's error nothing is known.
    return Verdict(retry=not isinstance(error, (ValueError, TypeError)), error=text)


def _describe(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return _describe_refused(error.recipients)
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_decode(error.smtp_error)}"
    return f"{type(error).__name__}: {error}"[:1000]


def _describe_refused(refused: dict[str, Any]) -> str:
    return "; ".join(f"{address}: {code} {_decode(answer)}" for address, (code, answer) in refused.items())[
        :1000
    ]


def _decode(answer: bytes | str) -> str:
    return (answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer))[:500]


def _cut(backend: BaseEmailBackend) -> None:
    for name in ("connection", "_partial_connection"):
        smtp = vars(backend).get(name)
        if isinstance(smtp, smtplib.SMTP):
            smtp.close()
            setattr(backend, name, None)
