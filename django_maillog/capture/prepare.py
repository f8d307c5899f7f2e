"""A LogRecord as a prepared value: a plain JSON-able dict, made in the logging thread, without waiting.

A prepared value tells everything (design, section 4); the line of a repeat only its time, message, exception
and request line, and leaves out what ``lines.parse`` can put in its place. Whatever a record holds, preparing
and encoding it never raise.
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

from .fingerprint import Key, fingerprint
from .request import cleanse_urls, cleanser, extra_of, request_details, request_line
from .text import (
    MESSAGE_LIMIT,
    TITLE_LIMIT,
    TRACEBACK_LIMIT,
    class_name,
    exception_of,
    message_of,
    one_line,
    safe_text,
    text_of,
    title_of,
    traceback_text,
)

__all__ = ["Key", "encode", "encode_repeat", "fingerprint", "level_of", "prepare", "safe_text"]

REPEAT_ENDS_WITH = b'"level":'  # the first of what all repeats of a kind have in common, in the order written
_NAME_LIMIT = 200
_PATH_LIMIT = 1_000
_STACK_LIMIT = 16_000
_FORMATTED_LIMIT = 32_000
_HTML_LIMIT = 512_000
_LINE_LIMIT = 256_000  # bytes of an encoded value without its HTML
_INTEGER_LIMIT = 2**31
_TIME_LIMIT = 32_503_680_000  # the year 3000: a time beyond it is nonsense, and databases refuse some


@functools.cache
def _process() -> int:
    """This process, without a system call for each record."""
    return os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.cache_clear)


@functools.cache
def _host() -> str:
    return safe_text(socket.gethostname(), _NAME_LIMIT)


def prepare(
    record: logging.LogRecord,
    key: Key,
    *,
    formatter: logging.Formatter | None = None,
    html: Callable[[logging.LogRecord], str] | None = None,
) -> dict[str, Any]:
    """Return a record's prepared value: all of it."""
    message = message_of(record)
    value = _brief(record, key, message) | {"full": True}
    _attempt(_complete, value, record, message, formatter, html)
    return value


def level_of(record: logging.LogRecord) -> int:
    """Return a record's level; what is no level counts as an error."""
    try:
        level = int(record.levelno)
    except Exception:  # no number, or none at all
        return logging.ERROR
    return level if -_INTEGER_LIMIT < level < _INTEGER_LIMIT else logging.ERROR


def _time_of(record: logging.LogRecord) -> float:
    try:
        created = float(record.created)
    except Exception:  # no number, or none at all
        return time.time()
    return created if 0 <= created < _TIME_LIMIT else time.time()


def _brief(record: logging.LogRecord, key: Key, message: str) -> dict[str, Any]:
    exc, _ = exception_of(record)
    text = _clean(message, MESSAGE_LIMIT, record)
    process = record.__dict__.get("process")
    value: dict[str, Any] = {
        "time": _time_of(record),
        "level": level_of(record),
        "logger": safe_text(record.__dict__.get("name"), _NAME_LIMIT),
        "message": text,
        "title": title_of(text) if exc is None else _title(exc, record),
        "fingerprint": key.fingerprint,
        "cause": key.cause,
        "host": _host(),
        "process": process if type(process) is int else os.getpid(),
    }
    if "request" in record.__dict__:
        request = _attempt(request_line, record)
        if request:
            value["request"] = request
    return value


def encode_repeat(record: logging.LogRecord, key: Key, buffer: str) -> bytes:
    """Return the line of one more record of a fingerprint that this process has captured in full.

    In few steps, for a storm consists of these.
    """
    fields = record.__dict__
    try:
        created, level, process = fields["created"], fields["levelno"], fields["process"]
        message = record.getMessage()
        if "?" in message or "\0" in message or len(message) > MESSAGE_LIMIT:
            message = _clean(message, MESSAGE_LIMIT, record)
        if type(created) is not float or not 0 <= created < _TIME_LIMIT:
            raise TypeError(created)
        if type(level) is not int or abs(level) >= _INTEGER_LIMIT:
            raise TypeError(level)
        text = f'{{"time":{created:.6f},"message":{_quoted(message)}'
        if fields["exc_info"] is not None:
            exc, _ = exception_of(record)
            text = f'{text},"title":{_quoted(_title(exc, record))}' if exc is not None else text
        if process != _process() and type(process) is int:
            text = f'{text},"process":{process}'
        if "request" in fields and (request := _attempt(request_line, record)):
            items = ",".join(f'"{name}":{_dumps(item)}' for name, item in request.items())
            text = f'{text},"request":{{{items}}}'
        return f"{text},{_common(buffer, fields['name'], level, *key)}".encode()
    except Exception:  # fields missing or of other types, wrong arguments, lone surrogates
        pass  # out of here first: a record may ask for the exception that is being handled
    return encode(_brief(record, key, message_of(record)) | {"buffer": buffer})


@functools.lru_cache(maxsize=4096)
def _common(buffer: str, name: str, level: int, fingerprint: str, cause: str) -> str:
    """What all repeats of a kind end with."""
    value: dict[str, Any] = {
        "level": level,
        "logger": safe_text(name, _NAME_LIMIT),
        "fingerprint": fingerprint,
    }
    if cause != fingerprint:
        value["cause"] = cause
    return _dumps(value | {"buffer": buffer})[1:] + "\n"


