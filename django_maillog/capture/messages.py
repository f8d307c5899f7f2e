"""What two messages about the same bug have in common."""

from __future__ import annotations

import functools
import re

_COMPARED = 4_000  # characters of a message that are normalised
_KEPT = 1_000  # characters of the result that count: far from the cut, which moves with the values before it

_PLACEHOLDER = re.compile(
    r"%(?:\([^)]{0,100}\))?[-#0 +]*+[*\d]{0,5}(?:\.[*\d]{0,5})?[hlL]?[a-zA-Z%]|\{[^{}]{0,100}\}"
)


@functools.lru_cache(maxsize=1024)
def has_words(template: str) -> bool:
    """Say whether a template has four letters of its own: "%s: %s" says nothing about its error."""
    return sum(map(str.isalpha, _PLACEHOLDER.sub("", template[:1_000]))) >= 4


# Each pattern starts at a place of its own and never backs up over what it took, so time stays linear.
_QUOTED = re.compile(
    r"""(?<!\w)'[^'\n]*+(?:'(?!\w)|(?=\n|\Z))|"[^"\n]*+"?|`[^`\n]*+`?"""  # an opening quote alone counts, too
    r"""|“[^”\n]*+”?|«[^»\n]*+»?"""
)
_SUSPECT = re.compile(r"[\d/\\@]|::")
_VALUE = re.compile(
    r"""
      (?<![0-9A-Za-z])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![0-9A-Za-z])  # UUID
    | (?<!\d)\d{4}-\d\d-\d\d(?:[T_]\d\d:?\d\d(?::?\d\d(?:[.,]\d++)?)?(?:Z|[-+]\d\d:?\d\d)?)?  # date
    | (?<![\w:.])\d{1,2}:\d\d(?::\d\d)?(?:[.,]\d++)?(?:Z|[-+]\d\d:?\d\d)?(?![\w:])  # time
    | (?<![\w.+-])[\w.+-]{1,64}+@[\w.-]++  # mail address
    | \b0[xX][0-9a-fA-F]++  # memory address
    | (?<![\w:])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}+(?:\.\d++){0,3}(?:%\w++)?(?![\w:])  # IPv6 address
    | (?<![\w+.-])[A-Za-z][A-Za-z0-9+.-]{1,30}+://\S++  # URL
    | (?<![\w./\\@%+~:-])(?:[A-Za-z]:|[\w.@%+~-]++)?
      (?:[/\\]++[^\s/\\"'<>|?*,;()\[\]{}]*+)++(?:\?\S*+)?  # path
    | \b(?=[0-9a-fA-F]{7})[a-fA-F]*+\d[0-9a-fA-F]*+\b  # hash
    | \b(?=[0-9A-Za-z]{16})[A-Za-z]*+\d[0-9A-Za-z]*+\b  # token
    | (?:(?<![\w-])[-+])?\d++(?:[.,:]\d++)*+(?:[eE][-+]?\d++)?  # number
    """,
    re.VERBOSE,
)
_DAYS = frozenset(re.findall("...", "MonTueWedThuFriSatSunJanFebMarAprMayJunJulAugSepOctNovDec"))
_REST_OF_DAY = re.compile(r"(?:day|sday|nesday|rsday|urday|uary|ruary|ch|il|e|y|ust|t|tember|ober|ember)?,?")


def normalise(message: str) -> str:
    """Return a message with its numbers, hashes, UUIDs, addresses, dates, paths and quotations replaced."""
    text = message[:_COMPARED]
    if "'" in text or '"' in text or "`" in text or not text.isascii():
        text = _QUOTED.sub("<*>", text)
    words = text.split()
    for index, word in enumerate(words):
        if word[:3] in _DAYS and _REST_OF_DAY.fullmatch(word, 3):
            words[index] = "<*>"
        elif not word.isalpha() and _SUSPECT.search(word):
            words[index] = _VALUE.sub("<*>", word)
    return " ".join(words)[:_KEPT]
