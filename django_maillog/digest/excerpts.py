"""Log text made fit for a mail: controls visible, lengths bounded, tracebacks shortened with care."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import groupby, zip_longest
from operator import itemgetter
from typing import NamedTuple

from ..frames import Section, package_of, sections
from ..language import gettext as _
from ..language import ngettext

# Runs of controls but tab and newline, soft hyphen, bidi controls, line separators, invisible operators,
# surrogates, tags. U+200C and U+200D stay: Persian and emoji need them.
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]+"
)
BREAKS = re.compile(r"[\s\x1c-\x1f\x85\u2028\u2029]+")

# Bytes of HTML: what a remark about what was left out takes, and the least that a text is cut to.
REMARK_WEIGHT = 60
SHORTEST = 200
# Frames of libraries in a row that a remark takes the place of, in the text.
LEAST_FOLDED = 2


def visible(text: str) -> str:
    """The text with what a mail client would act on, or hide, written as escapes; never a SafeString."""
    text = text[:].replace("\r\n", "\n").replace("\r", "\n")
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


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


def clip(text: str, limit: int) -> str:
    """The text with its middle replaced by a remark beyond ``limit`` characters."""
    gone = len(text) - limit
    if gone <= 0:
        return text
    remark = ngettext("%(number)s character left out", "%(number)s characters left out", gone)
    return f"{text[: limit // 3]}… {remark} …{text[limit // 3 - limit :]}"


def clip_end(text: str, limit: int) -> str:
    """The text up to ``limit`` characters, and how many more there are."""
    gone = len(text) - limit
    if gone <= 0:
        return text
    remark = ngettext(
        "%(number)s more character, all of it below", "%(number)s more characters, all of it below", gone
    )
    return f"{text[:limit]}… {remark} …"


def cut_middle(text: str, room: int) -> str:
    """The same as ``clip`` by weight: the text in about ``room`` bytes of HTML."""
    if weight(text) <= room:
        return text
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


def shorten(traceback: str, room: int) -> list[Passage]:
    """The traceback in ``room`` bytes of HTML: library frames go first, from the middle, then others."""
    found = list(sections(traceback))
    parts = list(_joined(found, _dropped(found, weight(traceback) - room)))
    excess = sum(weight(part.text) for part in parts) - room
    if excess <= 0:
        return parts
    # Most of it is one text, such as a message of megabytes: frames around it stay.
    longest = max(range(len(parts)), key=lambda index: weight(parts[index].text))
    kind, text = parts[longest]
    left = weight(text) - excess - REMARK_WEIGHT
    if left < SHORTEST:
        whole = "".join(part.text for part in parts)
        return [Passage("", cut_middle(whole, max(room - REMARK_WEIGHT, REMARK_WEIGHT)))]
    parts[longest] = Passage(kind, cut_middle(text, left))
    return parts


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


def _joined(found: list[Section], dropped: set[int]) -> Iterator[Passage]:
    """Neighbours of one kind as one part, and for each run that was dropped a remark."""
    marked = (("cut" if number in dropped else section.kind, section) for number, section in enumerate(found))
    for kind, run in groupby(marked, key=itemgetter(0)):
        members = [section for _kind, section in run]
        if kind == "cut":
            yield Passage("cut", f"  … {_frames_left_out(members)} …\n")
        else:
            yield Passage(kind, "".join(member.text for member in members))


def _frames_left_out(frames: list[Section]) -> str:
    number = len(frames)
    if all(frame.kind == "library" for frame in frames):
        return ngettext("%(number)s library frame left out", "%(number)s library frames left out", number)
    return ngettext("%(number)s frame left out", "%(number)s frames left out", number)


def folded(parts: list[Passage]) -> str:
    """The passages as text; a remark for each run of library frames, but not where an error was raised."""
    texts = []
    for part, following in zip_longest(parts, parts[1:]):
        if part.kind == "library":
            texts.append(_folded(part.text, is_followed=bool(following and following.kind)))
        else:
            texts.append(part.text)
    return "".join(texts)


def _folded(text: str, *, is_followed: bool) -> str:
    frames = list(sections(text))
    kept = "" if is_followed else frames.pop().text
    if len(frames) < LEAST_FOLDED:
        return text
    found = dict.fromkeys(package_of(section.frame.path) for section in frames if section.frame)
    packages = [name for name in found if name]  # not of a path that was cut in the middle
    names = ", ".join(packages[:3])
    if len(packages) > 3:
        names = _("%(names)s and others") % {"names": names}
    remark = _("%(number)s frames of %(names)s") % {"number": len(frames), "names": names}
    first = frames[0].text
    margin = first[: len(first) - len(first.lstrip(" |+"))]
    return f"{margin}… {remark} …\n{kept}"
