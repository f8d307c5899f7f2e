"""The entries of a gettext catalogue, read from its source, without gettext's tools."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

_STRING = r'"(?:[^"\\]|\\.)*"'
_FIELD = re.compile(rf"^(msg\S+) ({_STRING}(?:\n{_STRING})*)", re.MULTILINE)


class Entry(NamedTuple):
    """One message: what identifies it, its translation in each form, and what stands in comments."""

    context: str
    message: str
    plural: str
    forms: list[str]
    comments: str


def read(path: Path) -> list[Entry]:
    """All entries but the first, which is the header."""
    return [_entry(block) for block in path.read_text(encoding="utf-8").split("\n\n")[1:] if block.strip()]


def _entry(block: str) -> Entry:
    fields = {name: _text(strings) for name, strings in _FIELD.findall(block)}
    return Entry(
        context=fields.get("msgctxt", ""),
        message=fields.get("msgid", ""),
        plural=fields.get("msgid_plural", ""),
        forms=[text for name, text in fields.items() if name.startswith("msgstr")],
        comments="\n".join(line for line in block.splitlines() if line.startswith("#")),
    )


def _text(strings: str) -> str:
    return "".join(str(ast.literal_eval(line)) for line in strings.splitlines())
