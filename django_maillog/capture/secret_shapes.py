"""Where the secrets of a text are that are known by their shape: users of URLs, tokens, private keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

# In one text; what comes after so many is hidden as a whole.
URLS_LIMIT = 1_000

Spans = Iterator[tuple[int, int]]

BLANK = re.compile(r"\s|\Z")
_RUN_END = re.compile(r"""[\s"'<>]|\Z""")
_PORT = re.compile(r"""[^\s:/?#@]*+:\d{1,5}+(?:[/?#\s"',)>\]]|\Z)""")
_USER_AND_COLON = re.compile(r"[^:/?#\s]*+:")
_USER_ALONE = re.compile(r"""[^/?#@\s"'<>]*+@""")
_SCHEMES = re.compile(
    r"""[Bb](?:earer[ ]{1,2}(?=[\w~+/-]*[\dA-Z.~+/=]) | asic[ ]{1,2}(?=[A-Za-z+/]*(?:\d|[a-z][A-Z]))
      | (?<=B)earer[ ]{1,2}) ([\w.~+/=-]{6,}+) | Token[ ]{1,2}(?=[a-z]*\d)([\w.-]{6,}+)""",
    re.VERBOSE,
)
_JWT = re.compile(r"(?<![\w-])(eyJ[\w-]{5,}+(?:\.[\w-]*+){1,4}+)")
_PEM, _PEM_END = "PRIVATE KEY-----", "-----END "


def end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Return where the pattern is found, else the text's end."""
    found = pattern.search(text, start)
    return found.start() if found else len(text)


def tokens(text: str) -> Spans:
    """Find what follows "Bearer" and its like."""
    if "earer " in text or "asic " in text or "Token " in text:
        yield from (match.span(match.lastindex or 0) for match in _SCHEMES.finditer(text))


def web_tokens(text: str) -> Spans:
    if "eyJ" in text:
        yield from (match.span(1) for match in _JWT.finditer(text))


def user_parts(text: str, *, is_whole: bool) -> Spans:
    """Find what stands before the @ of a URL, whatever characters it has."""
    start = text.find("://") + 3
    run_end = blank = 0
    number = 0
    while start > 2:
        number += 1
        if number > URLS_LIMIT:
            yield start, len(text)
            return
        if start > run_end:
            run_end = end_of(_RUN_END, text, start)
        at = _at(text, start, run_end)
        if at < 0 and run_end < len(text) and text[run_end] in "\"'<>":
            # A quotation mark may be one of the password's characters.
            blank = blank if blank >= start else end_of(BLANK, text, start)
            if _USER_AND_COLON.match(text, start):
                at = _at(text, start, min(blank, run_end + 100))
        is_cut = not is_whole and len(text) in (run_end, blank) and not _PORT.match(text, start)
        if at < 0 and is_cut:
            at = len(text)
        if at > start:
            yield start, at
        start = text.find("://", max(at, start)) + 3


def _at(text: str, start: int, run_end: int) -> int:
    """Return where the user part of a URL ends, -1 if it has none."""
    if _PORT.match(text, start):
        return -1
    if _USER_AND_COLON.match(text, start, run_end):
        return text.rfind("@", start, run_end)
    alone = _USER_ALONE.match(text, start, run_end)
    return alone.end() - 1 if alone else -1


def private_keys(text: str) -> Spans:
    start = text.find(_PEM)
    while start >= 0:
        start += len(_PEM)
        end = text.find(_PEM_END, start)
        yield start, len(text) if end < 0 else end
        start = -1 if end < 0 else text.find(_PEM, end)
