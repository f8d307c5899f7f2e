"""A traceback's text, cut into the project's own frames and the libraries' (to be folded)."""

from __future__ import annotations

import re
from dataclasses import dataclass

# The prefix covers the tree that traceback draws for exception groups.
FRAME = re.compile(r'^([ |+]*)File "([^"]*)", line \d+')
LIBRARY = re.compile(
    r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib(?:64)?[/\\]python\d[^/\\]*[/\\]|^<frozen |[/\\]Lib[/\\]"
)


@dataclass
class Section:
    """Consecutive lines of a traceback; ``frames`` counts the library frames if they are folded."""

    text: str
    frames: int = 0


def sections(traceback: str) -> list[Section]:
    """The traceback in order; the frame in which an exception was raised is never folded."""
    found: list[Section] = []
    pieces = _pieces(traceback)
    for index, (is_library, lines) in enumerate(pieces):
        innermost = index + 1 == len(pieces) or pieces[index + 1][0] is None
        folded = bool(is_library) and not innermost
        text = "\n".join(lines)
        if found and bool(found[-1].frames) == folded:
            found[-1].text += "\n" + text
            found[-1].frames += folded
        else:
            found.append(Section(text, int(folded)))
    return found


def _pieces(traceback: str) -> list[tuple[bool | None, list[str]]]:
    """(is it a library's frame, its lines) for each frame; None for the lines between frames."""
    pieces: list[tuple[bool | None, list[str]]] = []
    margin = ""
    for line in traceback.rstrip("\n").split("\n"):
        if match := FRAME.match(line):
            margin = match[1]
            pieces.append((LIBRARY.search(match[2]) is not None, [line]))
        elif pieces and (pieces[-1][0] is None or _belongs(line, margin)):
            pieces[-1][1].append(line)
        else:
            pieces.append((None, [line]))
    return pieces


def _belongs(line: str, margin: str) -> bool:
    """Whether a line is the source, the carets or the repetition of a frame with that margin."""
    rest = line.lstrip(" |+")
    own = line[: len(line) - len(rest)]
    if "+" in own or own.count("|") != margin.count("|"):
        return False
    return len(own) > len(margin) or rest.startswith("[Previous line repeated")
