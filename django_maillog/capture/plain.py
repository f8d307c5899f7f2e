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
from collections import UserDict, UserList, deque
from collections.abc import Iterable, Mapping
from typing import Any

from .secrets import MARGIN, STARS, Secrets
from .text import TRACEBACK_LIMIT, class_name, safe_text, text_of

TEXT_LIMIT = 4_000
MAX_ITEMS = 100
MAX_DEPTH = 5
NAME_LIMIT = 200
READABLE_CHARACTERS = 100_000
# What the key of a pair is called where it stands in a mapping.
NAMERS = ("name", "key", "header")
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
)
# Of Django's requests and of the requests library: pairs by name in small letters.
HEADERS = (
    "django.utils.datastructures.CaseInsensitiveMapping",
    "requests.structures.CaseInsensitiveDict",
)


class Plain:
    """Makes plain values out of anything, with one allowance of characters for all of them.

    ``text`` is what one text may take of it, ``items`` what is shown of a container, ``depth`` how many may
    lie within one another; ``cut`` says whether anything was left out. With ``secrets``, what is secret is
    stars: by the keys of mappings, the first of two items, and in texts.
    """

    def __init__(
        self,
        characters: int,
        *,
        text: int = TEXT_LIMIT,
        items: int = MAX_ITEMS,
        depth: int = MAX_DEPTH,
        secrets: Secrets | None = None,
    ) -> None:
        self.cut = False
        self._left = characters
        # Characters that are looked at, shown or not: what bounds the time.
        self._readable = READABLE_CHARACTERS
        self._secrets = secrets
        self._cut_text = secrets.text if secrets else safe_text
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
        if self._left <= 0 or self._readable <= 0:
            self.cut = True
            return "…"
        if issubclass(kind, dict):
            return self._mapping(dict.items(value), dict.__len__(value), depth)  # type: ignore[arg-type]
        if issubclass(kind, tuple) and type(names := getattr(kind, "_fields", None)) is tuple:
            # A named tuple; without its names nothing tells which of it is secret.
            values = tuple.__iter__(value)  # type: ignore[arg-type,var-annotated]
            return self._mapping(zip(names, values, strict=False), len(names), depth)
        inner = _inner(value, kind)  # of Django's ErrorList, which is a list, too, and an empty one
        if inner is not None:
            return self.of(inner, depth)
        for sequence in (list, tuple, set, frozenset):
            if issubclass(kind, sequence):
                return self._sequence(sequence.__iter__(value), sequence.__len__(value), depth)  # type: ignore[arg-type]
        return self._text(value, kind)

    def _text(self, value: object, kind: type) -> str:
        if issubclass(kind, enum.Enum):
            text: object = f"{kind.__name__}.{value._name_}"  # type: ignore[attr-defined]
        elif issubclass(kind, (bytes, bytearray)):
            text = repr(bytes(value[: TEXT_LIMIT + MARGIN + 1]))  # type: ignore[index]
        elif issubclass(kind, (str, int, float, complex, HARMLESS)):
            text = value
        elif issubclass(kind, BaseException):
            text = ": ".join(filter(None, [class_name(kind), text_of(value)]))
        else:
            text = _class_of(value, kind)
        limit = min(self._text_limit, max(self._left, 20))
        text = text_of(text)
        plain = self._cut_text(text, limit)
        self.cut = self.cut or len(text) > limit
        self._left -= len(plain)
        self._readable -= len(text)
        return plain

    def _sequence(self, items: Iterable[object], length: int, depth: int) -> Any:
        if depth >= self._depth:
            self.cut = True
            return f"… {length} items …"
        plain: list[Any] = []
        for item in itertools.islice(items, self._items):
            key = plain[-1] if plain and type(plain[-1]) is str else ""
            if key and (length == 2 or key[0] == "-") and self._hides(key):
                plain.append(STARS)
            else:
                plain.append(self.of(item, depth + 1))
        if length > self._items:
            self.cut = True
            plain.append(f"… {length - self._items} more …")
        self._left -= 2 * len(plain)
        return plain

    def _mapping(self, items: Iterable[tuple[object, object]], length: int, depth: int) -> Any:
        if depth >= self._depth:
            self.cut = True
            return f"… {length} items …"
        plain: dict[str, Any] = {}
        is_pair = False
        for key, item in itertools.islice(items, self._items):
            name = text_of(key if type(key) in (str, int, float, bool, type(None)) else Plain(100).of(key))
            shown = self._cut_text(name, NAME_LIMIT)
            self._left -= len(shown) + 2
            plain[shown] = self._item(name, item, depth + 1)
            # As it came: a filter may hide what "key" says.
            said = item if type(item) is str else plain[shown]
            is_pair = is_pair or (name.lower() in NAMERS and self._hides(said))
        if length > self._items:
            self.cut = True
            plain["…"] = f"{length - self._items} more"
        for name in ("value", "Value") if is_pair else ():
            if name in plain:
                plain[name] = STARS
        return plain

    def _item(self, key: str, item: object, depth: int) -> Any:
        if issubclass(type(item), (dict, list, tuple, set, frozenset)):
            return STARS if self._hides(key) else self.of(item, depth)
        plain = self.of(item, depth)
        if self._secrets is None:
            return plain
        value = self._secrets.value(_bare(key), plain)
        return value if value is plain else Plain(TEXT_LIMIT).of(value)

    def _hides(self, key: object) -> bool:
        return type(key) is str and self._secrets is not None and self._secrets.hides(_bare(key))


def _bare(key: str) -> str:
    """Return a key without what makes bytes, a header's colon or an option of it."""
    return key[:NAME_LIMIT].removeprefix("b'").strip("-:'\" ")


def _inner(value: object, kind: type) -> list[Any] | dict[Any, Any] | None:
    """Return the list or dict within a container that keeps what it holds in one; None for others."""
    if issubclass(kind, deque):
        return list(deque.__iter__(value))  # type: ignore[arg-type]
    if issubclass(kind, (UserList, UserDict)):
        data = object.__getattribute__(value, "__dict__").get("data")
        return data if issubclass(type(data), (list, dict)) else None
    if any(class_name(each) in HEADERS for each in kind.__mro__):
        return dict(object.__getattribute__(value, "__dict__")["_store"].values())
    return None


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
