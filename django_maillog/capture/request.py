"""What is kept of a record's request: plain values without secrets, of what is loaded and parsed already."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.utils.functional import LazyObject
from django.views.debug import get_exception_reporter_filter

from .. import conf
from .captured import CapturedRequest
from .pages import route_of
from .plain import MAX_ITEMS, Plain
from .secrets import Secrets, cleansed
from .text import class_name, safe_text, text_of

_GET_LIMIT = 4_000
_POST_LIMIT = 8_000
_META_LIMIT = 12_000


def http_request(request: object) -> Any:
    """Return the HttpRequest that a record carries, also inside a REST framework's, else None."""
    if request is None or issubclass(type(request), HttpRequest):
        return request
    try:
        inner = vars(request).get("_request")
    except Exception:  # no __dict__, or one of its own making
        return None
    return inner if issubclass(type(inner), HttpRequest) else None


def request_line(record: logging.LogRecord) -> CapturedRequest:
    """Return method, path and status code, {} without a request."""
    request = http_request(record.__dict__.get("request"))
    if request is None:
        return {}
    line: CapturedRequest = {}
    fields = vars(request)
    if fields.get("method"):
        line["method"] = safe_text(fields["method"], 20)
    if fields.get("path"):
        line["path"] = cleansed(text_of(fields["path"]), 2_000, record)
    status = record.__dict__.get("status_code")
    if isinstance(status, int):
        line["status_code"] = int(status)
    return line


def request_details(record: logging.LogRecord, secrets: Secrets) -> tuple[dict[str, Any], bool]:
    """Return everything that is known of the request and isn't secret, and whether something was cut."""
    request = http_request(record.__dict__.get("request"))
    if request is None:
        return {}, False
    details: dict[str, Any] = {}
    cut = False
    shown = _DETAILS if stores_personal_data() else _DETAILS[:2]
    for name, read, limit in shown:
        plain = Plain(limit, secrets=secrets)
        try:
            value = plain.of(read(request))
        except Exception:  # a closed or half-made request, a project's filter: the rest is still worth having
            continue
        if value:
            details[name] = value
            cut = cut or plain.cut
    return details, cut


def stores_personal_data() -> bool:
    """Whether MAILLOG_PERSONAL_DATA allows it; a wrong value allows nothing."""
    try:
        return conf.personal_data()
    except Exception:  # no settings, or a wrong one, which is a check's business
        return False


def _view(request: Any) -> str:
    """Return the dotted path of the view, as Django wrote it down when it found the route."""
    path = getattr(getattr(request, "resolver_match", None), "_func_path", None)
    return path if type(path) is str else ""


def _user(request: Any) -> str:
    """Return the user's key and name, if loaded: of whom the view assigned, else of whom a session said."""
    fields = vars(request)
    found = (_loaded(fields.get(name)) for name in ("user", "_cached_user", "_acached_user"))
    user = next((user for user in found if user is not None), None)
    kind: Any = type(user)
    if user is None or kind.__name__ == "AnonymousUser":
        return ""
    if getattr(kind, "_meta", None) is None:
        return class_name(kind).rpartition(".")[2]
    fields = object.__getattribute__(user, "__dict__")
    known = (fields.get(kind._meta.pk.attname), fields.get(getattr(kind, "USERNAME_FIELD", "")))
    return " ".join(text_of(value) for value in known if value not in (None, ""))


def _loaded(user: object) -> object:
    """Return what is behind a lazy object if it was asked before; asking it here may be a query."""
    while issubclass(type(user), LazyObject):
        user = object.__getattribute__(user, "__dict__").get("_wrapped")
    return None if type(user) is object else user


def _remote_addr(request: Any) -> str:
    return text_of(request.META.get("REMOTE_ADDR", ""))


def _get(request: Any) -> dict[str, Any]:
    return _values(request.GET)


def _post(request: Any) -> dict[str, Any]:
    """Return the POST data if the view has parsed it: reading it now could wait for the client."""
    fields = vars(request)
    if fields.get("_post_parse_error") or not ("_post" in fields or "POST" in fields):
        return {}
    return _values(get_exception_reporter_filter(request).get_post_parameters(request))


def _values(values: Any) -> dict[str, Any]:
    plain = {}
    for key in itertools.islice(values, MAX_ITEMS + 1):
        items = values.getlist(key) if hasattr(values, "getlist") else [values[key]]
        plain[text_of(key)] = items[0] if len(items) == 1 else items
    return plain


# Only what a client or the server said of this request: some servers mix the process's environment into META.
_META = re.compile(
    r"HTTP_\w+|CONTENT_(?:TYPE|LENGTH)|QUERY_STRING|REMOTE_(?:ADDR|HOST|PORT|USER)|REQUEST_URI"
    r"|SERVER_(?:NAME|PORT|PROTOCOL)"
)


def _meta(request: Any) -> dict[str, Any]:
    meta = get_exception_reporter_filter(request).get_safe_request_meta(request)
    plain = {}
    for key in sorted(key for key in meta if type(key) is str and _META.fullmatch(key)):
        value = text_of(meta[key])
        if not value or key == "HTTP_COOKIE" or os.environ.get(key) == value:
            continue
        plain[key] = value
    return plain


# All but the first two are personal data.
_DETAILS: tuple[tuple[str, Callable[[Any], Any], int], ...] = (
    ("route", route_of, 1_000),
    ("view", _view, 300),
    ("user", _user, 300),
    ("remote_addr", _remote_addr, 100),
    ("GET", _get, _GET_LIMIT),
    ("POST", _post, _POST_LIMIT),
    ("META", _meta, _META_LIMIT),
)
