"""Which characters a database's text columns take; all others are stored escaped, as Python writes them.

MySQL's ``utf8mb3`` has no place for an emoji, ``latin1`` and PostgreSQL's ``LATIN1`` have none for most of
Unicode. What can't be stored as it is would be refused each time it is offered, or silently become "?".
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

EVERYTHING = ""
BMP = "bmp"  # not a codec of Python: what is beyond U+FFFF is escaped
LEAST = "ascii"

_EVERYTHING = {"utf8", "utf8mb4", "utf16", "utf16le", "utf32", "binary", "sql_ascii"}
_NAMES = {"utf8mb3": BMP, "ucs2": BMP}  # those of MySQL that Python doesn't know, or knows as something else
_MYSQL = r"""
    SELECT @@character_set_connection
    UNION SELECT character_set_name FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name LIKE 'django\_maillog\_%'
    AND character_set_name IS NOT NULL
"""


def codec_of(alias: str) -> str:
    """The codec for what the database takes: EVERYTHING, BMP, or a name of Python's."""
    return _codec_of(alias, str(connections[alias].settings_dict["NAME"]))


@cache
def _codec_of(alias: str, _name: str) -> str:
    """Ask once in a process: after a character set was changed, it is started anew."""
    found = set(narrow(connections[alias]).values())
    return (found.pop() if len(found) == 1 else LEAST) if found else EVERYTHING


def narrow(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """The database's names of the character sets that lack characters on our text's way, with codecs."""
    if connection.vendor not in ("postgresql", "mysql"):
        return {}
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding" if connection.vendor == "postgresql" else _MYSQL)
        names = {str(name).lower() for (name,) in cursor.fetchall()}
    codecs_found = {name: _codec(connection.vendor, name) for name in sorted(names)}
    return {name: codec for name, codec in codecs_found.items() if codec != EVERYTHING}


def escaped(codec: str, value: Any) -> Any:
    """The value as a database with this codec takes it: its texts escaped, in lists and dictionaries, too."""
    return _each_text(lambda text: _escape(codec, text), value) if codec else value


def storable(alias: str, value: Any) -> Any:
    """The same for values that may hold what no database takes: NUL and lone surrogates are replaced."""
    codec = codec_of(alias)
    return _each_text(lambda text: _escape(codec, _clean(text)), value)


def storable_row(model: type[Model], row: dict[str, Any]) -> dict[str, Any]:
    """Fields of a model as its database takes them, texts cut to their columns' length after that."""
    lengths = {field.attname: getattr(field, "max_length", None) for field in model._meta.concrete_fields}
    values = storable(router.db_for_write(model), row)
    return {
        name: value[: lengths[name]] if isinstance(value, str) else value for name, value in values.items()
    }


def _each_text(convert: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, str):
        return convert(value)
    if isinstance(value, list):
        return [_each_text(convert, item) for item in value]
    if isinstance(value, dict):
        return {_each_text(convert, key): _each_text(convert, item) for key, item in value.items()}
    return value


def _codec(vendor: str, name: str) -> str:
    """Python's codec for a character set; LEAST if there is none."""
    if vendor == "mysql":
        # MySQL's latin1 is Windows' code page; "utf8" was the name of utf8mb3.
        name = {"latin1": "cp1252", "utf8": "utf8mb3"}.get(name, name)
    if name in _EVERYTHING:
        return EVERYTHING
    with suppress(LookupError):
        return _NAMES.get(name) or codecs.lookup(re.sub("^win", "cp", name)).name
    return LEAST


def _escape(codec: str, text: str) -> str:
    if not codec or text.isascii():
        return text
    if codec == BMP:
        return re.sub("[\U00010000-\U0010ffff]", lambda found: f"\\U{ord(found[0]):08x}", text)
    return text.encode(codec, "backslashreplace").decode(codec)


def _clean(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
