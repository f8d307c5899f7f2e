"""The documentation as its tests read it: pages, sections, tables, blocks."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

from tests.sites import ROOT

REPOSITORY = "https://github.com/django-maillog/django-maillog"
TOP = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PATHS = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in PATHS}
_FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def path_of(page: str) -> Path:
    return ROOT / page if page in TOP else ROOT / "docs" / page


def section(page: str, heading: str) -> str:
    """A page from a heading that contains these words to the next one of any level."""
    found = re.search(rf"^#+ [^\n]*{re.escape(heading)}.*?(?=^#+ |\Z)", PAGES[page], re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no heading with {heading}"
    return found[0]


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the tables in a text, without heads and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {number - 1 for number, row in enumerate(cells) if set(row[0]) == {"-"}}
    return [row for number, row in enumerate(cells) if number not in heads and set(row[0]) != {"-"}]


def code(text: str) -> list[str]:
    """What stands in code marks."""
    return re.findall(r"`([^`\n]+)`", text)


def first_names(text: str) -> list[str]:
    """The names in the first column of a section's tables."""
    return [name for row in rows(text) for name in code(row[0])]


def blocks(*languages: str, containing: str = "", without: tuple[str, ...] = ()) -> list[Block]:
    """The fenced blocks in these languages, of all pages but the changelog."""
    found = []
    for page, text in PAGES.items():
        for match in _FENCE.finditer(text):
            content = textwrap.dedent(match[3])
            if (
                match[2] in languages
                and containing in content
                and not any(word in content for word in without)
            ):
                found.append(Block(page, text.count("\n", 0, match.start()) + 1, match[2], content))
    return found


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", PAGES[page])
