"""What a record carries beyond its own fields: ``extra``, and what a project's record factory adds."""

from __future__ import annotations

import logging
from typing import Any

from .plain import Plain
from .request import http_request
from .secrets import Secrets
from .text import safe_text, text_of

EXTRA_LIMIT = 16_000

# What a LogRecord has by itself, on any Python, and what is captured elsewhere. Never by makeLogRecord, which
# calls the project's factory: what that adds (trace and request ids) is extra.
_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    *("message", "asctime", "taskName", "request", "fingerprint"),
}


def extra_of(record: logging.LogRecord, secrets: Secrets) -> tuple[dict[str, Any], bool]:
    """Return a record's extra fields, cleansed, and whether something was cut."""
    request = record.__dict__.get("request")
    names = record.__dict__.keys() - _OWN
    if request is not None and http_request(request) is None:
        names.add("request")
    if request is not None:
        names.discard("status_code")
    plain = Plain(EXTRA_LIMIT, secrets=secrets)
    extra: dict[str, Any] = {}
    for name in sorted(names, key=text_of):
        try:
            extra |= plain.of({name: record.__dict__[name]}, depth=-1)
        except Exception:  # a container that another thread is changing, a metaclass of its own
            extra[safe_text(name, 200)] = f"<{type(record.__dict__.get(name)).__name__}>"
    return extra, plain.cut
