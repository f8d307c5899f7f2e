"""A LogRecord as a prepared value: a plain JSON-able dict, made in the logging thread, without SQL and without waiting.

A full value tells everything (design, section 4); a repeat's only its time, message and request line. Whatever a record
holds, preparing and encoding it never raise.
"""

from __future__ import annotations

import copy
import functools
import json
import logging
import math
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from .capture import cleanser, extra_of, request_details, request_line
from .fingerprint import Key, fingerprint
from .text import (
    MESSAGE_LIMIT,
    TRACEBACK_LIMIT,
    class_name,
    exception_of,
    message_of,
    one_line,
    safe_text,
    text_of,
    traceback_text,
)

__all__ = ["Key", "encode", "fingerprint", "prepare", "safe_text"]

_NAME_LIMIT = 200
_PATH_LIMIT = 1_000
_STACK_LIMIT = 16_000
_FORMATTED_LIMIT = 32_000
_HTML_LIMIT = 512_000
_LINE_LIMIT = 256_000  # bytes of an encoded value without its HTML
_INTEGER_LIMIT = 2**31


@functools.cache
def _host() -> str:
    return safe_text(socket.gethostname(), _NAME_LIMIT)


def prepare(
    record: logging.LogRecord,
    key: Key,
    *,
    full: bool,
    formatter: logging.Formatter | None = None,
    html: Callable[[logging.LogRecord], str] | None = None,
) -> dict[str, Any]:
    """Return a record's prepared value: all of it, or what a repeat of a known fingerprint needs."""
    try:
        value = _brief(record, key)
    except Exception:  # a record that isn't one: fields missing or of other types
        value = _minimal(record, key)
    if full:
        _complete(value, record, formatter, html)
    return value


def _brief(record: logging.LogRecord, key: Key) -> dict[str, Any]:
    exc, _ = exception_of(record)
    message = safe_text(message_of(record), MESSAGE_LIMIT)
    created = float(record.created)
    level = int(record.levelno)
    if not (math.isfinite(created) and -_INTEGER_LIMIT < level < _INTEGER_LIMIT):
        raise ValueError(f"time {created}, level {level}")
    value: dict[str, Any] = {
        "time": created,
        "level": level,
        "logger": safe_text(record.name, _NAME_LIMIT),
        "message": message,
        "title": one_line(message) if exc is None else _title(exc),
        "fingerprint": key.fingerprint,
        "cause": key.cause,
        "host": _host(),
        "process": record.process if type(record.process) is int else os.getpid(),
    }
    if "request" in record.__dict__:
        request = _attempt(request_line, record)
        if request:
            value["request"] = request
    return value


def _minimal(record: logging.LogRecord, key: Key) -> dict[str, Any]:
    fields = record.__dict__
    created, level = fields.get("created"), fields.get("levelno")
    message = safe_text(message_of(record), MESSAGE_LIMIT)
    return {
        "time": created if type(created) is float and math.isfinite(created) else time.time(),
        "level": level if type(level) is int and 0 <= level < _INTEGER_LIMIT else logging.ERROR,
        "logger": safe_text(fields.get("name"), _NAME_LIMIT),
        "message": message,
        "title": one_line(message),
        "fingerprint": key.fingerprint,
        "cause": key.cause,
        "host": _host(),
        "process": os.getpid(),
    }


def _title(exc: BaseException) -> str:
    name = class_name(type(exc))
    line = one_line(text_of(exc))
    return one_line(f"{name}: {line}" if line else name)


def _attempt(read: Callable[..., Any], *args: Any) -> Any:
    try:
        return read(*args)
    except Exception:  # one field that can't be had must not cost the others
        return None


