"""What is secret: the project's exception reporter filter decides, key by key, in URLs within texts, too."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from django.views.debug import get_exception_reporter_filter

from .text import safe_text

Cleanse = Callable[[str, Any], Any]

STARS = "********************"


def cleanser(request: Any) -> Cleanse:
    """Return ``cleanse(key, value)`` of the project's reporter filter; without one, it hides everything."""
    try:
        reporter_filter = get_exception_reporter_filter(request)
    except Exception:  # settings or apps aren't ready, or the project's filter can't be imported
        return lambda key, value: STARS

    def cleanse(key: str, value: Any) -> Any:
        try:
            return reporter_filter.cleanse_setting(key, value)
        except Exception:  # the project's own code
            return STARS

    return cleanse


def cleansed(text: str, limit: int, record: logging.LogRecord) -> str:
    """Return a storable text of at most ``limit`` characters, secret parameters of URLs in it as stars."""
    if "?" in text and "=" in text:
        # Before the cut, which could separate a key from its value; beyond this nobody will see the text.
        ends = text if len(text) <= 2 * limit else safe_text(text, 2 * limit)
        text = cleanse_urls(ends, cleanser(record.__dict__.get("request")))
    return safe_text(text, limit)


def cleanse_urls_in(value: Any, cleanse: Cleanse) -> Any:
    """Return a plain value with the URLs in its texts cleansed."""
    if type(value) is str:
        return cleanse_urls(value, cleanse) if "?" in value else value
    if type(value) is list:
        return [cleanse_urls_in(item, cleanse) for item in value]
    if type(value) is dict:
        return {key: cleanse_urls_in(item, cleanse) for key, item in value.items()}
    return value


_PARAMETER = re.compile(r"""([?&;#])([^=?&;#\s"'<>]{1,100}+)=([^&;#\s"'<>]++)""")


def cleanse_urls(text: str, cleanse: Cleanse, depth: int = 0) -> str:
    """Return a text with the values of secret query parameters in it as stars."""

    def stars(match: re.Match[str]) -> str:
        start, key, value = match.groups()
        if cleanse(unquote_plus(key), value) != value:
            return f"{start}{key}={STARS}"
        inner = unquote(value)  # a URL may be a parameter of another
        if depth < 3 and "?" in inner:
            cleansed = cleanse_urls(inner, cleanse, depth + 1)
            value = value if cleansed == inner else quote(cleansed, safe="/*")
        return f"{start}{key}={value}"

    return _PARAMETER.sub(stars, text)
