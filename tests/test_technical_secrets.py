"""Technical reports show no secret that a variable, a line of source, the request or the exception holds."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from django.http import HttpRequest, QueryDict
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

from django_maillog.handlers import SMTPHandler

from .log_records import make_record, module, raised

S = "hunt3r2sEcr"
VARIABLES = quote(json.dumps({"password": S}))
SOURCE = """
    def view(request, given):
        jwt = cvv = bearer = credentials = session = given
        form = request.POST
        headers = {"Cookie": given, "Host": "red"}
        url = "postgres://shop:" + given + "@red/db"
        body = ('{"password": "' + given + '", "colour": "red"}').encode()
        long = "x" * 4_090 + "token=" + given * 1_000
        author, tokenizer, pinned = "Ann", "bert", "yes"
        raise ValueError("no answer from " + url)
"""


def report(handler: SMTPHandler, *, offline: bool) -> str:
    request = RequestFactory(headers={"Cookie": f"a={S}", "X-Jwt": S, "X-Shop": "red"}).post(
        f"/?token={S}&colour=red&variables={VARIABLES}", {"password": S, "card": S, "colour": "red"}
    )
    request.POST  # noqa: B018  # parses it
    error = raised(module(SOURCE).view, request, S)
    record = make_record(error=error, request=request)
    return handler.get_offline_report(record) if offline else handler.get_html_report(record)


class Reporter(ExceptionReporter):
    """A project's own."""

    def get_traceback_data(self) -> dict[str, Any]:
        return super().get_traceback_data() | {"mine": "mine"}


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize("reporter", [None, f"{__name__}.Reporter"])
def test_no_secret_is_in_a_technical_report(reporter: str | None, offline: bool) -> None:
    html = report(SMTPHandler(include_html=True, reporter_class=reporter), offline=offline)

    # The argument itself has a name that says nothing.
    html = html.replace(f"&#x27;{S}&#x27;", "")
    assert S[:-1] not in html
    for shown in ("red", "Ann", "bert", "yes", "ValueError"):
        assert shown in html


def test_literals_in_lines_of_source_are_stars() -> None:
    def view(request: HttpRequest, given: str) -> None:
        password = "hunt3r2sEcr"
        raise ValueError(len(password), QueryDict(given))

    error = raised(view, RequestFactory().get("/"), "a=b")
    html = SMTPHandler(include_html=True).get_html_report(make_record(error=error))

    assert S not in html
    assert "raise ValueError" in html
