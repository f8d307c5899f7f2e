"""What is kept of a record's extra fields and request: plain values without secrets.

Nothing here runs SQL or reads a socket: an object is shown by its class unless its type is known to be
harmless.
Django's exception reporter filter (the project's) says which keys are secret, in URLs within texts, too.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import itertools
import logging
import math
import os
import pathlib
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from django.utils.functional import LazyObject

from .fingerprint import route_of
from .text import class_name, safe_text, text_of

STARS = "********************"

_TEXT_LIMIT = 4_000
_EXTRA_LIMIT = 16_000
_GET_LIMIT = 4_000
_POST_LIMIT = 8_000
_META_LIMIT = 12_000
_MAX_ITEMS = 100
_MAX_DEPTH = 5

Cleanse = Callable[[str, Any], Any]

_HARMLESS = (
    decimal.Decimal,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    uuid.UUID,
    pathlib.PurePath,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    BaseException,
)

# What a LogRecord has by itself, on any Python, and what is captured elsewhere. Never by makeLogRecord, which
# calls the project's factory: what that adds (trace and request ids) is extra.
_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    *("message", "asctime", "taskName", "request", "fingerprint"),
}


class _Plain:
    """Makes plain values out of anything, with one allowance of characters for all of them."""

    def __init__(self, limit: int, items: int = _MAX_ITEMS) -> None:
        self.left = limit
        self.items = items
        self.cut = False

    def of(self, value: object, depth: int = 0) -> Any:
        # Never isinstance: of a lazy object it would ask for __class__, and that loads it.
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int and value.bit_length() <= 64:  # type: ignore[attr-defined]
            return value
        if kind is float and math.isfinite(value):  # type: ignore[arg-type]
            return value
        if self.left <= 0:
            self.cut = True
            return "…"
        if issubclass(kind, dict):
            return self._mapping(value, depth)  # type: ignore[arg-type]
        for sequence in (list, tuple, set, frozenset):
            if issubclass(kind, sequence):
                return self._sequence(sequence.__iter__(value), sequence.__len__(value), depth)  # type: ignore[arg-type]
        return self._text(value, kind)

    def _text(self, value: object, kind: type) -> str:
        if issubclass(kind, enum.Enum):
            text: object = f"{kind.__name__}.{value._name_}"  # type: ignore[attr-defined]
        elif issubclass(kind, (bytes, bytearray)):
            text = repr(bytes(value[:_TEXT_LIMIT]))  # type: ignore[index]
        elif issubclass(kind, (str, int, float, complex, _HARMLESS)):
            text = value
        else:
            text = _class_of(value, kind)
        limit = min(_TEXT_LIMIT, max(self.left, 20))
        text = text_of(text)
        plain = safe_text(text, limit)
        self.cut = self.cut or len(text) > limit
        self.left -= len(plain)
        return plain

    def _sequence(self, items: Iterable[object], length: int, depth: int) -> Any:
        if depth >= _MAX_DEPTH:
            self.cut = True
            return f"… {length} items …"
        plain = [self.of(item, depth + 1) for item in itertools.islice(items, self.items)]
        if length > self.items:
            self.cut = True
            plain.append(f"… {length - self.items} more …")
        self.left -= 2 * len(plain)
        return plain

    def _mapping(self, value: dict[object, object], depth: int) -> Any:
        length = dict.__len__(value)
        if depth >= _MAX_DEPTH:
            self.cut = True
            return f"… {length} items …"
        plain = {}
        for key, item in itertools.islice(dict.items(value), self.items):
            name = safe_text(
                key if type(key) in (str, int, float, bool, type(None)) else _Plain(100).of(key), 200
            )
            self.left -= len(name) + 2
            plain[name] = self.of(item, depth + 1)
        if length > self.items:
            self.cut = True
            plain["…"] = f"{length - self.items} more"
        return plain


def _class_of(value: object, kind: type) -> str:
    name = class_name(kind)
    attname = getattr(getattr(getattr(kind, "_meta", None), "pk", None), "attname", None)
    if attname is None:
        return f"<{name}>"
    key = object.__getattribute__(value, "__dict__").get(attname)  # a model: its key, if it is loaded
    return f"<{name}>" if type(key) not in (int, str, uuid.UUID) else f"<{name} pk={key}>"


def cleanser(request: object) -> Cleanse:
    """Return ``cleanse(key, value)`` of the project's reporter filter; without one, it hides everything."""
    try:
        reporter_filter = _reporter_filter(request)
    except Exception:  # settings or apps aren't ready, or the project's filter can't be imported
        return lambda key, value: STARS

    def cleanse(key: str, value: Any) -> Any:
        try:
            return reporter_filter.cleanse_setting(key, value)
        except Exception:  # the project's own code
            return STARS

    return cleanse


