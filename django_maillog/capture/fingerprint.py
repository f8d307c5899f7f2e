"""Which bug a record is about, and what causes it (design, section 5)."""

from __future__ import annotations

import logging
import re

from .callsite import call_of, template_of
from .chain import key_of_exception
from .keys import Key, call_site, fingerprint_of
from .messages import has_words, normalise
from .pages import route_of
from .printed import key_of_printed, printed_in
from .structured import mapping_of, parts_of
from .text import exception_of, message_of, text_of

__all__ = ["Key", "fingerprint", "fingerprint_of"]

_MAX_MEMORY = 2_000


def fingerprint(record: logging.LogRecord) -> Key:
    """Return which bug this record is about; whatever the record holds, it returns something."""
    try:
        exc, tb = exception_of(record)
        if exc is not None:
            key = key_of_exception(exc, tb, record)
        elif printed := printed_in(record):
            key = key_of_printed(printed, record)
        else:
            key = _of_message(record)
        wanted = record.__dict__.get("fingerprint")
        return key if wanted is None else _custom(wanted, key)
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


def _custom(wanted: object, key: Key) -> Key:
    parts = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    texts = [text_of(part) for part in parts]
    if not any(texts):
        return key
    if "{{" in "".join(texts):
        if len(texts) == 1 and _DEFAULT.fullmatch(texts[0]):
            return key
        texts = [_DEFAULT.sub(key.fingerprint, text) for text in texts]
    digest = fingerprint_of("custom", *texts)
    has_exception = key.cause != key.fingerprint
    # A site of its own: the project has decided which groups there are.
    return Key(digest, key.cause if has_exception else digest, digest)


# Messages

_messages: dict[tuple[object, ...], Key] = {}


def _of_message(record: logging.LogRecord) -> Key:
    fields = record.__dict__
    status = fields.get("status_code")
    request = fields.get("request")
    route = "" if request is None else route_of(request)
    place = (record.name, record.funcName, fields.get("lineno"), status, route)
    # What is not worth remembering: large texts, and statuses that are no numbers.
    rememberable = status is None or isinstance(status, int)
    if rememberable and type(record.msg) is str and fields.get("args"):
        # A template that its source has shown to be constant: to look again takes 1 µs of 2.3.
        known = _messages.get((place, record.msg, True, False))
        if known is not None:
            return known
    text, is_template, is_free_text = _words_of(record)
    rememberable = rememberable and len(text) <= 1_000
    identity = (place, text, is_template, is_free_text)
    known = _messages.get(identity) if rememberable else None
    if known is not None:
        return known
    if request is not None and _is_about_requests(record.name):
        key = _of_parts(record, "request", text_of(record.name), text_of(status), route)
    else:
        names = (text_of(record.name), text_of(record.funcName), text_of(status), route)
        key = _of_words(record, *names, template=text if is_template else "", text=text)
        key = key._replace(is_free_text=is_free_text)
    if rememberable:
        if len(_messages) >= _MAX_MEMORY:
            _messages.clear()
        _messages[identity] = key
    return key


def _words_of(record: logging.LogRecord) -> tuple[str, bool, bool]:
    """Return what a record says, whether that is a template, and whether its call may say anything else."""
    words = record.msg
    if type(words) is not str or record.__dict__.get("args") in (None, ()) or not has_words(words):
        words = message_of(record)
        recovered = template_of(record, words)
        return recovered or words, bool(recovered), not recovered
    call = call_of(record)
    if call is not None and call.constant == words:
        return words, True, False
    if recovered := template_of(record, words.replace("%%", "%")):
        return recovered, True, False
    # Without a source, or with that of another version, it is a template all the same: most are.
    return words, call is None or bool(call.constant), True


def _of_words(record: logging.LogRecord, *place: str, template: str, text: str) -> Key:
    if template:
        return _of_parts(record, "template", *place, template)
    mapping = mapping_of(record.msg) or mapping_of(text)
    if mapping:
        return _of_parts(record, "mapping", *place, *parts_of(mapping, record))
    return _of_parts(record, "message", *place, normalise(text))


def _of_parts(record: logging.LogRecord, *parts: str) -> Key:
    digest = fingerprint_of(*parts)
    return Key(digest, digest, call_site(record))


def _is_about_requests(logger: object) -> bool:
    """Say whether Django's own messages come from this logger: a client makes up their texts and paths."""
    return logger == "django.request" or text_of(logger).startswith("django.security.")
