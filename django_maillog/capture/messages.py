"""What two messages about the same bug have in common."""

from __future__ import annotations

import functools
import re

from .text import without_colours

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
# What these keys say stays, in quotation marks, too: "msg='no stock' order=7" is about "no stock".
_SAYING = r"(?:event|msg|message|code|error|exc|exception|type|status|reason)"
_QUOTED = re.compile(
    rf"""(?<!\w)({_SAYING}=)(?:'([^'\n]*+)'?|"([^"\n]*+)"?)"""
    # An opening quote alone counts, too.
    r"""|(?<!\w)'[^'\n]*+(?:'(?!\w)|(?=\n|\Z))|"[^"\n]*+"?|`[^`\n]*+`?|“[^”\n]*+”?|«[^»\n]*+»?"""
)
_PAIR = re.compile(r"(?<![\w.?&/-])([A-Za-z_][\w.-]{0,60}+)=(?!=)([^\s,;&|()\[\]{}]++)")
_SAYS = re.compile(_SAYING, re.IGNORECASE)
# Numbers that tell bugs apart.
_CODES = frozenset(["code", "status"])
_SUSPECT = re.compile(r"[\d/\\@]|:[a-fA-F]{0,4}:")
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
# Of the countries, those whose code is neither a word nor a file's suffix.
_HOST = re.compile(
    r"""
    (?<![\w.@-])(?:
        (?:[a-z0-9_][a-z0-9_-]*+\.){1,10}
        (?:(?:com|net|org|edu|gov|mil|biz|arpa|lan|localdomain|co|ac)(?:\.[a-z]{2})?
          |ar|au|bg|br|ca|ch|cl|cn|cz|de|dk|es|eu|fi|fr|gr|hk|hu|ie|il|jp|kr|mx|nl|nz|pl|pt|ro|ru|se|sg|th|tr|tw|ua|uk)
        (?::\d+)?(?![\w-]|\.\w)
      | [A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)+:\d{2,5}(?!\w)  # whatever has a port
    )
    """,
    re.VERBOSE,
)
# Names with digits that are words all the same, and dotted names of Python's.
_NAME = re.compile(
    r"(?:utf-?(?:8|16|32)|iso-?8859-\d+|latin-?1|cp125\d|HTTP/\d(?:\.\d)?|TLSv?\d(?:\.\d)?|sha-?\d{1,3}|base64|ipv[46])"
    r"|\w+(?:Error|Exception|Warning)"
    r"|(?=[A-Za-z_.]+(?:\d\d?[A-Za-z_.]+)*\d?\d?$)[A-Za-z_]\w*+(?:\.[A-Za-z_]\w*+)+(?<!\.[a-z]{3})",
    re.IGNORECASE,
)
_PUNCTUATION = ".,;:!?()[]{}<>\"'"
# A word in which a value was found is one, but for the letters in front of a number: item5, oauth2. Two signs
# together end it, as in "depth......3".
_SIGNS = r"(?:\w|[+~.#-](?![+~.#-]))*+"
_PART = re.compile(rf"(?<![\w+~.#-]){_SIGNS}(?:<\*>{_SIGNS})+")
_NUMBERED = re.compile(r"[^\W\d_]+<\*>")
_UNIT = re.compile(
    r"[<>~≈]?<\*>(?: ?(?:[KMGT]i?B|[KMGT]?b|B|bytes?|[kMG]?Hz|[mnuµ]?s|secs?|seconds?|min|minutes?|h|hours?"
    r"|days?|%)(?![\w<]))?"
)
_RUN = re.compile(
    r"(?:<\*>|(?<!\S)(?:\(<\*>\)|\[<\*>\]|\{<\*>\}))(?:(?:[,;]? |[:,;|])(?:<\*>|\(<\*>\)|\[<\*>\]))*"
)
_EMPTY = frozenset(["()", "[]", "{}"])
_DAYS = frozenset(re.findall("...", "MonTueWedThuFriSatSunJanFebMarAprMayJunJulAugSepOctNovDec"))
_REST_OF_DAY = re.compile(r"(?:day|sday|nesday|rsday|urday|uary|ruary|ch|il|e|y|ust|t|tember|ober|ember)?,?")


def normalise(message: str) -> str:
    """Return a message with its values replaced: numbers, hashes, addresses, dates, paths, quotations."""
    text = without_colours(message[:_COMPARED])
    if "'" in text or '"' in text or "`" in text or not text.isascii():
        text = _QUOTED.sub(_unquoted, text)
    words = text.split()
    for index, word in enumerate(words):
        if word[:3] in _DAYS and _REST_OF_DAY.fullmatch(word, 3):
            words[index] = "<*>"
        elif not word.isalpha():
            words[index] = _without_pairs(word) if "=" in word else _without_values(word)
    text = " ".join(words)
    if "<*>" in text:
        # The second time what is in brackets.
        text = _RUN.sub("<*>", _RUN.sub("<*>", _UNIT.sub("<*>", text)))
        if not any(map(str.isalpha, text)):  # nothing but values: "sda1 sda2"
            text = _DIGITS.sub("<*>", message[:_COMPARED])
    return text[:_KEPT]


_DIGITS = re.compile(r"\d++")


def _unquoted(match: re.Match[str]) -> str:
    key, single, double = match.groups()
    return f"{key}{single or double or ''}" if key else "<*>"


def _without_pairs(word: str) -> str:
    """Replace what is said of keys; a value that is a name, as in ``state=closed``, tells bugs apart."""
    parts: list[str] = []
    end = 0
    for match in _PAIR.finditer(word):
        key, value = match.groups()
        if _SAYS.fullmatch(key):
            value = value if key.lower() in _CODES else _without_values(value)
        elif not value.replace("_", "").isalpha():
            value = "<*>"
        parts += [_without_values(word[end : match.start()]), f"{key}={value}"]
        end = match.end()
    return "".join([*parts, _without_values(word[end:])])


def _without_values(word: str) -> str:
    if word in _EMPTY:
        return "<*>"
    # The part in front of a mail address's sign may look like a host: "a.ru@example.com".
    if "@" not in word and ("." in word or ":" in word):
        word = _HOST.sub("<*>", word)
    if _SUSPECT.search(word) and not _NAME.fullmatch(word.strip(_PUNCTUATION)):
        word = _VALUE.sub("<*>", word)
    return _PART.sub(_whole, word) if "<*>" in word else word


def _whole(match: re.Match[str]) -> str:
    return match[0] if _NUMBERED.fullmatch(match[0]) else "<*>"