def _reporter_filter(request: Any) -> Any:
    from django.views.debug import get_exception_reporter_filter

    return get_exception_reporter_filter(request)


def extra_of(record: logging.LogRecord, cleanse: Cleanse) -> tuple[dict[str, Any], bool]:
    """Return a record's extra fields, cleansed, and whether something was cut."""
    request = record.__dict__.get("request")
    names = record.__dict__.keys() - _OWN
    if request is not None and http_request(request) is None:
        names.add("request")
    if request is not None:
        names.discard("status_code")
    plain = _Plain(_EXTRA_LIMIT)
    extra: dict[str, Any] = {}
    for name in sorted(names, key=text_of):
        key = safe_text(name, 200)
        try:
            value = plain.of(record.__dict__[name])
        except Exception:  # a container that another thread is changing, a metaclass of its own
            value = f"<{type(record.__dict__.get(name)).__name__}>"
        extra[key] = _plainly(_cleanse_urls_in(cleanse(key, value), cleanse))
    return extra, plain.cut


def _plainly(value: Any) -> Any:
    """Return what a project's filter made of a plain value, plain again."""
    if type(value) in (str, int, float, bool, type(None)):
        return value
    return _Plain(2 * _EXTRA_LIMIT, _MAX_ITEMS + 1).of(value)  # one more: the note of what was cut


def _cleanse_urls_in(value: Any, cleanse: Cleanse) -> Any:
    if type(value) is str:
        return cleanse_urls(value, cleanse) if "?" in value else value
    if type(value) is list:
        return [_cleanse_urls_in(item, cleanse) for item in value]
    if type(value) is dict:
        return {key: _cleanse_urls_in(item, cleanse) for key, item in value.items()}
    return value


def http_request(request: object) -> Any:
    """Return the HttpRequest that a record carries, also inside a REST framework's, else None."""
    from django.http import HttpRequest

    if request is None or issubclass(type(request), HttpRequest):
        return request
    try:
        inner = vars(request).get("_request")
    except Exception:  # no __dict__, or one of its own making
        return None
    return inner if issubclass(type(inner), HttpRequest) else None


def request_line(record: logging.LogRecord) -> dict[str, Any]:
    """Return method, path and status code, {} without a request."""
    request = http_request(record.__dict__.get("request"))
    if request is None:
        return {}
    line: dict[str, Any] = {}
    fields = vars(request)
    if fields.get("method"):
        line["method"] = safe_text(fields["method"], 20)
    if fields.get("path"):
        line["path"] = safe_text(fields["path"], 2_000)
    status = record.__dict__.get("status_code")
    if isinstance(status, int):
        line["status_code"] = int(status)
    return line


def request_details(record: logging.LogRecord, cleanse: Cleanse) -> tuple[dict[str, Any], bool]:
    """Return everything that is known of the request and isn't secret, and whether something was cut."""
    request = http_request(record.__dict__.get("request"))
    if request is None:
        return {}, False
    details: dict[str, Any] = {}
    cut = False
    for name, read, limit in _DETAILS:
        plain = _Plain(limit)
        try:
            value = plain.of(read(request, cleanse))
        except Exception:  # a closed or half-made request, a project's filter: the rest is still worth having
            continue
        if value:
            details[name] = value
            cut = cut or plain.cut
    return details, cut