def _clean(text: str, limit: int, record: logging.LogRecord) -> str:
    """Return a storable text of at most ``limit`` characters, secret parameters of URLs in it as stars."""
    if "?" in text and "=" in text:
        # Before the cut, which could separate a key from its value; beyond this nobody will see the text.
        ends = text if len(text) <= 2 * limit else safe_text(text, 2 * limit)
        text = cleanse_urls(ends, cleanser(record.__dict__.get("request")))
    return safe_text(text, limit)


def _title(exc: BaseException, record: logging.LogRecord) -> str:
    name = class_name(type(exc))
    line = one_line(_clean(text_of(exc), MESSAGE_LIMIT, record))
    title = f"{name}: {line}" if line else name
    if len(title) <= TITLE_LIMIT and title.isascii() and title.isprintable():
        return title
    return safe_text(one_line(title), TITLE_LIMIT)


def _attempt(read: Callable[..., Any], *args: Any) -> Any:
    try:
        return read(*args)
    except Exception:  # one field that can't be had must not cost the others
        return None


def _complete(
    value: dict[str, Any],
    record: logging.LogRecord,
    message: str,
    formatter: logging.Formatter | None,
    html: Callable[[logging.LogRecord], str] | None,
) -> None:
    fields = record.__dict__
    cut = ["message"] if len(message) > MESSAGE_LIMIT else []

    def put(name: str, content: object, limit: int) -> None:
        if content is None or content == "":
            return
        text = text_of(content)
        value[name] = _clean(text, limit, record)
        if len(text) > limit:
            cut.append(name)

    value["cut"] = cut  # first, so that it is there whatever follows
    for name, field, limit in _FIELDS:
        _attempt(put, name, fields.get(field), limit)
    if type(fields.get("lineno")) is int:
        value["lineno"] = fields["lineno"]
    exc, tb = exception_of(record)
    if exc is None:
        _attempt(put, "traceback", fields.get("exc_text"), TRACEBACK_LIMIT)
    else:
        text = text_of(exc)
        value["exception"] = {
            "type": safe_text(class_name(type(exc)), _NAME_LIMIT),
            "value": _clean(text, MESSAGE_LIMIT, record),
        }
        cut += ["exception"] if len(text) > MESSAGE_LIMIT else []
        printed, shortened = traceback_text(exc, tb)
        put("traceback", printed, TRACEBACK_LIMIT)
        cut += ["traceback"] * (shortened and "traceback" not in cut)
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
        put("formatted", _attempt(lambda: formatter.format(copy.copy(record))), _FORMATTED_LIMIT)
    if html is not None:
        report = _attempt(html, record)
        if report:
            value["html"] = _clean(report, _HTML_LIMIT, record)
            cut += ["html"] * (len(report) > _HTML_LIMIT)
    if not cut:
        del value["cut"]


_FIELDS = (
    ("pathname", "pathname", _PATH_LIMIT),
    ("function", "funcName", _NAME_LIMIT),
    ("template", "msg", MESSAGE_LIMIT),
    ("thread", "threadName", _NAME_LIMIT),
    ("task", "taskName", _NAME_LIMIT),
    ("process_name", "processName", _NAME_LIMIT),
    ("stack_info", "stack_info", _STACK_LIMIT),
)


_quoted = json.encoder.encode_basestring  # what the encoder below makes of a text, without asking what it is
_dumps = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


def encode(value: dict[str, Any]) -> bytes:
    """Return one JSON line in UTF-8, without NUL or lone surrogates, of at most 256 kB besides the HTML."""
    try:
        text = _dumps(value)
        line = text.encode()
    except Exception:  # surrogates, or values that JSON has no words for
        return _encode_anything(value)
    if "\\u0000" in text or (
        len(line) > _LINE_LIMIT and len(line) - len(value.get("html", "")) > _LINE_LIMIT
    ):
        return _encode_anything(value)
    return line + b"\n"


def _encode_anything(value: dict[str, Any]) -> bytes:
    html = value.get("html")
    rest = {safe_text(name, 100): item for name, item in value.items() if name != "html"}
    for limit in (TRACEBACK_LIMIT, 16_000, 4_000, 1_000):
        plain = {name: _bounded(item, limit, depth=8) for name, item in rest.items()}
        line = _dumps(plain).encode()
        if len(line) <= _LINE_LIMIT:
            break
    else:  # it isn't texts that make it large
        plain = {name: item for name, item in plain.items() if type(item) not in (dict, list)}
        line = _dumps(plain).encode()
    if html is not None:
        line = _dumps({**plain, "html": safe_text(html, _HTML_LIMIT)}).encode()
    return line + b"\n"


def _bounded(value: Any, limit: int, *, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool or (kind is int and value.bit_length() <= 64):
        return value
    if kind is float and math.isfinite(value):
        return value
    if depth and kind is dict:
        items = [(safe_text(name, _NAME_LIMIT), item) for name, item in value.items()]
        return {name: _bounded(item, limit, depth=depth - 1) for name, item in items}
    if depth and kind in (list, tuple):
        return [_bounded(item, limit, depth=depth - 1) for item in value]
    return safe_text(value, limit)
