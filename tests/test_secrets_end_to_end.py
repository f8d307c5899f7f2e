"""What is declared secret is nowhere: not in spool files, rows, mails, technical reports or attachments."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

VISIBLE = "in-plain-sight"
WITH_REPORT: dict[str, Any] = {
    **LOGGING,
    "handlers": {
        "where": {"class": "django_maillog.handlers.SMTPHandler", "include_html": True},
        "mail": {**LOGGING["handlers"]["mail"], "target": "where"},
    },
}
AT_ONCE: dict[str, Any] = {
    **LOGGING,
    "handlers": {
        "mail": {"class": "django_maillog.handlers.SMTPHandler", "level": "ERROR", "include_html": True}
    },
}


class ProjectFilter(SafeExceptionReporterFilter):
    """A project's own: hides what is named pin, too."""

    def cleanse_setting(self, key: int | str, value: Any) -> Any:
        return self.cleansed_substitute if "pin" in str(key).lower() else super().cleanse_setting(key, value)


def secret(name: str) -> str:
    """A secret that no source line contains, for tracebacks and reports quote sources."""
    return "-".join(["s3cr3t", name, "s3cr3t"])


@sensitive_variables("number")
def charge(number: str) -> None:
    shown = VISIBLE
    raise ValueError(f"the card was refused, {shown}")


@sensitive_variables()
def charge_all(number: str) -> None:
    pin = number
    charge(pin)


@sensitive_post_parameters("card")
def pay(request: HttpRequest) -> None:
    charge_all(request.POST["card"])


@sensitive_post_parameters()
def sign_up(request: HttpRequest) -> None:
    raise LookupError(f"nobody may, {request.POST['colour'][:0]}{VISIBLE}")


VISIT = """
import logging
from django.conf import settings
from django.test import RequestFactory
settings.DEFAULT_EXCEPTION_REPORTER_FILTER = "tests.test_secrets_end_to_end.ProjectFilter"
from tests.test_secrets_end_to_end import VISIBLE, pay, secret, sign_up

log = logging.getLogger("shop")
for view in (pay, sign_up):
    for _ in range(5):  # the first in full, then repeats, then folded ones
        request = RequestFactory(headers={"Authorization": secret("header"), "X-Api-Key": secret("key"),
                                          "Cookie": "sessionid=" + secret("cookie"), "X-Shop": VISIBLE,
                                          "Referer": "https://example.com/?token=" + secret("referer")}).post(
            "/pay/?colour=" + VISIBLE + "&api_key=" + secret("query") + "&pin=" + secret("pin-query"),
            {"card": secret("card"), "password": secret("password"), "pin": secret("pin"), "colour": VISIBLE})
        try:
            view(request)
        except Exception:
            url = request.get_full_path()
            log.exception("Failed: %s", url, extra={"request": request, "status_code": 500, "url": url,
                "api_token": secret("extra"), "pin": secret("pin-extra"), "colour": VISIBLE,
                "nested": [{"password": secret("nested")}]})
"""


@pytest.mark.parametrize("config", [LOGGING, WITH_REPORT], ids=["text", "technical report"])
def test_no_secret_is_in_the_spool_the_database_or_the_mails(
    config: dict[str, Any], site: Site, smtp: SMTPServer, tmp_path: Path
) -> None:
    site.configure_logging(config)
    site.run(VISIT, env={"MAILLOG_WORKER": "none"})
    [spooled] = [path.read_text() for path in site.spool_dir.glob("*.jsonl")]
    site.manage("flush_maillogs", "--quiet", check=False)
    site.manage("flush_maillogs", check=False)
    rows = dumped(site)

    assert len(smtp.messages) == 1
    mailed = [text for message in smtp.messages for text in texts(message)]
    for place in (spooled, rows, *mailed):
        assert VISIBLE in place or "html" not in place
        assert "s3cr3t" not in place
    assert sum(VISIBLE in place for place in mailed) >= 3


def test_no_secret_is_in_a_mail_that_is_sent_at_once(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(AT_ONCE)
    site.run(VISIT)

    assert len(smtp.messages) == 10
    for message in smtp.messages:
        assert "s3cr3t" not in "".join(texts(message))
        assert VISIBLE in "".join(texts(message))


def test_no_secret_is_in_a_mail_straight_from_the_spool(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(WITH_REPORT)
    site.run(
        VISIT + "\nfrom django_maillog.worker import outage\nassert outage.Mailer().mail() == 1",
        env={"MAILLOG_WORKER": "none"},
    )

    [message] = smtp.messages
    assert "s3cr3t" not in "".join(texts(message))
    assert VISIBLE in "".join(texts(message))


def dumped(site: Site) -> str:
    """Every row of our tables, whatever the database."""
    return site.run(
        "from django.core.management import call_command; call_command('dumpdata', 'django_maillog')"
    ).stdout


def texts(message: Any) -> list[str]:
    """A mail's source, and each of its parts as a reader gets it."""
    found = [message.as_string()]
    for part in message.walk():
        if part.is_multipart():
            continue
        content = part.get_payload(decode=True)
        if part.get_content_type() == "application/gzip" or content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        found.append(content.decode())
    return found
