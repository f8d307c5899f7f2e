"""Which bug a record is about, and what causes it (design, section 5)."""

from __future__ import annotations

import logging
import re

from .chain import key_of_exception
from .keys import Key, call_site, fingerprint_of
from .messages import has_words, normalise
from .pages import route_of
from .text import exception_of, message_of, text_of

__all__ = ["Key", "fingerprint", "fingerprint_of"]

_MAX_MEMORY = 2_000


def fingerprint(record: logging.LogRecord) -> Key:
    """Return which bug this record is about; whatever the record holds, it returns something."""
    try:
        fields = record.__dict__
        exc, tb = (None, None) if fields.get("exc_info") is None else exception_of(record)
        key = _of_message(record) if exc is None else key_of_exception(exc, tb, record)
        wanted = fields.get("fingerprint")
        return key if wanted is None else _custom(wanted, key, exc)
    except Exception:  # the record's own objects are asked; a coarse key still counts the record
        return _fallback(record)


def _fallback(record: logging.LogRecord) -> Key:
    fields = record.__dict__
    info = fields.get("exc_info")
    kind = type(info[1]).__name__ if type(info) is tuple and len(info) == 3 else ""
    parts = [
        str(value) if type(value) in (str, int) else ""
        for value in (fields.get("name"), fields.get("levelno"))
    ]
    digest = fingerprint_of("fallback", *parts, kind)
    return Key(digest, digest, digest)


# What extra={"fingerprint": …} asks for

_DEFAULT = re.compile(r"\{\{ ?default ?\}\}")


def _custom(wanted: object, key: Key, exc: BaseException | None) -> Key:
    parts = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    texts = [text_of(part) for part in parts]
    if not any(texts):
        return key
    if "{{" in "".join(texts):
        if len(texts) == 1 and _DEFAULT.fullmatch(texts[0]):
            return key
        texts = [_DEFAULT.sub(key.fingerprint, text) for text in texts]
    digest = fingerprint_of("custom", *texts)
    return Key(digest, digest if exc is None else key.cause, key.site)


# Messages

_messages: dict[tuple[object, ...], Key] = {}


def _of_message(record: logging.LogRecord) -> Key:
    fields = record.__dict__
    template = record.msg
    is_template = type(template) is str and fields.get("args") not in (None, ()) and has_words(template)
    text: str = template if is_template else message_of(record)
    status = fields.get("status_code")
    request = fields.get("request")
    route = "" if request is None else route_of(request)
    identity = (record.name, record.funcName, fields.get("lineno"), is_template, text, status, route)
    # What is not worth remembering: large texts, and statuses that are no numbers.
    rememberable = len(text) <= 1_000 and (status is None or isinstance(status, int))
    known = _messages.get(identity) if rememberable else None
    if known is not None:
        return known
    if request is not None and _is_about_requests(record.name):
        key = _of_parts(record, "request", text_of(record.name), text_of(status), route)
    else:
        words = text if is_template else normalise(text)
        place = (text_of(record.name), text_of(record.funcName))
        kind = "template" if is_template else "message"
        key = _of_parts(record, kind, *place, words, text_of(status), route)
        key = key._replace(is_free_text=not is_template)
    if rememberable:
        if len(_messages) >= _MAX_MEMORY:
            _messages.clear()
        _messages[identity] = key
    return key


def _of_parts(record: logging.LogRecord, *parts: str) -> Key:
    digest = fingerprint_of(*parts)
    return Key(digest, digest, call_site(record))


def _is_about_requests(logger: object) -> bool:
    """Say whether Django's own messages come from this logger: a client makes up their texts and paths."""
    return logger == "django.request" or text_of(logger).startswith("django.security.")