def _route(request: Any, cleanse: Cleanse) -> str:
    return route_of(request)


def _user(request: Any, cleanse: Cleanse) -> str:
    """Return the user's name and key, if they are loaded."""
    fields = vars(request)
    user = next((fields[name] for name in ("_cached_user", "_acached_user", "user") if name in fields), None)
    if issubclass(type(user), LazyObject):
        user = object.__getattribute__(user, "__dict__").get("_wrapped")
    kind: Any = type(user)
    if user is None or kind is object:  # a lazy object that nobody asked yet wraps a bare one
        return ""
    if getattr(kind, "_meta", None) is None:
        return class_name(kind).rpartition(".")[2]
    fields = object.__getattribute__(user, "__dict__")
    name = fields.get(getattr(kind, "USERNAME_FIELD", ""))
    key = fields.get(kind._meta.pk.attname)
    return f"{text_of(name)} (pk {text_of(key)})" if name else f"pk {text_of(key)}"


def _remote_addr(request: Any, cleanse: Cleanse) -> str:
    return text_of(request.META.get("REMOTE_ADDR", ""))


def _get(request: Any, cleanse: Cleanse) -> dict[str, Any]:
    return _values(request.GET, cleanse)


def _post(request: Any, cleanse: Cleanse) -> dict[str, Any]:
    """Return the POST data if the view has parsed it: reading it now could wait for the client."""
    fields = vars(request)
    if fields.get("_post_parse_error") or not ("_post" in fields or "POST" in fields):
        return {}
    return _values(_reporter_filter(request).get_post_parameters(request), cleanse)


def _values(values: Any, cleanse: Cleanse) -> dict[str, Any]:
    plain = {}
    for key in itertools.islice(values, _MAX_ITEMS + 1):
        items = values.getlist(key) if hasattr(values, "getlist") else [values[key]]
        name = text_of(key)
        plain[name] = _cleanse_urls_in(cleanse(name, items[0] if len(items) == 1 else items), cleanse)
    return plain


# Only what a client or the server said of this request: some servers mix the process's environment into META.
_META = (  # a text: compiled when it is first used, not when the project starts; as below
    r"HTTP_\w+|CONTENT_(?:TYPE|LENGTH)|QUERY_STRING|REMOTE_(?:ADDR|HOST|PORT|USER)|REQUEST_URI"
    r"|SERVER_(?:NAME|PORT|PROTOCOL)"
)


def _meta(request: Any, cleanse: Cleanse) -> dict[str, Any]:
    meta = _reporter_filter(request).get_safe_request_meta(request)
    plain = {}
    for key in sorted(key for key in meta if type(key) is str and re.fullmatch(_META, key)):
        value = text_of(meta[key])
        if not value or key == "HTTP_COOKIE" or os.environ.get(key) == value:
            continue
        if key == "QUERY_STRING":
            value = _cleanse_query(value, cleanse)
        plain[key] = _cleanse_urls_in(cleanse(key, value), cleanse)
    return plain


def _cleanse_query(query: str, cleanse: Cleanse) -> str:
    return cleanse_urls(f"?{query[:_TEXT_LIMIT]}", cleanse)[1:]


_PARAMETER = r"""([?&;#])([^=?&;#\s"'<>]{1,100}+)=([^&;#\s"'<>]++)"""


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

    return re.sub(_PARAMETER, stars, text)


_DETAILS: tuple[tuple[str, Callable[[Any, Cleanse], Any], int], ...] = (
    ("route", _route, 1_000),
    ("user", _user, 300),
    ("remote_addr", _remote_addr, 100),
    ("GET", _get, _GET_LIMIT),
    ("POST", _post, _POST_LIMIT),
    ("META", _meta, _META_LIMIT),
)