def _complete(
    value: dict[str, Any],
    record: logging.LogRecord,
    formatter: logging.Formatter | None,
    html: Callable[[logging.LogRecord], str] | None,
) -> None:
    cut: list[str] = []
    fields = record.__dict__

    def put(name: str, text: object, limit: int) -> None:
        if text is None or text == "":
            return
        value[name] = safe_text(text, limit)
        if type(text) is str and len(text) > limit:
            cut.append(name)

    value["full"] = True
    if type(fields.get("lineno")) is int:
        value["lineno"] = fields["lineno"]
    for name, field, limit in _FIELDS:
        _attempt(put, name, fields.get(field), limit)
    exc, tb = exception_of(record)
    if exc is not None:
        text = text_of(exc)
        value["exception"] = {
            "type": safe_text(class_name(type(exc)), _NAME_LIMIT),
            "value": safe_text(text, MESSAGE_LIMIT),
        }
        put("traceback", traceback_text(exc, tb), TRACEBACK_LIMIT)
    else:
        _attempt(put, "traceback", fields.get("exc_text"), TRACEBACK_LIMIT)
    if len(value["message"]) == MESSAGE_LIMIT:
        cut.append("message")
    cleanse = cleanser(fields.get("request"))
    extra, extra_cut = _attempt(extra_of, record, cleanse) or ({}, False)
    if extra:
        value["extra"] = extra
    details, request_cut = _attempt(request_details, record, cleanse) or ({}, False)
    if details:
        value["request"] = value.get("request", {}) | details
    cut += ["extra"] * extra_cut + ["request"] * request_cut
    if formatter is not None:
        # A copy: formatters keep what they made on the record, for other handlers to find.
        put("formatted", _attempt(formatter.format, copy.copy(record)), _FORMATTED_LIMIT)
    if html is not None:
        put("html", _attempt(html, record), _HTML_LIMIT)
    if cut:
        value["cut"] = cut


_FIELDS = (
    ("pathname", "pathname", _PATH_LIMIT),
    ("function", "funcName", _NAME_LIMIT),
    ("template", "msg", MESSAGE_LIMIT),
    ("thread", "threadName", _NAME_LIMIT),
    ("task", "taskName", _NAME_LIMIT),
    ("process_name", "processName", _NAME_LIMIT),
    ("stack_info", "stack_info", _STACK_LIMIT),
)


_dumps = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


def encode(value: dict[str, Any]) -> bytes:
    """Return one JSON line in UTF-8, with its newline, without NUL or surrogates, at most about 256 kB besides HTML."""
    try:
        text = _dumps(value)
        line = text.encode()
    except Exception:  # surrogates, or values that JSON has no words for
        return _encode_anything(value)
    if len(line) > _LINE_LIMIT and len(line) - len(value.get("html", "")) > _LINE_LIMIT or "\\u0000" in text:
        return _encode_anything(value)
    return line + b"\n"


def _encode_anything(value: dict[str, Any]) -> bytes:
    html = value.get("html")
    for limit in (TRACEBACK_LIMIT, 16_000, 4_000, 1_000):
        plain = {
            safe_text(name, 100): _bounded(item, limit, 8) for name, item in value.items() if name != "html"
        }
        line = _dumps(plain).encode()
        if len(line) <= _LINE_LIMIT:
            break
    else:
        plain = {name: item for name, item in plain.items() if type(item) in (str, int, float, bool)}
        line = _dumps(plain).encode()
    if html is not None:
        plain["html"] = safe_text(html, _HTML_LIMIT)
        line = _dumps(plain).encode()
    return line + b"\n"


def _bounded(value: Any, limit: int, depth: int) -> Any:
    kind = type(value)
    if (
        value is None
        or kind is bool
        or (kind is int and value.bit_length() <= 64)
        or (kind is float and math.isfinite(value))
    ):
        return value
    if depth and kind is dict:
        return {safe_text(name, 200): _bounded(item, limit, depth - 1) for name, item in value.items()}
    if depth and kind in (list, tuple):
        return [_bounded(item, limit, depth - 1) for item in value]
    return safe_text(value, limit)
