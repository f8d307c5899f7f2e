"""Log text made fit for a mail: controls visible, lengths bounded, tracebacks shortened with care."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

# Controls but tab and newline, soft hyphen, bidi controls, line separators, invisible operators, surrogates,
# tags.
# U+200C and U+200D stay: Persian and emoji need them.
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


class _Escapes(dict[int, str]):
    """Every unprintable character's escape, made when it is first seen."""

    def __missing__(self, code: int) -> str:
        text = chr(code)
        if UNPRINTABLE.match(text):
            text = (
                f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
            )
        return self.setdefault(code, text)


ESCAPES = _Escapes()
BREAKS = re.compile(r"[\s\x1c-\x1f\x85\u2028\u2029]+")
FRAME = re.compile(r'^[ |+]*File "(?P<path>[^"]*)", line (?P<line>\d+)(?:, in (?P<function>.*))?$')
LIBRARY = re.compile(
    r"[\\/](?:site|dist)-packages[\\/]|[\\/]lib[\\/]python\d|[\\/]Python\d+[\\/]Lib[\\/]|^<frozen "
)


def visible(text: str) -> str:
    """The text with what a mail client would act on, or hide, written as escapes; never a SafeString."""
    text = text[:]
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    # The search is fast where there is nothing to find, the translation where there is much.
    return text.translate(ESCAPES) if UNPRINTABLE.search(text) else text


def one_line(text: str, limit: int) -> str:
    """The text on one line of at most ``limit`` characters."""
    line = text[: limit * 4]
    if "  " in line or not line.isprintable():  # what is printable has nothing else to replace
        line = UNPRINTABLE.sub("", BREAKS.sub(" ", line))
    line = line.strip()
    return line if len(line) <= limit and len(text) <= limit * 4 else line[: limit - 1].rstrip() + "…"


def weight(text: str) -> int:
    """How many bytes the text takes in an HTML page."""
    return len(html.escape(text).encode("utf-8", "replace"))


def clip(text: str, limit: int) -> tuple[str, int]:
    """The text with its middle replaced by a remark beyond ``limit`` characters, and how many went."""
    gone = len(text) - limit
    if gone <= 0:
        return text, 0
    return f"{text[: limit // 3]}… {gone:,} characters left out …{text[limit // 3 - limit :]}", gone


def cut_middle(text: str, room: int) -> tuple[str, int]:
    """The same by weight: the text in about ``room`` bytes of HTML."""
    total = weight(text)
    if total <= room:
        return text, 0
    low, high = 0, min(len(text), room)
    while low < high:
        keep = (low + high + 1) // 2
        if weight(text[: keep // 3]) + weight(text[len(text) - keep + keep // 3 :]) <= room:
            low = keep
        else:
            high = keep - 1
    return clip(text, low)


class Part(NamedTuple):
    """A run of a traceback: ``kind`` is "app", "library", "cut" or "" for what is no frame."""

    kind: str
    text: str


class Excerpt(NamedTuple):
    """A traceback as its parts, and what is missing."""

    parts: list[Part]
    frames_cut: int
    characters_cut: int


@lru_cache(maxsize=200)
def is_library(path: str) -> bool:
    """Whether a file is no part of the project; tracebacks name the same few again and again."""
    return LIBRARY.search(path) is not None


def where(traceback: str) -> str:
    """The innermost frame of the project's own code, as ``shop/views.py:12 in divide``."""
    innermost = None
    for line in reversed(traceback.splitlines()):
        if match := FRAME.match(line):
            innermost = innermost or match
            if not is_library(match["path"]):
                innermost = match
                break
    if innermost is None:
        return ""
    return location(innermost["path"], innermost["line"], innermost["function"])


def location(path: str, line: object, function: str | None) -> str:
    """A place in the code, its path cut to the last three components."""
    short = "/".join(re.split(r"[\\/]", path)[-3:])
    return one_line(f"{short}:{line} in {function}" if function else f"{short}:{line}", 160)


def shorten(traceback: str, room: int) -> Excerpt:
    """The traceback in ``room`` bytes of HTML: library frames go first, from the middle, then others."""
    units = list(_units(traceback))
    excess = weight(traceback) - room
    if excess <= 0:
        return Excerpt(list(_joined(units, set())), 0, 0)
    weights = [weight(unit.text) for unit in units]
    dropped: set[int] = set()
    spare = 60  # what the remark about what was dropped takes
    for kind, keep in (("library", 0), ("app", 4)):
        frames = [index for index, unit in enumerate(units) if unit.kind == kind]
        for index in _from_the_middle(frames)[: max(0, len(frames) - keep)]:
            if excess + spare <= 0:
                break
            dropped.add(index)
            excess -= weights[index]
    parts = list(_joined(units, dropped))
    excess = sum(weight(part.text) for part in parts) - room
    if excess <= 0:
        return Excerpt(parts, len(dropped), 0)
    longest = max(range(len(parts)), key=lambda index: weight(parts[index].text))
    kind, text = parts[longest]
    spared = weight(text) - excess - 60
    if spared < 200:
        text, gone = cut_middle("".join(part.text for part in parts), max(room - 60, 60))
        return Excerpt([Part("", text)], len(dropped), gone)
    text, gone = cut_middle(text, spared)
    parts[longest] = Part(kind, text)
    return Excerpt(parts, len(dropped), gone)


def _units(traceback: str) -> Iterator[Part]:
    """Frames with their source lines, and single other lines."""
    kind, lines, indent = "", list[str](), 0
    for line in traceback.splitlines(keepends=True):
        match = FRAME.match(line.rstrip("\n")) if 'File "' in line else None
        depth = len(line) - len(line.lstrip(" |"))
        if not match and lines and depth > indent:
            lines.append(line)
            continue
        if lines:
            yield Part(kind, "".join(lines))
            lines = []
        if match:
            kind, lines, indent = "library" if is_library(match["path"]) else "app", [line], depth
        else:
            yield Part("", line)
    if lines:
        yield Part(kind, "".join(lines))


def _from_the_middle(indexes: list[int]) -> list[int]:
    middle = (len(indexes) - 1) / 2
    return [indexes[place] for place in sorted(range(len(indexes)), key=lambda place: abs(place - middle))]


def _joined(units: list[Part], dropped: set[int]) -> Iterator[Part]:
    """The units with neighbours of one kind joined and a remark for each run that was dropped."""
    kind, texts, gone = "", list[str](), list[Part]()

    def pending() -> Iterator[Part]:
        if texts:
            yield Part(kind, "".join(texts))
        if gone:
            what = "library frame" if all(unit.kind == "library" for unit in gone) else "frame"
            yield Part("cut", f"  … {len(gone):,} {what}{'s' if len(gone) > 1 else ''} left out …\n")

    for index, unit in enumerate(units):
        if index in dropped:
            gone.append(unit)
            continue
        if gone or unit.kind != kind:
            yield from pending()
            kind, texts, gone = unit.kind, [], []
        texts.append(unit.text)
    yield from pending()
