"""Checks of the links in mails."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning

from .. import conf, links


def check_links() -> Iterator[CheckMessage]:
    """The URLs are included, and nothing says under which address."""
    if links.are_included() and not conf.site_url():
        yield Warning(
            "The URLs of django_maillog are included, and MAILLOG_SITE_URL is not set: no mail has a link.",
            hint='Set MAILLOG_SITE_URL = "https://example.com", where the site is reached from outside.',
            id="django_maillog.W060",
        )
