"""Mail connections and recipients on every supported Django, without a warning."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.console import EmailBackend as ConsoleBackend
from django.core.mail.backends.smtp import EmailBackend
from django.test import override_settings
from django.utils.functional import lazystr

from django_maillog import compat
from django_maillog.handlers.smtp_backend import smtp_connection

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

SMTP = "django.core.mail.backends.smtp.EmailBackend"
CONSOLE = "django.core.mail.backends.console.EmailBackend"
has_mailers = pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS came with Django 6.1")


class OldBackend(BaseEmailBackend):
    """A backend of before Django 6.1: it takes no alias."""

    def __init__(self, fail_silently: bool = False) -> None:
        super().__init__()
        self.silent = fail_silently


class OldSMTPBackend(EmailBackend):
    """The same, on top of Django's own; what it leaves out is Django's to warn about."""

    def __init__(self, fail_silently: bool = False) -> None:
        alias: dict[str, Any] = {"alias": None} if compat.HAS_MAILERS else {}
        super().__init__(**alias)


@pytest.fixture
def without_mailers(settings: Settings) -> None:
    """A project that has not moved to MAILERS."""
    if hasattr(settings, "MAILERS"):
        del settings.MAILERS


@pytest.fixture
def with_mailers(settings: Settings) -> None:
    settings.MAILERS = {
        "default": {"BACKEND": SMTP, "OPTIONS": {"host": "mail.example.com"}},
        "other": {"BACKEND": CONSOLE},
    }


@pytest.fixture
def console_backend(without_mailers: None) -> Iterator[None]:
    """EMAIL_BACKEND is set, which is deprecated in Django 6.1; using it must not warn."""
    override = override_settings(EMAIL_BACKEND=CONSOLE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        override.enable()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        override.disable()


@pytest.mark.usefixtures("console_backend")
def test_the_projects_backend_is_used_without_mailers() -> None:
    assert type(compat.get_connection()) is ConsoleBackend


@pytest.mark.skipif(not compat.mailers_configured(), reason="these tests set EMAIL_BACKEND in any case")
@pytest.mark.usefixtures("without_mailers")
def test_a_project_without_any_mail_setting_uses_smtp() -> None:
    connection = compat.get_connection()

    assert isinstance(connection, EmailBackend)
    assert (connection.host, connection.port) == ("localhost", 25)


@pytest.mark.usefixtures("without_mailers")
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (SMTP, EmailBackend),
        (CONSOLE, ConsoleBackend),
        (f"{__name__}.OldBackend", OldBackend),
        (f"{__name__}.OldSMTPBackend", OldSMTPBackend),
    ],
)
def test_a_named_backend_is_used_without_mailers(path: str, kind: type[BaseEmailBackend]) -> None:
    assert type(compat.get_connection(email_backend=path)) is kind


@pytest.mark.usefixtures("without_mailers")
def test_a_mailer_without_mailers_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"using='other' names a mailer, which needs Django 6\.1"):
        compat.get_connection(using="other")

    assert not compat.mailers_configured()


@has_mailers
@pytest.mark.usefixtures("with_mailers")
def test_mailers_are_found_by_alias() -> None:
    default, other = compat.get_connection(), compat.get_connection(using="other")

    assert isinstance(default, EmailBackend)
    assert isinstance(other, ConsoleBackend)
    assert default.host == "mail.example.com"


@has_mailers
@pytest.mark.usefixtures("with_mailers")
def test_a_backend_is_refused_where_mailers_are_defined() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"one of \['default', 'other'\]"):
        compat.get_connection(email_backend=CONSOLE)


def test_a_mailer_and_a_backend_exclude_each_other() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"Give one of email_backend='x\.Y' and using='other'"):
        compat.refuse_mailer(using="other", email_backend="x.Y")


@pytest.mark.parametrize("mailers", [False, pytest.param(True, marks=has_mailers)])
def test_an_smtp_connection_takes_nothing_from_the_settings(
    mailers: bool, request: pytest.FixtureRequest, settings: Settings
) -> None:
    request.getfixturevalue("with_mailers" if mailers else "without_mailers")
    if not compat.HAS_MAILERS:  # where there are mailers, these settings warn
        settings.EMAIL_HOST_USER = "nobody"
        settings.EMAIL_USE_SSL = True
        settings.EMAIL_TIMEOUT = 99

    connection = smtp_connection(
        host="relay", port=None, username=None, password=None, timeout=5.0, secure=()
    )

    assert isinstance(connection, EmailBackend)
    found = (connection.host, connection.port, connection.username, connection.use_tls, connection.use_ssl)
    assert found == ("relay", 25, "", False, False)
    assert (connection.timeout, connection.fail_silently) == (5.0, False)


def test_tls_is_used_with_credentials() -> None:
    connection = smtp_connection(
        host="relay", port=587, username="me", password="secret", timeout=1, secure=()
    )

    assert isinstance(connection, EmailBackend)
    assert (connection.port, connection.use_tls, connection.password) == (587, True, "secret")


@pytest.mark.parametrize("setting", ["ADMINS", "MANAGERS"])
def test_addresses_are_read_in_every_form(setting: str, settings: Settings) -> None:
    value = [("Ada", "ada@example.com"), "alan@example.com", lazystr("grace@example.com")]
    setattr(settings, setting, value)

    assert compat.addresses(setting) == ["ada@example.com", "alan@example.com", "grace@example.com"]


@pytest.mark.parametrize("value", ["ada@example.com", None, 7, [None], [("Ada", "b", "c")], [("Ada", None)]])
def test_a_wrong_list_of_addresses_is_refused(value: object, settings: Settings) -> None:
    settings.ADMINS = value

    with pytest.raises(ImproperlyConfigured, match=r"settings\.ADMINS must be a list of addresses"):
        compat.addresses("ADMINS")


def test_only_an_smtp_connection_can_lack_a_timeout() -> None:
    endless = smtp_connection(host="h", port=1, username=None, password=None, timeout=None, secure=None)
    limited = smtp_connection(host="h", port=1, username=None, password=None, timeout=5, secure=None)

    assert not compat.has_timeout(endless)
    assert compat.has_timeout(limited)
    assert compat.has_timeout(ConsoleBackend())
