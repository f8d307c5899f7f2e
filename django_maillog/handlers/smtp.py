"""SMTPHandler: mails each record while the caller waits, and says where the other handlers' mail goes."""

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Sequence
from email.utils import getaddresses
from functools import cached_property
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.views.debug import ExceptionReporter

from .. import buffers, compat, digest
from ..capture.secrets import Secrets
from ..capture.text import escape_line_ends, exception_of, header_text, safe_text, traceback_text
from ..outbox import connection as outgoing
from ..throttle import Throttle
from . import arguments, incoming, names, technical
from .smtp_backend import smtp_connection

if TYPE_CHECKING:
    from django.core.mail.backends.base import BaseEmailBackend

STDLIB_TIMEOUT = 5.0  # seconds; what logging.handlers.SMTPHandler really waits, whatever its docstring says
SUBJECT_LIMIT = 400  # characters; folding a header takes far more than linear time
BODY_LIMIT = 5_000_000  # characters
CLEANSED_LIMIT = 100_000  # characters; cleansing so many takes some milliseconds


class SMTPHandler(incoming.Incoming, logging.handlers.SMTPHandler):
    """Mails each record while the caller waits; for the other handlers it says where mail goes.

    Without arguments it is ``django.utils.log.AdminEmailHandler``: to ``ADMINS``, through the project's
    mailer. With ``mailhost`` it is the standard library's ``SMTPHandler``, on Django's SMTP backend.
    ``toaddrs`` is an address, a sequence of them, ``"ADMINS"`` or ``"MANAGERS"``; ``timeout`` is in seconds,
    5.0 if there is a ``mailhost``; ``secure`` encrypts without verifying the server's certificate, as in the
    standard library (see ``smtp_backend.SMTPBackend``). A ``reporter_class`` given here is used as it is;
    Django's default reporter without its dump of the settings.
    """

    mailhost: str | None  # type: ignore[assignment]  # None: the project's mailer sends
    fromaddr: str | None  # type: ignore[assignment]  # None: SERVER_EMAIL
    toaddrs: list[str] | None  # type: ignore[assignment]  # None: ADMINS
    subject: str | None  # type: ignore[assignment]  # None: made from the record
    timeout: float | None  # type: ignore[assignment]

    def __init__(
        self,
        mailhost: str | tuple[str, int] | None = None,
        fromaddr: str | None = None,
        toaddrs: str | Sequence[str] | None = None,
        subject: str | None = None,
        credentials: tuple[str, str] | None = None,
        secure: tuple[()] | tuple[str] | tuple[str, str] | None = None,
        timeout: float | None = None,
        *,
        using: str | None = None,
        email_backend: str | None = None,
        include_html: bool = False,
        reporter_class: str | None = None,
    ) -> None:
        host = arguments.mailhost(mailhost)
        wait = arguments.timeout(timeout)
        super().__init__(
            host,  # type: ignore[arg-type]  # None: the project's mailer
            arguments.address("fromaddr", fromaddr),  # type: ignore[arg-type]  # None: SERVER_EMAIL
            arguments.toaddrs(toaddrs),  # type: ignore[arg-type]  # None: ADMINS
            arguments.text("subject", subject),  # type: ignore[arg-type]  # None: made from the record
            arguments.credentials(credentials),
            arguments.secure(secure),  # type: ignore[arg-type]
            wait if wait is not None or host is None else STDLIB_TIMEOUT,  # type: ignore[arg-type]
        )
        self.using = arguments.alias(using)
        self.email_backend = arguments.dotted("email_backend", email_backend)
        self.include_html = arguments.flag("include_html", include_html)
        self._reporter_path = arguments.dotted("reporter_class", reporter_class)
        self._subject_throttle = Throttle()
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        of_server = (
            "credentials" if self.username is not None else "secure" if self.secure is not None else ""
        )
        of_mailer = "using" if self.using else "email_backend" if self.email_backend else ""
        if self.mailhost is None and of_server:
            raise ValueError(f"{of_server} needs mailhost: without it the project's mailer has its own.")
        if self.mailhost is not None and of_mailer:
            raise ValueError(
                f"{of_mailer}={getattr(self, of_mailer)!r} and mailhost={self.mailhost!r} "
                "exclude each other: give one of them."
            )
        compat.refuse_mailer(using=self.using, email_backend=self.email_backend)
        if compat.HAS_MAILERS and hasattr(self, "connection"):
            raise AttributeError(
                "The undocumented AdminEmailHandler.connection() method is no longer used. "
                f"Rename it to get_connection() in {type(self).__qualname__}."
            )

    def set_name(self, name: str | None) -> None:
        super().set_name(name)  # type: ignore[arg-type]
        if name:
            names.remember(name, self)

    # The inherited property knows the inherited set_name only.
    name = property(logging.Handler.get_name, set_name)

    # Where mail goes.

    def get_recipients(self) -> list[str]:
        """The addresses that mail goes to now."""
        if self.toaddrs is None:
            return compat.addresses("ADMINS")
        recipients: list[str] = []
        for entry in self.toaddrs:
            if entry in arguments.SETTING_RECIPIENTS:
                recipients += compat.addresses(entry)
            else:
                recipients += _deliverable(str(entry))
        return recipients

    def get_sender(self) -> str:
        """The address that mail comes from."""
        return str(self.fromaddr) if self.fromaddr is not None else str(settings.SERVER_EMAIL)

    def get_connection(self) -> BaseEmailBackend:
        """A new connection, not opened yet, whose errors are raised."""
        if self.mailhost is None:
            return self._project_connection() if compat.HAS_MAILERS else self.connection()
        return smtp_connection(
            host=self.mailhost,
            port=self.mailport,
            username=self.username,
            password=self.password if self.username else None,
            timeout=self.timeout,
            secure=self.secure,
        )

    if not compat.HAS_MAILERS:

        def connection(self) -> BaseEmailBackend:
            """What ``AdminEmailHandler`` calls ``get_connection()`` up to Django 6.0; may be overridden."""
            return self._project_connection()

    @property
    def has_own_mailer(self) -> bool:
        """Whether only a process that has this handler can send its mail: no row says what it connects to."""
        methods = [name for name in ("get_connection", "connection") if hasattr(self, name)]
        is_given = self.mailhost is not None or self.email_backend is not None
        return is_given or any(self._is_overridden(name) for name in methods)

    def _is_overridden(self, name: str) -> bool:
        return getattr(getattr(self, name), "__func__", None) is not vars(SMTPHandler)[name]

    def _project_connection(self) -> BaseEmailBackend:
        connection = compat.get_connection(using=self.using, email_backend=self.email_backend)
        if self.timeout is not None and hasattr(connection, "timeout"):
            connection.timeout = self.timeout
        return connection

    # One record's mail.

    def emit(self, record: logging.LogRecord) -> None:
        """Mail the record; an error goes to ``handleError``."""
        if incoming.is_ours(record):
            return
        try:
            with buffers.muted():
                self._mail(record)
        except Exception:
            self.handleError(record)

    def _mail(self, record: logging.LogRecord) -> None:
        if not self._is_overridden("send_mail") and not self.get_recipients():
            return
        record = incoming.formattable(record)
        secrets = Secrets(getattr(record, "request", None))
        subject = self.format_subject(secrets.text(str(self.getSubject(record)), SUBJECT_LIMIT))
        if self.mailhost is None:
            body = f"{self.format(incoming.without_exception(record))}\n\n{self._text_report(record)}"
        else:
            body = self.format(record)
        html = self._html_report(record)
        body = secrets.text(body, CLEANSED_LIMIT, ends=True)
        self.send_mail(subject, body, html_message=html and secrets.page(html[:BODY_LIMIT]))

    def getSubject(self, record: logging.LogRecord) -> str:
        """The ``subject`` argument, else level, internal or EXTERNAL IP, and message; to be overridden."""
        if self.subject is not None:
            return self.subject
        try:
            address = record.request.META.get("REMOTE_ADDR")  # type: ignore[attr-defined]
            kind = "internal" if address in settings.INTERNAL_IPS else "EXTERNAL"
        except Exception:  # no request, or a socket: Django's development server puts one there
            return f"{record.levelname}: {record.getMessage()}"
        return f"{record.levelname} ({kind} IP): {record.getMessage()}"

    def format_subject(self, subject: str) -> str:
        """Escape line ends, and cut what no header should hold."""
        return escape_line_ends(safe_text(subject, SUBJECT_LIMIT))

    def send_mail(
        self,
        subject: str,
        message: str,
        fail_silently: bool = False,
        connection: BaseEmailBackend | None = None,
        html_message: str | None = None,
    ) -> None:
        """Send one mail to the recipients; with the arguments of Django's ``mail_admins``, for overriding."""
        addressee = buffers.addressee(self)
        if not addressee.recipients:
            return
        line, text = header_text(f"{self._prefix()}{subject}"), safe_text(message, BODY_LIMIT)
        mail = EmailMultiAlternatives(line, text, addressee.sender, addressee.recipients)
        if html_message:
            mail.attach_alternative(safe_text(html_message, BODY_LIMIT), "text/html")
        try:
            (connection or self.get_connection()).send_messages([mail])
        except Exception:
            if not fail_silently:
                raise

    def _prefix(self) -> str:
        """EMAIL_SUBJECT_PREFIX, unless the subject or the server is the caller's own."""
        return str(settings.EMAIL_SUBJECT_PREFIX) if self.mailhost is None and self.subject is None else ""

    # Technical reports.

    @cached_property
    def reporter_class(self) -> type[ExceptionReporter]:
        """The class that makes the technical report: the argument's, else ``DEFAULT_EXCEPTION_REPORTER``."""
        return technical.find_class(self._reporter_path)

    def get_html_report(self, record: logging.LogRecord) -> str:
        """The technical report as HTML."""
        return technical.make(self._report_class(), record).get_traceback_html()

    def get_offline_report(self, record: logging.LogRecord) -> str:
        """The same for use in a logging call: no query, and the request's body and user as far as read."""
        return technical.offline_html(self._report_class(), record)

    def _html_report(self, record: logging.LogRecord) -> str | None:
        try:
            return self.get_html_report(record) if self.include_html else None
        except Exception:  # as below; the text says why there is none
            return None

    def _text_report(self, record: logging.LogRecord) -> str:
        try:
            return technical.make(self._report_class(), record).get_traceback_text()
        except Exception as error:  # a strange request or exception must not cost the mail that tells of it
            exc, tb = exception_of(record)
            plain = traceback_text(exc, tb, safe_text)[0] if exc is not None else ""
            return f"{plain}\n(The technical report could not be made: {safe_text(repr(error), 500)})"

    def _report_class(self) -> type[ExceptionReporter]:
        """The reporter; Django's own only in brief, unless it was asked for."""
        is_default = self._reporter_path is None and self.reporter_class is ExceptionReporter
        return technical.BriefReporter if is_default else self.reporter_class

    # A digest's mail.

    def get_digest_subject(self, report: digest.Report) -> str:
        """A digest's subject: what an overridden ``getSubject`` says of its first record, else the counts."""
        if report.groups and type(self).getSubject is not SMTPHandler.getSubject:
            try:
                said = self.getSubject(incoming.record_of(report.ranked[0]))
                return self.format_subject(f"{self._prefix()}{said}")
            except Exception as error:  # it may ask for what only the record as it was logged has
                report.subject_error = f"{type(error).__name__}: {safe_text(error, 200)}"
                self._subject_throttle.warn(
                    "getSubject failed for a digest: handler=%s error=%s", self.name, report.subject_error
                )
        own = f"{self.subject}: " if self.subject else ""
        return self.format_subject(digest.subject(report, prefix=f"{self._prefix()}{own}"))

    def send_digest(self, report: digest.Report) -> None:
        """Render and send one digest; an error is raised."""
        addressee = buffers.addressee(self)
        if not addressee.recipients:
            return
        report.include_html = self.include_html
        with buffers.muted():
            rendered = digest.render(report, subject=self.get_digest_subject(report))
            headers = digest.headers(report)
            mail = outgoing.message(
                rendered, headers, sender=addressee.sender, recipients=addressee.recipients
            )
            self.get_connection().send_messages([mail])


def _deliverable(entry: str) -> list[str]:
    """The addresses in one entry of ``toaddrs``: one string there, but smtplib delivers to each of them."""
    found = getaddresses([entry]) if "," in entry else []
    if len(found) < 2 or not all("@" in address for _name, address in found):
        return [entry]
    return [f"{name} <{address}>" if name else address for name, address in found]
