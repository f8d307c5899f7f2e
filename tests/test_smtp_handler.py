"""SMTPHandler: a drop-in for the standard library's and for Django's AdminEmailHandler."""

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import pytest
from aiosmtpd.smtp import SMTP as Protocol
from aiosmtpd.smtp import AuthResult, Envelope, Session
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.smtp import EmailBackend
from django.test import RequestFactory
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter

from django_maillog import buffers
from django_maillog.handlers import SMTPHandler
from tests.certificates import client_files, server_context
from tests.smtp import SMTPServer

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

has_mailers = pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS came with Django 6.1")
before_mailers = pytest.mark.skipif(django.VERSION >= (6, 1), reason="up to Django 6.0")


class Reporter(ExceptionReporter):
    """A project's own reporter."""

    def get_traceback_text(self) -> SafeString:
        return SafeString("custom text")

    def get_traceback_html(self) -> SafeString:
        return SafeString("<p>custom html</p>")


class Raising(SMTPHandler):
    """Shows what would go to handleError."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # noqa: PLE0704  # logging calls it while the error is handled


def record(message: str = "hello", *args: Any, level: int = logging.ERROR, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("shop.cart", level, "cart.py", 7, message, args, None, "pay")
    vars(made).update(extra)
    return made


def failure(message: str = "it failed", **extra: Any) -> logging.LogRecord:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        return record(message, exc_info=(type(error), error, error.__traceback__), **extra)
    raise AssertionError


def check_password(
    _server: Protocol, _session: Session, _envelope: Envelope, _way: str, data: Any
) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"me", b"secret"))


@pytest.fixture
def server() -> Any:
    with SMTPServer() as running:
        yield running


# The standard library's side.


def test_the_stdlib_arguments_work_by_position(server: SMTPServer) -> None:
    handler = Raising((server.host, server.port), "me@example.com", "you@example.com", "Log")

    handler.handle(record("price is %s ✓", 5))

    message = server.wait_for(1)[0]
    assert server.envelopes[0].mail_from == "me@example.com"
    assert server.envelopes[0].rcpt_tos == ["you@example.com"]
    assert (message["Subject"], message["From"], message["To"]) == (
        "Log",
        "me@example.com",
        "you@example.com",
    )
    assert message["Date"]
    assert message.get_content().splitlines() == ["price is 5 ✓"]


def test_the_body_is_what_the_formatter_makes(server: SMTPServer) -> None:
    handler = Raising([server.host, server.port], "me@example.com", ["you@example.com"], "Log")  # type: ignore[arg-type]
    handler.setFormatter(logging.Formatter("%(levelname)s in %(name)s: %(message)s"))

    handler.handle(failure())

    lines = server.wait_for(1)[0].get_content().splitlines()
    assert lines[0] == "ERROR in shop.cart: it failed"
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("toaddrs", "recipients"),
    [
        ("a@example.com", ["a@example.com"]),
        (("a@example.com", "b@example.com"), ["a@example.com", "b@example.com"]),
        (["Ada <a@example.com>"], ["a@example.com"]),
        ("a@example.com, Bob <b@example.com>", ["a@example.com", "b@example.com"]),
        ("MANAGERS", ["grace@example.com"]),
        (["ADMINS", "c@example.com"], ["ada@example.com", "alan@example.com", "c@example.com"]),
        (None, ["ada@example.com", "alan@example.com"]),
    ],
)
def test_mail_goes_to_toaddrs(server: SMTPServer, toaddrs: Any, recipients: list[str]) -> None:
    handler = Raising((server.host, server.port), "me@example.com", toaddrs, "Log")

    handler.handle(record())

    server.wait_for(1)
    assert server.envelopes[0].rcpt_tos == recipients


def test_one_string_stays_one_string() -> None:
    assert SMTPHandler(toaddrs="a@example.com, b@example.com").toaddrs == ["a@example.com, b@example.com"]


def test_getsubject_is_overridable(server: SMTPServer) -> None:
    class Handler(Raising):
        def getSubject(self, record: logging.LogRecord) -> str:
            return f"{super().getSubject(record)}: {record.levelname}"

    Handler((server.host, server.port), "me@example.com", "you@example.com", "Log").handle(record())

    assert server.wait_for(1)[0]["Subject"] == "Log: ERROR"


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_credentials_are_used_without_tls() -> None:
    with SMTPServer(authenticator=check_password, auth_required=True, auth_require_tls=False) as strict:
        handler = Raising(
            (strict.host, strict.port), "me@example.com", "you@example.com", "Log", ("me", "secret")
        )

        handler.handle(record())

        strict.wait_for(1)


@pytest.mark.parametrize("files", [0, 1, 2])
def test_credentials_and_tls_go_together(files: int, tmp_path: Path) -> None:
    key, certificate = client_files(tmp_path)
    both = tmp_path / "both.pem"
    both.write_text(Path(key).read_text() + Path(certificate).read_text())
    secure: Any = [(), (str(both),), (key, certificate)][files]
    options = {"tls_context": server_context("localhost"), "require_starttls": True}
    with SMTPServer(authenticator=check_password, auth_required=True, **options) as strict:
        address = (strict.host, strict.port)
        handler = Raising(address, "me@example.com", "you@example.com", "Log", ("me", "secret"), secure)

        handler.handle(record())

        assert strict.wait_for(1)[0]["Subject"] == "Log"


def test_tls_is_not_used_without_credentials() -> None:
    with SMTPServer(tls_context=server_context("localhost")) as able:
        handler = Raising((able.host, able.port), "me@example.com", "you@example.com", "Log", secure=())

        handler.handle(record())

        able.wait_for(1)


@pytest.mark.parametrize(
    ("mailhost", "timeout", "expected"), [("relay", None, 5.0), ("relay", 2, 2), (("relay", 2525), 0.5, 0.5)]
)
def test_the_timeout_is_the_stdlibs(mailhost: Any, timeout: float | None, expected: float) -> None:
    connection = SMTPHandler(
        mailhost, "me@example.com", "you@example.com", "Log", timeout=timeout
    ).get_connection()

    assert isinstance(connection, EmailBackend)
    assert connection.timeout == expected
    assert connection.port == (2525 if isinstance(mailhost, tuple) else 25)


def test_a_host_may_come_without_a_port() -> None:
    connection = SMTPHandler(("relay", None), "me@example.com", "you@example.com", "Log").get_connection()  # type: ignore[arg-type]

    assert isinstance(connection, EmailBackend)
    assert (connection.host, connection.port) == ("relay", 25)


def test_a_server_that_never_answers_costs_no_more_than_the_timeout(
    server: SMTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.hang(at="EHLO")
    handler = SMTPHandler((server.host, server.port), "me@example.com", "you@example.com", "Log", timeout=0.1)

    handler.handle(record())

    assert "TimeoutError: timed out" in capsys.readouterr().err


def test_a_mail_error_goes_to_handle_error(capsys: pytest.CaptureFixture[str]) -> None:
    handler = SMTPHandler(("127.0.0.1", 9), "me@example.com", "you@example.com", "Log")

    handler.handle(record())

    assert "ConnectionRefusedError" in capsys.readouterr().err


# Django's side.


def test_without_arguments_it_mails_the_admins(settings: Settings) -> None:
    settings.EMAIL_SUBJECT_PREFIX = "[Shop] "

    Raising().handle(record("stock is %s", "low"))

    message = mail.outbox[0]
    assert message.subject == "[Shop] ERROR: stock is low"
    assert (message.to, message.from_email) == (["ada@example.com", "alan@example.com"], "errors@example.com")
    assert str(message.body).startswith("stock is low\n\nReport\nstock is low\n")


@pytest.mark.parametrize(("address", "kind"), [("10.0.0.1", "internal"), ("192.0.2.7", "EXTERNAL")])
def test_the_subject_tells_internal_from_external(address: str, kind: str, settings: Settings) -> None:
    settings.INTERNAL_IPS = ["10.0.0.1"]

    Raising().handle(failure(request=RequestFactory(REMOTE_ADDR=address).get("/pay?x=1")))

    message = mail.outbox[0]
    assert message.subject == f"[Django] ERROR ({kind} IP): it failed"
    assert "ZeroDivisionError at /pay" in message.body
    assert "x = '1'" in message.body


def test_a_line_break_in_a_subject_is_escaped() -> None:
    Raising().handle(record("first\r\nBcc: everyone@example.com"))

    assert mail.outbox[0].subject == "[Django] ERROR: first\\r\\nBcc: everyone@example.com"


@pytest.mark.parametrize("end", "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
def test_no_line_end_costs_a_mail_whoever_puts_it_into_the_subject(end: str, settings: Settings) -> None:
    class Overriding(Raising):
        def format_subject(self, subject: str) -> str:
            return f"{subject}{end}shop"

    settings.EMAIL_SUBJECT_PREFIX = f"[Shop{end}] "
    escaped = end.encode("unicode_escape").decode()

    Raising().handle(record(f"first{end}second"))
    Overriding().handle(record())

    plain, overridden = (str(sent.message()["Subject"]) for sent in mail.outbox)
    assert plain == f"[Shop{escaped}] ERROR: first{escaped}second"
    assert overridden == f"[Shop{escaped}] ERROR: hello{escaped}shop"


def test_a_huge_subject_is_cut() -> None:
    Raising().handle(record("x" * 5_000_000))

    assert len(mail.outbox[0].subject) < 500
    assert mail.outbox[0].message()["Subject"]


def test_a_socket_in_place_of_the_request_does_no_harm() -> None:
    Raising().handle(record(request=object()))

    assert mail.outbox[0].subject == "[Django] ERROR: hello"


@pytest.mark.parametrize("args", [("%d", "text"), ("%s %s", 1), ("%(name)s", 1)])
def test_wrong_arguments_are_mailed_and_not_raised(args: tuple[Any, ...]) -> None:
    Raising().handle(record(*args))

    assert args[0] in mail.outbox[0].subject


def test_what_no_mail_can_hold_is_replaced() -> None:
    Raising(include_html=True).handle(record("lone \ud800 surrogate and \0"))

    assert mail.outbox[0].message().as_bytes()


def test_the_settings_are_left_out() -> None:
    Raising(include_html=True).handle(failure())

    message = mail.outbox[0]
    assert isinstance(message, mail.EmailMultiAlternatives)
    html = str(message.alternatives[0][0])
    for body in (str(message.body), html):
        assert "PASSWORD_HASHERS" not in body
        assert "ZeroDivisionError" in body
    assert "Installed Applications:\n['django.contrib.admin'," in str(message.body)


def test_the_default_reporter_is_djangos_as_admin_email_handlers_is() -> None:
    assert SMTPHandler().reporter_class is ExceptionReporter


def test_a_reporter_that_was_asked_for_is_used_as_it_is() -> None:
    Raising(reporter_class="django.views.debug.ExceptionReporter").handle(failure())

    assert "PASSWORD_HASHERS" in mail.outbox[0].body


@pytest.mark.parametrize("by_setting", [True, False])
def test_a_projects_reporter_is_used(by_setting: bool, settings: Settings) -> None:
    path = f"{__name__}.Reporter"
    if by_setting:
        settings.DEFAULT_EXCEPTION_REPORTER = path

    Raising(include_html=True, reporter_class=None if by_setting else path).handle(failure())

    message = mail.outbox[0]
    assert isinstance(message, mail.EmailMultiAlternatives)
    assert str(message.body).endswith("\n\ncustom text")
    assert message.alternatives[0][0] == "<p>custom html</p>"


def test_a_reporter_that_fails_costs_no_mail() -> None:
    broken = RequestFactory().get("/")
    broken.META = None  # type: ignore[assignment]

    Raising().handle(failure(request=broken))

    assert "ZeroDivisionError" in mail.outbox[0].body
    assert "The technical report could not be made" in mail.outbox[0].body


@pytest.mark.parametrize("mailhost", [True, False])
def test_a_bare_exception_is_reported_as_a_logger_would(mailhost: bool, server: SMTPServer) -> None:
    record = failure()
    record.exc_info = record.exc_info[1]  # type: ignore[assignment, index]
    handler = Raising((server.host, server.port) if mailhost else None, toaddrs="you@example.com")

    handler.handle(record)

    body = str(server.wait_for(1)[0].get_content() if mailhost else mail.outbox[0].body)
    assert "ZeroDivisionError" in body
    assert "1 / 0  # noqa: B018" in body
    assert "could not be made" not in body


def test_a_reporter_that_fails_for_a_bare_exception_costs_no_mail() -> None:
    class Failing(Raising):
        def _report_class(self) -> Any:
            raise LookupError("no reporter")

    record = failure()
    record.exc_info = record.exc_info[1]  # type: ignore[assignment, index]

    Failing().handle(record)

    assert "ZeroDivisionError: division by zero\n\n(The technical report could not be made: LookupError" in (
        mail.outbox[0].body
    )


def test_the_html_report_of_a_bare_exception_is_of_that_exception() -> None:
    record = failure()
    record.exc_info = record.exc_info[1]  # type: ignore[assignment, index]

    assert "<h1>ZeroDivisionError" in SMTPHandler().get_html_report(record)
    assert "<h1>ZeroDivisionError" in SMTPHandler().get_offline_report(record)


def test_nothing_is_computed_without_recipients(settings: Settings) -> None:
    settings.ADMINS = []

    class Handler(Raising):
        def getSubject(self, record: logging.LogRecord) -> str:
            raise AssertionError

    Handler().handle(record())

    assert mail.outbox == []


def test_send_mail_is_overridable_with_djangos_signature(settings: Settings) -> None:
    settings.ADMINS = []
    sent: list[tuple[Any, ...]] = []

    class Handler(Raising):
        def send_mail(self, subject: str, message: str, *args: Any, **kwargs: Any) -> None:
            sent.append((subject, args, kwargs))

    Handler().handle(record())

    assert sent == [("ERROR: hello", (), {"html_message": None})]


def test_send_mail_raises_unless_told_otherwise() -> None:
    handler = SMTPHandler(("127.0.0.1", 9), "me@example.com", "you@example.com")

    handler.send_mail("subject", "text", fail_silently=True)
    with pytest.raises(ConnectionRefusedError):
        handler.send_mail("subject", "text")


def test_send_mail_without_recipients_sends_nothing(settings: Settings) -> None:
    settings.ADMINS = []

    SMTPHandler().send_mail("subject", "text")

    assert mail.outbox == []


def test_format_subject_is_overridable() -> None:
    class Handler(Raising):
        def format_subject(self, subject: str) -> str:
            return subject.upper()

    Handler().handle(record())

    assert mail.outbox[0].subject == "[Django] ERROR: HELLO"


def test_a_subject_of_ones_own_has_no_prefix() -> None:
    Raising(subject="Shop", toaddrs="you@example.com").handle(record())

    assert (mail.outbox[0].subject, mail.outbox[0].to) == ("Shop", ["you@example.com"])


@before_mailers
def test_email_backend_names_another_backend(smtp: SMTPServer) -> None:
    Raising(email_backend="django.core.mail.backends.locmem.EmailBackend").handle(record())

    assert len(mail.outbox) == 1
    assert smtp.messages == []


@before_mailers
def test_connection_is_overridable_up_to_django_6_0() -> None:
    class Handler(Raising):
        def connection(self) -> Any:
            return mail.get_connection("django.core.mail.backends.dummy.EmailBackend")

    Handler().handle(record())

    assert mail.outbox == []


@has_mailers
def test_using_names_a_mailer(settings: Settings) -> None:
    locmem = {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}
    settings.MAILERS = {"other": locmem}

    Raising(using="other").handle(record())

    assert vars(mail.outbox[0])["sent_using"] == "other"


@has_mailers
def test_a_connection_method_is_refused_as_django_does() -> None:
    class Handler(SMTPHandler):
        def connection(self) -> None: ...  # type: ignore[override]

    with pytest.raises(AttributeError, match=r"connection\(\) method is no longer used"):
        Handler()


def test_a_refused_connection_leaves_the_response_alone(
    configure_logging: Callable[[dict[str, Any]], None], client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = {"class": "django_maillog.handlers.SMTPHandler", "mailhost": ("127.0.0.1", 9)}
    configure_logging(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"mail": handler},
            "loggers": {"django.request": {"handlers": ["mail"], "level": "ERROR"}},
        }
    )
    client.raise_request_exception = False

    response = client.get("/division/")

    assert response.status_code == 500
    assert "ConnectionRefusedError" in capsys.readouterr().err


# What is ours, and what is wrong.


@pytest.mark.parametrize("name", ["django_maillog", "django_maillog.worker"])
def test_our_own_records_are_not_mailed(name: str) -> None:
    Raising().handle(logging.makeLogRecord({"name": name, "levelno": 40, "msg": "lost"}))

    assert mail.outbox == []


def test_what_is_logged_while_we_send_is_not_mailed() -> None:
    handler = Raising()

    with buffers.muted():
        handler.handle(record())
        handler.emit(record())

    assert mail.outbox == []


def test_it_is_a_subclass_of_its_namesake() -> None:
    assert issubclass(SMTPHandler, logging.handlers.SMTPHandler)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"mailhost": True}, "mailhost must be a host .* by keyword here, not True"),
        ({"mailhost": ""}, "mailhost must be a host .* not ''"),
        ({"mailhost": ("h",)}, r"mailhost must be .* not \('h',\)"),
        ({"mailhost": ("", 25)}, r"mailhost must be .* not \('', 25\)"),
        ({"mailhost": ("h", 70_000)}, "with a port from 1 to 65535"),
        ({"mailhost": ("h", "smtp")}, "with a port from 1 to 65535"),
        ({"fromaddr": ""}, "fromaddr must be an address .* not ''"),
        ({"toaddrs": ""}, "toaddrs must be an address, a sequence of addresses, or 'ADMINS' or 'MANAGERS'"),
        ({"toaddrs": 5}, "toaddrs must be .* not 5"),
        ({"toaddrs": b""}, "toaddrs must be .* not b''"),
        ({"toaddrs": ["a@example.com", None]}, "toaddrs must be"),
        ({"subject": 5}, "subject must be a string, not 5"),
        ({"mailhost": "h", "credentials": ("me",)}, r"credentials must be \(username, password\)"),
        ({"mailhost": "h", "credentials": True}, r"credentials must be \(username, password\)"),
        ({"credentials": ("me", "secret")}, "credentials needs mailhost"),
        ({"credentials": ("", "")}, "credentials needs mailhost"),
        ({"mailhost": "h", "secure": True}, r"secure must be \(\), \(keyfile,\) or \(keyfile, certfile\)"),
        ({"mailhost": "h", "secure": ("", "c")}, "secure must be"),
        ({"secure": ()}, "secure needs mailhost"),
        ({"timeout": 0}, "timeout must be a number of seconds, more than 0 and below 1,000,000,000, not 0"),
        ({"timeout": True}, "timeout must be"),
        ({"timeout": 10**10}, "timeout must be"),
        ({"using": ""}, "using must be an alias in MAILERS, not ''"),
        ({"email_backend": "smtp"}, "email_backend must be a dotted path"),
        (
            {"mailhost": "h", "email_backend": "a.B"},
            "email_backend='a.B' and mailhost='h' exclude each other",
        ),
        ({"mailhost": "h", "using": "other"}, "using='other' and mailhost='h' exclude each other"),
        ({"include_html": "yes"}, "include_html must be True or False, not 'yes'"),
        ({"reporter_class": Reporter}, "reporter_class must be a dotted path"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        SMTPHandler(**arguments)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ValueError, match="credentials") as caught:
        SMTPHandler("h", credentials=("me", "secret", "x"))  # type: ignore[arg-type]

    assert "secret" not in str(caught.value)


@before_mailers
def test_a_mailer_is_refused_where_there_are_none() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"using='other' names a mailer, which needs Django 6\.1"):
        SMTPHandler(using="other")


def test_an_unknown_reporter_costs_no_mail() -> None:
    Raising(reporter_class="nowhere.Reporter", include_html=True).handle(failure())

    body = mail.outbox[0].body
    assert "reporter_class must be the dotted path of an ExceptionReporter, not 'nowhere.Reporter'" in body
    assert "ZeroDivisionError" in body
