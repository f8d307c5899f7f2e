"""What the project's exception reporter filter hides is in nothing that is prepared."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from django.urls import ResolverMatch
from django.views.debug import (
    ExceptionReporter,
    SafeExceptionReporterFilter,
    get_default_exception_reporter_filter,
)
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from django_maillog.capture.fingerprint import fingerprint
from django_maillog.capture.plain import json_line
from django_maillog.capture.prepare import capture, capture_repeat
from django_maillog.handlers import SMTPHandler

from .log_records import make_record, raised

SECRET = "s3cr3t-value"


def line(record: logging.LogRecord, **options: Any) -> str:
    """What is written of a record, in full and as a repeat."""
    key = fingerprint(record)
    return (json_line(capture(record, key, **options)) + json_line(capture_repeat(record, key))).decode()


class QuietFilter(SafeExceptionReporterFilter):
    """A project's own: hides what is named pin."""

    def cleanse_setting(self, key: int | str, value: Any) -> Any:
        return self.cleansed_substitute if "pin" in str(key).lower() else super().cleanse_setting(key, value)


class BrokenFilter(SafeExceptionReporterFilter):
    def cleanse_setting(self, key: int | str, value: Any) -> Any:
        raise RuntimeError

    def get_safe_request_meta(self, request: HttpRequest) -> dict[str, Any]:
        raise RuntimeError


class OpenFilter(SafeExceptionReporterFilter):
    def cleanse_setting(self, key: int | str, value: Any) -> Any:
        return value


@pytest.mark.parametrize("key", ["password", "api_key", "authorization", "SESSION_TOKEN", "sessionid"])
def test_hidden_keys_in_extra_are_starred(key: str) -> None:
    extra: dict[str, Any] = {key: SECRET, "nested": {"list": [{key: SECRET}]}, "colour": "red"}
    text = line(make_record(**extra))

    assert SECRET not in text
    assert "red" in text


def test_headers_and_cookies_stay_out() -> None:
    request = RequestFactory(headers={"Authorization": SECRET, "X-Api-Key": SECRET, "X-Shop": "red"}).get("/")
    request.META["HTTP_COOKIE"] = f"a={SECRET}"
    request.COOKIES["a"] = SECRET

    text = line(make_record(request=request))

    assert SECRET not in text
    assert "red" in text


def test_cookies_stay_out_even_if_the_filter_hides_nothing() -> None:
    request = RequestFactory(headers={"Cookie": f"a={SECRET}", "X-Shop": "red"}).get("/")
    request.exception_reporter_filter = OpenFilter()

    text = line(make_record(request=request))

    assert SECRET not in text
    assert "red" in text


@pytest.mark.parametrize(
    "query",
    [
        f"token={SECRET}",
        f"a=1&password={SECRET}&b=2",
        f"pass%77ord={SECRET}",
        f"next=%2Freset%3Ftoken%3D{SECRET}",
        f"next=/reset?token={SECRET}",
        f"variables={quote(json.dumps({'password': SECRET}))}",
    ],
)
def test_hidden_keys_in_query_strings_are_starred(query: str) -> None:
    headers = {
        "Referer": f"https://example.com/a?{query}",
        "HX-Current-URL": f"https://example.com/?x=1&{query}",
    }
    request = RequestFactory(headers=headers).get(f"/a/?colour=red&{query}")

    text = line(
        make_record("Failed: %s", request.get_full_path(), request=request, url=request.get_full_path())
    )

    assert SECRET not in text
    assert "colour=red" in text
    assert '"path":"/a/"' in text


def test_hidden_parameters_in_messages_values_and_tracebacks_are_starred() -> None:
    def fetch() -> None:
        raise OSError(f"no answer from https://example.com/?colour=red&api_key={SECRET}")

    error = raised(fetch)
    record = make_record(f"GET /?token={SECRET}", error=error, stack_info=f"/?token={SECRET}")

    text = line(record, formatter=logging.Formatter())

    assert SECRET not in text
    assert "colour=red" in text


