"""A LogRecord becomes a captured record: in the logging thread, without waiting.

The first of its fingerprint tells everything (design, section 4), a repeat only its time, message, exception
and request line. Whatever a record holds, capturing it never raises.
"""

from __future__ import annotations

import copy
import logging
import os
import socket
import time
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from django.core.signals import setting_changed

from .. import conf
from .captured import CapturedRecord, CapturedRequest
from .chain import place_of
from .extra import extra_of
from .fingerprint import Key
from .pages import view_place
from .plain import HTML_LIMIT
from .printed import Printed, printed_in
from .request import request_details, request_line
from .secrets import Secrets, cleansed
from .structured import mapping_of, title
from .text import (
    MESSAGE_LIMIT,
    TITLE_LIMIT,
    TRACEBACK_LIMIT,
    class_name,
    exception_of,
    first_leaf,
    message_of,
    one_line,
    safe_text,
    text_of,
    title_of,
    traceback_text,
)

_NAME_LIMIT = 200
_PATH_LIMIT = 1_000
_PLACE_LIMIT = 300
_STACK_LIMIT = 16_000
_FORMATTED_LIMIT = 32_000
LEVEL_LIMIT = 2**31
# The year 3000: a time beyond it is nonsense, and databases refuse some.
TIME_LIMIT_SECONDS = 32_503_680_000
_HOST = safe_text(socket.gethostname(), _NAME_LIMIT)


def capture(
    record: logging.LogRecord,
    key: Key,
    *,
    formatter: logging.Formatter | None = None,
    html: Callable[[logging.LogRecord], str] | None = None,
) -> CapturedRecord:
    """Return all that a record tells; ``html`` makes its technical report."""
    printed, message = _told(record)
    captured = _captured(record, key, message, printed)
    captured.setdefault("title", title_of(captured["message"]))
    captured.setdefault("process", os.getpid())
    captured |= {"cause": key.cause, "host": _HOST, "full": True}
    details = _Details(captured, record, printed)
    details.note_cut("message", when=len(message) > MESSAGE_LIMIT)
    details.read(formatter, html)
    return captured


def capture_repeat(record: logging.LogRecord, key: Key) -> CapturedRecord:
    """Return what may differ in one more record of a fingerprint; in few steps: a storm consists of these."""
    printed, message = _told(record)
    return _captured(record, key, message, printed)


def _told(record: logging.LogRecord) -> tuple[Printed | None, str]:
    """Return the exception that a record has as text, and the message without it."""
    printed = _attempt(printed_in, record)
    return printed, message_of(record) if printed is None else printed.message


def _captured(record: logging.LogRecord, key: Key, message: str, printed: Printed | None) -> CapturedRecord:
    fields = record.__dict__
    repeat: CapturedRecord = {
        "time": _time_of(record),
        "level": level_of(record),
        "logger": safe_text(fields.get("name"), _NAME_LIMIT),
        "message": cleansed(message, MESSAGE_LIMIT, record),
        "fingerprint": key.fingerprint,
    }
    # Where only one group can come of a site it is left out, and the cause stands for it.
    if key.cause != key.fingerprint:
        repeat["cause"] = key.cause
    if "cause" in repeat or key.is_free_text:
        repeat["site"] = key.site
    if own_title := _title(record, message, printed):
        repeat["title"] = own_title
    process = fields.get("process")
    if process != os.getpid() and type(process) is int:
        repeat["process"] = process
    if release := _release():
        repeat["release"] = release
    if fields.get("request") is not None and (request := _attempt(request_line, record)):
        repeat["request"] = request
    return repeat


def level_of(record: logging.LogRecord) -> int:
    """Return a record's level; what is no level counts as an error."""
    try:
        level = int(record.levelno)
    except Exception:  # no number, or none at all
        return logging.ERROR
    return level if -LEVEL_LIMIT < level < LEVEL_LIMIT else logging.ERROR


def _time_of(record: logging.LogRecord) -> float:
    try:
        created = float(record.created)
    except Exception:  # no number, or none at all
        return time.time()
    return created if 0 <= created < TIME_LIMIT_SECONDS else time.time()


def _title(record: logging.LogRecord, message: str, printed: Printed | None) -> str:
    """Return what stands for a record if its message's first line doesn't, else ""."""
    fields = record.__dict__
    content = fields.get("msg")
    is_text = type(content) is str
    # A repeated text, of which a storm consists, is told from what has a title of its own in two looks.
    if printed is None and is_text and fields.get("exc_info") is None and not message.startswith("{"):
        return ""
    exc, _tb = exception_of(record)
    others = ""
    if exc is not None:
        leaf, others = _attempt(first_leaf, exc) or (exc, "")
        name, said = class_name(type(leaf)), text_of(leaf)
    elif printed is not None:
        name, said = printed.kind, printed.value
    else:
        mapping = _attempt(mapping_of, message if is_text else content)
        name, said = "", _attempt(title, mapping) if mapping else ""
        if not said:
            return ""
    line = one_line(cleansed(said, MESSAGE_LIMIT, record))
    return one_line(f"{name}: {line}" if name and line else name or line, TITLE_LIMIT - len(others)) + others


