"""A digest becomes an EmailMessage and goes to a mailer."""

from __future__ import annotations

import logging
import smtplib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend

from ..buffers import Target
from ..capture.text import header_text
from .verdicts import Verdict, classify, describe_refused, unreachable

if TYPE_CHECKING:
    from django.core.mail.backends.base import BaseEmailBackend

    from ..digest import Digest

# For a mailer that sets none: a server that never answers must not hold a worker for ever.
TIMEOUT_SECONDS = 30.0
START_MAIL_INPUT = 354  # RFC 5321, 4.2.3: what comes next is the text
# Backends that put mails into a queue of their own, and return 0 for one that they have taken.
QUEUES = ("post_office.", "mailer.", "djcelery_email.", "django_celery_email.")

log = logging.getLogger("django_maillog")


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


class Mailers:
    """The connections of one delivery: one for each mailer, and a mailer is what it connects to."""

    def __init__(self) -> None:
        self._connections: dict[object, Connection] = {}
        self._unreachable: set[object] = set()

    def close(self) -> None:
        """Close all of them."""
        for connection in self._connections.values():
            connection.close()

    def is_unreachable(self, target: Target) -> bool:
        """Whether the target's mailer could not be reached a moment ago; it is not asked again."""
        return bool(self._unreachable) and identity(target.get_connection(), target) in self._unreachable

    def send(self, target: Target, mail: EmailMultiAlternatives) -> Verdict:
        """Try to send one message; never raises."""
        try:
            backend = target.get_connection()
        except Exception as error:  # whatever is wrong with the mailer, the message is not to blame
            return unreachable(error)
        mailer = identity(backend, target)
        connection = self._connections.setdefault(mailer, Connection(backend))
        verdict = connection.send(mail)
        if verdict.unreachable:
            self._unreachable.add(mailer)
        return verdict


def identity(backend: BaseEmailBackend, target: Target) -> object:
    """What a backend connects to, as a dictionary's key: its class and its options if all of them are plain.

    A client or a dictionary of parameters may be another account's: such a backend is its target's alone.
    """
    options = vars(backend).keys() - {"timeout", "fail_silently"}
    if isinstance(backend, EmailBackend):
        options -= {"connection", "_partial_connection", "_lock"}
    # Another class may look its account up by its alias; what Django's uses is all in its options.
    if type(backend) is EmailBackend:
        options -= {"alias"}
    values = tuple((name, vars(backend)[name]) for name in sorted(options))
    return type(backend), values if all(_is_plain(value) for _name, value in values) else target


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(each) for each in value)
    return isinstance(value, str | bytes | int | float | None)


class Connection:
    """One connection of a mailer, opened at the first message and used for all that follow."""

    def __init__(self, backend: BaseEmailBackend) -> None:
        self._backend = backend
        self._is_open = False
        self._given = True  # whether the server was given the text of the last message; only SMTP tells
        self._refused: dict[str, Any] = {}

    def send(self, mail: EmailMultiAlternatives) -> Verdict:
        """Try to send one message; never raises."""
        was_open = self._is_open
        verdict = self._try(mail)
        if verdict.connection_lost and was_open and not verdict.handed_over and not verdict.unreachable:
            verdict = self._try(mail)  # the server had closed the connection between two messages, as it may
        return verdict

    def close(self) -> None:
        """Close the connection if it is open; never raises."""
        if not self._is_open:
            return
        try:
            self._backend.close()
        except Exception:  # all mails of this connection have had their answer: nothing is lost with it
            log.debug("connection not closed well", exc_info=True)
        finally:
            self._abandon()

    def _try(self, mail: EmailMultiAlternatives) -> Verdict:
        try:
            self._open()
        except Exception as error:  # whatever keeps us from the server: the message is not to blame
            self._abandon()
            return unreachable(error)
        except BaseException:
            self._abandon()
            raise
        self._given, self._refused = self._smtp() is None, {}
        try:
            number = self._backend.send_messages([mail])
        except Exception as error:  # any backend's, a poison message's included: it must not stop the others
            verdict = classify(error)
            if self._smtp() is None and verdict.connection_lost:
                verdict = unreachable(error)  # of another backend, which has a service of its own to reach
            verdict = replace(verdict, handed_over=self._given and self._smtp() is not None)
            if verdict.connection_lost:
                self._abandon()
            return verdict
        except BaseException:  # a person's Ctrl-C: a good-bye could wait as long as what was interrupted
            self._abandon()
            raise
        return self._read(number)

    def _read(self, number: object) -> Verdict:
        """What the number of sent mails means that a backend returns; many return nothing, or anything."""
        if number != 0 or type(number) is not int or type(self._backend).__module__.startswith(QUEUES):
            return Verdict(sent=True, error=describe_refused(self._refused))
        if isinstance(self._backend, EmailBackend):
            return Verdict(
                retry=True, handed_over=False, error="The mail backend sent nothing and gave no reason."
            )
        return Verdict(
            sent=True,
            confirmed=False,
            error="The mail backend took the mail and said that it sent 0; it is not tried again by itself.",
        )

    def _open(self) -> None:
        if self._is_open:
            return
        options = vars(self._backend)
        if options.get("timeout", TIMEOUT_SECONDS) is None:
            self._backend.timeout = TIMEOUT_SECONDS  # type: ignore[attr-defined]
        if options.get("fail_silently"):
            self._backend.fail_silently = False
        self._is_open = True  # before it is open, so that one that was opened in part is ended, too
        self._backend.open()
        self._watch()

    def _abandon(self) -> None:
        """Drop the connection without a good-bye, which would wait for a server that may never answer."""
        self._is_open = False
        for name in ("connection", "_partial_connection"):
            smtp = vars(self._backend).get(name)
            if isinstance(smtp, smtplib.SMTP):
                smtp.close()
                setattr(self._backend, name, None)

    def _smtp(self) -> smtplib.SMTP | None:
        """The open connection, if it is one of Django's SMTP backend."""
        smtp = vars(self._backend).get("connection")
        return smtp if isinstance(smtp, smtplib.SMTP) else None

    def _watch(self) -> None:
        """Note what Django's SMTP backend doesn't tell: who was refused, and whether the text was given."""
        smtp = self._smtp()
        if smtp is None:
            return
        sendmail, getreply = smtp.sendmail, smtp.getreply

        def watched_sendmail(*args: Any, **kwargs: Any) -> Any:
            self._refused = sendmail(*args, **kwargs)
            return self._refused

        def watched_getreply() -> tuple[int, bytes]:
            code, answer = getreply()
            if code == START_MAIL_INPUT:
                self._given = True
            return code, answer

        smtp.sendmail, smtp.getreply = watched_sendmail, watched_getreply  # type: ignore[method-assign]
