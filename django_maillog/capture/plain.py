"""Anything becomes plain values (None, bool, int, float, str, list, dict), and these one line of JSON.

Nothing here runs SQL or loads anything: an object is shown by its class unless its type is known to be
harmless.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import itertools
import json
import math
import pathlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from .text import TRACEBACK_LIMIT, class_name, safe_text, text_of

TEXT_LIMIT = 4_000
MAX_ITEMS = 100
MAX_DEPTH = 5
# Of a line besides its technical report.
LINE_BYTES = 256_000
HTML_LIMIT = 512_000
# What JSON makes of one character at the most: "\\u001b".
BYTES_A_CHARACTER = 6

HARMLESS = (
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


class Plain:
    """Makes plain values out of anything, with one allowance of characters for all of them.

    ``text`` is what one text may take of it, ``items`` what is shown of a container, ``depth`` how many may
    lie within one another; ``cut`` says whether anything was left out.
    """

    def __init__(
        self, characters: int, *, text: int = TEXT_LIMIT, items: int = MAX_ITEMS, depth: int = MAX_DEPTH
    ) -> None:
        self.cut = False
        self._left = characters
        self._text_limit = text
        self._items = items
        self._depth = depth

    def of(self, value: object, depth: int = 0) -> Any:
        """The value, or what stands for it, at this depth."""
        # Never isinstance: of a lazy object it would ask for __class__, and that loads it.
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int and value.bit_length() <= 64:  # type: ignore[attr-defined]
            return value
        if kind is float and math.isfinite(value):  # type: ignore[arg-type]
            return value
        if self._left <= 0:
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
            text = repr(bytes(value[:TEXT_LIMIT]))  # type: ignore[index]
        elif issubclass(kind, (str, int, float, complex, HARMLESS)):
            text = value
        else:
            text = _class_of(value, kind)
        limit = min(self._text_limit, max(self._left, 20))
        text = text_of(text)
        plain = safe_text(text, limit)
        self.cut = self.cut or len(text) > limit
        self._left -= len(plain)
        return plain

    def _sequence(self, items: Iterable[object], length: int, depth: int) -> Any:
        if depth >= self._depth:
            self.cut = True
            return f"… {length} items …"
        plain = [self.of(item, depth + 1) for item in itertools.islice(items, self._items)]
        if length > self._items:
            self.cut = True
            plain.append(f"… {length - self._items} more …")
        self._left -= 2 * len(plain)
        return plain

    def _mapping(self, value: dict[object, object], depth: int) -> Any:
        length = dict.__len__(value)
        if depth >= self._depth:
            self.cut = True
            return f"… {length} items …"
        plain = {}
        for key, item in itertools.islice(dict.items(value), self._items):
            name = safe_text(
                key if type(key) in (str, int, float, bool, type(None)) else Plain(100).of(key), 200
            )
            self._left -= len(name) + 2
            plain[name] = self.of(item, depth + 1)
        if length > self._items:
            self.cut = True
            plain["…"] = f"{length - self._items} more"
        return plain


def _class_of(value: object, kind: type) -> str:
    name = class_name(kind)
    attname = getattr(getattr(getattr(kind, "_meta", None), "pk", None), "attname", None)
    if attname is None:
        return f"<{name}>"
    key = object.__getattribute__(value, "__dict__").get(attname)  # a model: its key, if it is loaded
    return f"<{name}>" if type(key) not in (int, str, uuid.UUID) else f"<{name} pk={key}>"


json_text = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


def json_line(value: Mapping[str, Any]) -> bytes:
    """One JSON line in UTF-8, without NUL or lone surrogates, of at most LINE_BYTES besides its ``html``."""
    try:
        line = f"{json_text(value)}\n".encode()
    except Exception:  # surrogates, or values that JSON has no words for
        return _line_of_anything(value)
    if b"\\u0000" in line or (len(line) > LINE_BYTES and len(line) - len(value.get("html", "")) > LINE_BYTES):
        return _line_of_anything(value)
    return line


def _size(item: object) -> int:
    return len(item) if type(item) is str else TEXT_LIMIT


def _line_of_anything(value: Mapping[str, Any]) -> bytes:
    html = value.get("html")
    # The short ones first: what is large must not use up their room, and what led to a record that of none.
    items = sorted(value.items(), key=lambda item: (item[0] == "context", _size(item[1])))
    rest = {name: item for name, item in items if name != "html"}
    line = b""
    for characters in (LINE_BYTES, LINE_BYTES // BYTES_A_CHARACTER - 100):
        whole = Plain(characters, text=min(characters // 2, TRACEBACK_LIMIT), items=1_000, depth=8).of(rest)
        line = json_text(whole).encode()
        if len(line) <= LINE_BYTES:
            break
    if html is not None:
        line = json_text({**whole, "html": safe_text(html, HTML_LIMIT)}).encode()
    return line + b"\n"
