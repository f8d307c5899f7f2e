"""Messages that are mappings, or the JSON of one: ``log.error({"event": …})``, structlog, JSON formatters."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Mapping
from itertools import islice

from .callsite import template_of
from .messages import normalise
from .text import text_of

# In this order they title a record; all of them identify it, and so does a code, as it stands.
TITLES = ("event", "message", "msg")
CODE = "code"
_VALUE_LIMIT = 1_000
_MAX_KEYS = 100
# Of JSON; what is larger is a text like any other.
_JSON_CHARACTERS = 64_000

Structure = Mapping[object, object]


def mapping_of(message: object) -> Structure | None:
    """Return the mapping that a message is, or whose JSON it is."""
    if type(message) is str:
        is_json = message[:1] == "{" and message[-1:] in "}\n" and len(message) <= _JSON_CHARACTERS
        return _loaded(message) if is_json else None
    return message if issubclass(type(message), Mapping) else None  # type: ignore[return-value]


def parts_of(mapping: Structure, record: logging.LogRecord) -> list[str]:
    """Return what tells two of them apart: the keys, and what some of them say, or the record's call."""
    keys = sorted(normalise(text_of(key)) for key in islice(mapping, _MAX_KEYS))
    said = [(name, text) for name in TITLES if (text := _text(mapping, name))]
    values = [f"{name}={template_of(record, text) or normalise(text)}" for name, text in said]
    return [*dict.fromkeys(keys), *values, f"{CODE}={_text(mapping, CODE)}"]


def title(mapping: Structure) -> str:
    """Return what stands for it, "" if no key says so."""
    said = next((text for name in TITLES if (text := _text(mapping, name))), "")
    code = _text(mapping, CODE)
    return f"{said} (code {code})" if said and code else said or (code and f"code {code}")


def _text(mapping: Structure, name: str) -> str:
    value = mapping.get(name)
    return text_of(value)[:_VALUE_LIMIT] if issubclass(type(value), (str, int, float)) else ""


@functools.lru_cache(maxsize=16)
def _loaded(text: str) -> Structure | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if type(value) is dict else None
