"""Log text made fit for a mail: controls visible, lengths bounded, tracebacks shortened with care."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from ..frames import Section, package_of, sections
from ..language import gettext as _
from ..language import ngettext

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

# Bytes of HTML: what a remark about what was left out takes, and the least that a text is cut to.
REMARK_WEIGHT = 60
SHORTEST = 200
# Frames of libraries in a row that a remark takes the place of, in the text.
LEAST_FOLDED = 2


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
    # What is printable and holds no two blanks has nothing to replace.
    if "  " in line or not line.isprintable():
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
    remark = ngettext("%(number)s character left out", "%(number)s characters left out", gone)
    return f"{text[: limit // 3]}… {remark} …{text[limit // 3 - limit :]}", gone


def clip_end(text: str, limit: int) -> str:
    """The text up to ``limit`` characters, and how many more there are."""
    gone = len(text) - limit
    if gone <= 0:
        return text
    remark = ngettext(
        "%(number)s more character, all of it below", "%(number)s more characters, all of it below", gone
    )
    return f"{text[:limit]}… {remark} …"


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


class Passage(NamedTuple):
    """A run of a traceback: ``kind`` is "app", "library", "cut" or "" for what is no frame."""

    kind: str
    text: str


class Excerpt(NamedTuple):
    """A traceback as its parts, and what is missing."""

    parts: list[Passage]
    frames_cut: int
    characters_cut: int


def shorten(traceback: str, room: int) -> Excerpt:
    """The traceback in ``room`` bytes of HTML: library frames go first, from the middle, then others."""
    found = list(sections(traceback))
    dropped = _dropped(found, weight(traceback) - room)
    parts = list(_joined(found, dropped))
    excess = sum(weight(part.text) for part in parts) - room
    if excess <= 0:
        return Excerpt(parts, len(dropped), 0)
    # Most of it is one text, such as a message of megabytes: frames around it stay.
    longest = max(range(len(parts)), key=lambda index: weight(parts[index].text))
    kind, text = parts[longest]
    left = weight(text) - excess - REMARK_WEIGHT
    if left >= SHORTEST:
        text, gone = cut_middle(text, left)
        parts[longest] = Passage(kind, text)
    else:
        left = max(room - REMARK_WEIGHT, REMARK_WEIGHT)
        text, gone = cut_middle("".join(part.text for part in parts), left)
        parts = [Passage("", text)]
    return Excerpt(parts, len(dropped), gone)


def _dropped(found: list[Section], excess: int) -> set[int]:
    """Which frames to leave out so that so many bytes go; four of the project's own always stay."""
    dropped: set[int] = set()
    if excess <= 0:
        return dropped
    for kind, keep in (("library", 0), ("app", 4)):
        frames = [index for index, section in enumerate(found) if section.kind == kind]
        for index in _from_the_middle(frames)[: max(0, len(frames) - keep)]:
            if excess + REMARK_WEIGHT <= 0:
                return dropped
            dropped.add(index)
            excess -= weight(found[index].text)
    return dropped


def _from_the_middle(indexes: list[int]) -> list[int]:
    middle = (len(indexes) - 1) / 2
    return [indexes[place] for place in sorted(range(len(indexes)), key=lambda place: abs(place - middle))]


def folded(parts: list[Passage]) -> str:
    """The passages as text; a remark for each run of library frames, but not where an error was raised."""
    texts = []
    for number, part in enumerate(parts):
        is_followed = number + 1 < len(parts) and parts[number + 1].kind != ""
        texts.append(_folded(part.text, is_followed=is_followed) if part.kind == "library" else part.text)
    return "".join(texts)


def _folded(text: str, *, is_followed: bool) -> str:
    frames = list(sections(text))
    kept = [] if is_followed else frames[-1:]
    frames = frames[: len(frames) - len(kept)]
    if len(frames) < LEAST_FOLDED:
        return text
    packages = dict.fromkeys(package_of(section.frame.path) for section in frames if section.frame)
    first = frames[0].text
    margin = first[: len(first) - len(first.lstrip(" |+"))]
    names = ", ".join(list(packages)[:3])
    facts = {
        "number": len(frames),
        "names": _("%(names)s and others") % {"names": names} if len(packages) > 3 else names,
    }
    remark = _("%(number)s frames of %(names)s") % facts
    return f"{margin}… {remark} …\n" + "".join(section.text for section in kept)


def _frames_left_out(frames: list[Section]) -> str:
    if all(frame.kind == "library" for frame in frames):
        return ngettext(
            "%(number)s library frame left out", "%(number)s library frames left out", len(frames)
        )
    return ngettext("%(number)s frame left out", "%(number)s frames left out", len(frames))


def _joined(found: list[Section], dropped: set[int]) -> Iterator[Passage]:
    """Neighbours of one kind as one part, and for each run that was dropped a remark."""
    marked = (("cut" if number in dropped else section.kind, section) for number, section in enumerate(found))
    for kind, run in groupby(marked, key=itemgetter(0)):
        members = [section for _kind, section in run]
        if kind == "cut":
            yield Passage("cut", f"  … {_frames_left_out(members)} …\n")
        else:
            yield Passage(kind, "".join(member.text for member in members))