def routed(path: str, **kwargs: Any) -> HttpRequest:
    request = RequestFactory(headers={"Referer": f"https://example.com{path}"}).get(path)
    request.resolver_match = ResolverMatch(lambda request: None, (), kwargs, route="reset/<token>/")
    return request


@pytest.mark.parametrize("secret", [SECRET, uuid.UUID(int=5)])
def test_what_a_route_calls_a_secret_is_stars_in_the_path_and_in_texts(secret: object) -> None:
    request = routed(f"/reset/MQ/{secret}/", uidb64="MQ", token=secret)
    error = raised(lambda: request.headers[f"no such page: /reset/MQ/{secret}/"])
    record = make_record("Internal Server Error: %s", request.path, request=request, error=error)

    text = line(record, html=SMTPHandler(include_html=True).get_html_report)

    assert str(secret) not in text
    assert '"path":"/reset/MQ/********************/"' in text


def test_what_a_route_calls_otherwise_or_is_short_stays() -> None:
    request = routed("/reset/abc/article/", token="abc", slug="article", number=5)

    assert '"path":"/reset/abc/article/"' in line(make_record(request=request))


def test_sensitive_post_parameters_hold() -> None:
    @sensitive_post_parameters("iban")
    def view(request: HttpRequest) -> None:
        request.POST["missing"]

    request = RequestFactory().post("/", {"iban": SECRET, "password": SECRET, "colour": "red"})
    text = line(make_record(error=raised(view, request), request=request))

    assert SECRET not in text
    assert "red" in text


def test_sensitive_variables_hold_in_the_technical_report() -> None:
    @sensitive_variables("iban")
    def pay(iban: str, colour: str) -> None:
        raise ValueError(colour)

    record = make_record(error=raised(pay, "".join(["s3cr", "3t-value"]), "red"))

    def report(record: logging.LogRecord) -> str:
        return ExceptionReporter(None, *record.exc_info, is_email=True).get_traceback_text()  # type: ignore[misc]

    text = line(record, html=report)

    assert SECRET not in text
    assert "red" in text


def test_hidden_parameters_of_urls_in_the_technical_report_are_starred() -> None:
    record = make_record(request=RequestFactory().get("/"))

    text = line(record, html=lambda record: f"<td>http://a/?colour=red&amp;api_key={SECRET}</td>")

    assert SECRET not in text
    assert "colour=red" in text


def test_a_request_may_bring_its_own_filter() -> None:
    request = RequestFactory().get(f"/?pin={SECRET}")
    request.exception_reporter_filter = QuietFilter()

    assert SECRET not in line(make_record(request=request, pin=SECRET))


@pytest.fixture
def quiet_filter() -> Iterator[None]:
    cached: Any = get_default_exception_reporter_filter
    with override_settings(DEFAULT_EXCEPTION_REPORTER_FILTER="tests.test_secrets.QuietFilter"):
        cached.cache_clear()
        yield
    cached.cache_clear()


@pytest.mark.usefixtures("quiet_filter")
def test_the_projects_filter_is_asked() -> None:
    assert SECRET not in line(make_record(pin=SECRET))


def test_a_broken_filter_hides_everything() -> None:
    request = RequestFactory(headers={"X-Shop": SECRET}).get(f"/?a={SECRET}")
    request.exception_reporter_filter = BrokenFilter()

    text = line(make_record(request=request, shop=SECRET))

    assert SECRET not in text
    assert '"path":"/"' in text


def test_without_settings_everything_is_hidden() -> None:
    script = (
        "import logging\nfrom tests.log_records import full\n"
        f"record = logging.makeLogRecord({{'msg': 'x', 'shop': {SECRET!r}}})\n"
        "print(full(record)['extra'])"
    )
    environ = {"PATH": "/bin", "PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environ, check=True
    )

    assert SECRET not in done.stdout
    assert done.stdout.startswith("{'shop': '****")


def test_the_environment_that_servers_mix_into_a_request_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    request = RequestFactory().get("/")
    for name in ("DATABASE_URL", "HTTP_PROXY", "HOME"):
        monkeypatch.setenv(name, SECRET)
        request.META[name] = SECRET

    assert SECRET not in line(make_record(request=request))