@cache
def _release() -> str:
    """What is deployed, asked once a process: the setting costs 4 µs, half of what a repeat does."""
    return safe_text(_attempt(conf.release) or "", _NAME_LIMIT)


def _setting_changed(*, setting: str, **_kwargs: object) -> None:
    if setting == "MAILLOG_RELEASE":
        _release.cache_clear()


setting_changed.connect(_setting_changed)


def _attempt(read: Callable[..., Any], *args: Any) -> Any:
    try:
        return read(*args)
    except Exception:  # one field that can't be had must not cost the others
        return None


class _Details:
    """What a record tells beyond a repeat, and which of it was cut."""

    def __init__(self, captured: CapturedRecord, record: logging.LogRecord, printed: Printed | None) -> None:
        self._captured = captured
        self._record = record
        self._printed = printed
        self._fields = record.__dict__
        self._secrets = Secrets(record.__dict__.get("request"))

    def note_cut(self, name: str, *, when: bool) -> None:
        if when:
            names = self._captured.setdefault("cut", [])
            if name not in names:
                names.append(name)

    def read(
        self, formatter: logging.Formatter | None, html: Callable[[logging.LogRecord], str] | None
    ) -> None:
        """Read everything; what can't be had is left out."""
        record = self._record
        for name, field, limit in _FIELDS:
            _attempt(self._put, name, self._fields.get(field), limit)
        if type(self._fields.get("lineno")) is int:
            self._captured["lineno"] = self._fields["lineno"]
        _attempt(self._read_exception)
        _attempt(self._read_values)
        if formatter is not None:
            # A copy: formatters keep what they made on the record, for other handlers to find.
            formatted = _attempt(lambda: formatter.format(copy.copy(record)))
            _attempt(self._put, "formatted", formatted, _FORMATTED_LIMIT)
        if html is not None:
            _attempt(self._put_html, _attempt(html, record))

    def _put(self, name: str, content: object, limit: int) -> None:
        if content is None or content == "":
            return
        text = text_of(content)
        fields = cast(dict[str, Any], self._captured)
        fields[name] = self._secrets.text(text, limit, ends=name in _WITH_FRAMES)
        self.note_cut(name, when=len(text) > limit)

    def _put_html(self, html: str | None) -> None:
        if html:
            self._captured["html"] = safe_text(self._secrets.page(html[:HTML_LIMIT]), HTML_LIMIT)
            self.note_cut("html", when=len(html) > HTML_LIMIT)

    def _read_exception(self) -> None:
        exc, tb = exception_of(self._record)
        if exc is None:
            self._read_printed()
            return
        self._put_exception(class_name(type(exc)), text_of(exc))
        _attempt(lambda: self._put("place", place_of(exc, tb, self._record), _PLACE_LIMIT))
        printed, is_shortened = traceback_text(exc, tb, self._secrets.text)
        self._put("traceback", printed, TRACEBACK_LIMIT)
        self.note_cut("traceback", when=is_shortened)

    def _read_printed(self) -> None:
        if self._printed is None:
            self._put("traceback", self._fields.get("exc_text"), TRACEBACK_LIMIT)
            return
        self._put_exception(self._printed.kind, self._printed.value)
        self._put("traceback", self._printed.traceback, TRACEBACK_LIMIT)
        if not self._printed.is_in_app:
            self._put("place", _attempt(view_place, self._record), _PLACE_LIMIT)
        message = self._fields.get("msg")
        if type(message) is str and self._captured.get("template") == message:
            # The message was all there is, and has been taken apart.
            self._captured["template"] = self._captured["message"]

    def _put_exception(self, kind: str, value: str) -> None:
        self._captured["exception"] = {
            "type": safe_text(kind, _NAME_LIMIT),
            "value": cleansed(value, MESSAGE_LIMIT, self._record),
        }
        self.note_cut("exception", when=len(value) > MESSAGE_LIMIT)

    def _read_values(self) -> None:
        extra, is_cut = _attempt(extra_of, self._record, self._secrets) or ({}, False)
        if extra:
            self._captured["extra"] = extra
        self.note_cut("extra", when=is_cut)
        details, is_cut = _attempt(request_details, self._record, self._secrets) or ({}, False)
        if details:
            line: CapturedRequest = self._captured.get("request", {})
            self._captured["request"] = cast(CapturedRequest, line | details)
        self.note_cut("request", when=is_cut)


_FIELDS = (
    ("pathname", "pathname", _PATH_LIMIT),
    ("function", "funcName", _NAME_LIMIT),
    ("template", "msg", MESSAGE_LIMIT),
    ("thread", "threadName", _NAME_LIMIT),
    ("task", "taskName", _NAME_LIMIT),
    ("process_name", "processName", _NAME_LIMIT),
    ("stack_info", "stack_info", _STACK_LIMIT),
)
_WITH_FRAMES = frozenset(["traceback", "formatted", "stack_info"])
