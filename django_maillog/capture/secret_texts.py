"""Secrets within a text, in whatever notation: written as stars, in time that is linear in the text.

What is looked for: names that a value follows (query parameters, ``key=value``, JSON, Python's reprs,
headers, pairs, XML, options of commands, forms), the user part of URLs, and what is a secret by its own
shape. Each rule yields where secrets begin and end. A secret that does not end before a text was cut is
hidden to the text's end.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from .secret_keys import STARS, WORDS, Keys, is_strong, uses_djangos_filter
from .secret_shapes import Spans, private_keys, tokens, user_parts, web_tokens
from .secret_values import QUOTE, VALUE_LIMIT, value_of

# In one text. An honest one has fewer; what comes after so many is hidden as a whole.
WORDS_LIMIT = 3_000
NAMES_LIMIT = 600
SECRETS_LIMIT = 250
_PARAMETERS_LIMIT = 500
_INNER_URLS_LIMIT = 50
_PARAMETER_DEPTH = 3
_LINE_LIMIT = 500
_SOURCE_LINES = 12

_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-%+"
# What a name comes before, whatever name it is.
_SEPARATOR = re.compile("[=:]")
# One of those that may stand between a name and its value: ``"type": "text"``, ``type='text'``.
_MEMBER = r"""(?:
    [\s,]{1,40}+ \\{0,3}["']? [\w.-]{1,40}+ \\{0,3}["']? \s{0,2} [=:] \s{0,4}
    (?: \\{0,3}"[^"\\]{0,200}+\\{0,3}" | \\{0,3}'[^'\\]{0,200}+\\{0,3}' | [\w.+-]{1,40}+
      | \[[^\[\]]{0,200}+\] | \{[^{}]{0,200}+\} )
)"""
_AFTER_NAME = re.compile(
    r"""(?=[)":,]) [^=\n]{1,200}+ (?<=\)) = (?=\()  # PostgreSQL's "Key (user_id, token)=(5, ...)"
    |   (?P<quote>\\{0,3}["'])? \]{0,2} \s{0,4}+ (?P<separator> => | [=:]{1,2}=? )
        (?: \s{0,20} (?=[bruBRU]{0,2}\\{0,3}["']) | [ \t]{0,8} )
    |   \\{0,3}["'] """
    + _MEMBER
    + r"""{0,8}? [\s,]{1,40}+ \\{0,3}["']? [vV]alue \\{0,3}["']? \s{0,2} [=:] \s{0,4}
    |   \\{0,3}["'] \s{0,2} , \s{0,2} (?=[bruBRU]{0,2}\\{0,3}["'])
        (?! \\{0,3}["'] [\w.$-]{1,60}+ \\{0,3}["'] \s{0,2} : )  # no name of another value
    |   [ ,;&]{1,2} [vV]alue =
    |   ["'] (?: \r?\n | (?:\\r)?\\n ){2}""",
    re.VERBOSE,
)
_BEFORE_NAME = re.compile(
    r"""[vV]alue \\{0,3}["']? \s{0,2} [=:] \s{0,4} \\{0,3}["'] (?= [^"'\\\n]++ (?: \Z | \\{0,3}["'] """
    + _MEMBER
    + r"""{0,2}? [\s,]{1,40}+ \\{0,3}["']? (?i:name|key|header) \\{0,3}["']? \s{0,2} [=:] \s{0,4}
        \\{0,3}["'] ([\w.-]{1,80}+) )) ([^"'\\\n]++)""",
    re.VERBOSE,
)
# MySQL's.
_DUPLICATE = re.compile(r"Duplicate entry '(?=[^'\n]++(?:\Z|' for key '([\w.-]{1,130}+)'))([^'\n]++)")
_OPTION = re.compile(r"(?<![\w-])--([\w-]{1,80}+)[ ]{1,4}([^\s-]\S*+)")
_ELEMENT = re.compile(
    r"<(?:[\w.-]{1,40}+:)?([\w-]{1,80}+)(?:\s[^<>]{0,200}+)?>(?:\s{0,40}+<!\[CDATA\[)?+"
    r"((?<=\[CDATA\[)(?s:.*?)(?=\]\]>|\Z)|[^<]++)"
)
# Also where it was written as a literal.
_COLOUR = re.compile(r"(?:\x1b|\\{1,3}(?:x|u00)1b)\[[\d;]{0,30}+[mK]")
_EMPTY = re.compile(r"(?i:none|null|nil|true|false|undefined|\*+)(?![^\s,;&)\]}>'\"\\])")
# A parameter, or a run with something percent-encoded in it: a part of a path, what follows a sign.
_ENCODED = re.compile(
    r"""(?:^|[?&;#\s"'<>=/])
        (?: (?<![\s"'<>=/]) ([^=?&;#\s"'<>]{1,100}+)= | (?=[^=?&;#\s"'<>/%]*+%[2-7]) ) ([^&;#\s"'<>]++)""",
    re.VERBOSE,
)
# What stands for one of "':<=>, however often it is encoded.
_ENCODED_SIGN = re.compile("%(?:25){0,9}+(?:2[27]|3[ac-eAC-E])")
_PARAMETER = re.compile(r"""[?;]([\w%+-]{1,80}+)=([^&;#\s"'<>]++)""")


def is_harmless(text: str, request: Any) -> bool:
    """Whether a text holds nothing that is looked for, as most messages of a storm: told in a microsecond.

    With a request whose filter is a project's own, any name may be secret.
    """
    if "eyJ" in text or "earer " in text or "asic " in text or "Token " in text:
        return False
    if "://" in text and "@" in text:
        return False
    has_sign = "=" in text or ":" in text or "," in text or ">" in text or "--" in text
    if has_sign or "%3" in text or "%25" in text or "Duplicate" in text:
        is_told = "%" not in text and uses_djangos_filter(request)
        return is_told and WORDS.search(text.lower()) is None
    return True


def cleanse(text: str, keys: Keys, *, is_whole: bool = True, depth: int = 0) -> str:
    """Return the text with stars for the secrets in it; if it was cut, with stars for what it was cut in."""
    if "1b[" in text or "\x1b[" in text:
        text = _COLOUR.sub("", text)
    if "%" in text:
        text = _with_encoded(text, keys, depth, is_whole=is_whole)
    # Not "\u0130".lower(), which are two characters: places in both texts are the same.
    words = WORDS.finditer(text.replace("\u0130", "i").lower())
    text = _starred(text, _named(text, keys, (word.span() for word in words), is_whole=is_whole))
    if not keys.are_djangos:
        text = _starred(text, _named(text, keys, _any_names(text), is_whole=is_whole))
    if "--" in text:
        text = _starred(text, _told(_OPTION, text, keys))
    if "alue" in text:
        text = _starred(text, _told(_BEFORE_NAME, text, keys))
    if "Duplicate" in text:
        text = _starred(text, _told(_DUPLICATE, text, keys, named=False))
    if "</" in text or not is_whole:
        text = _starred(text, _told(_ELEMENT, text, keys))
    if "://" in text and ("@" in text or not is_whole):
        text = _starred(text, user_parts(text, is_whole=is_whole))
    for find in (tokens, web_tokens, private_keys):
        text = _starred(text, find(text))
    return text


def cleanse_page(html: str, keys: Keys) -> str:
    """Return HTML with stars for the secret parameters of the URLs in it."""
    found = (match for match in _PARAMETER.finditer(html) if keys.hides(match[1]))
    return _starred(html, (match.span(2) for match in found))


def _starred(text: str, spans: Spans) -> str:
    parts = []
    done = 0
    for start, end in spans:
        if start < done or start >= end:
            continue
        parts += [text[done:start], STARS]
        done = end
        if len(parts) > 2 * SECRETS_LIMIT:
            done = len(text)
            break
    return "".join([*parts, text[done:]]) if parts else text


def _with_encoded(text: str, keys: Keys, depth: int, *, is_whole: bool) -> str:
    """Look into what is percent-encoded: names of parameters, another URL or JSON in one or in a path."""
    number = inner_urls = last = 0

    def shown(match: re.Match[str]) -> str:
        nonlocal number, inner_urls, last
        number += 1
        last = match.end()
        key, value = match.groups()
        start = match[0][: match.start(2) - match.start()]
        if key and "%" in key and keys.hides(unquote_plus(key)):
            return start + STARS
        if not _ENCODED_SIGN.search(value):
            return match[0]
        is_cut = last == len(text) and not is_whole
        if is_cut or len(value) > VALUE_LIMIT or depth == _PARAMETER_DEPTH:
            return start + STARS
        inner = unquote(value)
        if is_harmless(inner, keys.request):
            return match[0]
        inner_urls += 1
        if inner_urls > _INNER_URLS_LIMIT:
            return start + STARS
        cleansed = cleanse(inner, keys, depth=depth + 1)
        return match[0] if cleansed == inner else start + quote(cleansed, safe="/*")

    result = _ENCODED.sub(shown, text, count=_PARAMETERS_LIMIT)
    return result if number < _PARAMETERS_LIMIT else result[: len(result) - len(text) + last] + STARS


def _told(pattern: re.Pattern[str], text: str, keys: Keys, *, named: bool = True) -> Spans:
    """Find what a pattern's first group names, or would if the text were not cut, and its second says."""
    for number, match in enumerate(pattern.finditer(text)):
        if number > NAMES_LIMIT:
            yield match.start(), len(text)
        elif match[1] is None or keys.hides_in_text(match[1], named=named):
            yield match.span(2)


def _any_names(text: str) -> Spans:
    """Yield where the names before separators are: a project's filter may know any of them."""
    before_last = -1
    for separator in _SEPARATOR.finditer(text):
        end = separator.start()
        before = text[max(end - 90, 0) : end]
        last = end - len(before) + len(before.rstrip("]\"'\\ \t"))
        if last != before_last:
            name = text[max(last - 80, 0) : last]
            yield last - len(name) + len(name.rstrip(_NAME_CHARACTERS)), last
        before_last = last


def _named(text: str, keys: Keys, words: Spans, *, is_whole: bool) -> Spans:
    """Find the values of secret names; ``words`` are where names may be."""
    done = names = 0
    has_source = 'File "' in text
    for number, (first, last) in enumerate(words):
        if number > WORDS_LIMIT or names > NAMES_LIMIT:
            yield first, len(text)
            return
        if first < done or (after := _AFTER_NAME.match(text, last)) is None:
            continue
        is_literal = after["separator"] and QUOTE.match(text, after.end())
        if has_source and not is_literal and _is_source(text, first):
            # A variable that holds it; only a literal says it.
            continue
        names += 1
        before = text[max(first - 60, 0) : first]
        key = text[first - len(before) + len(before.rstrip(_NAME_CHARACTERS)) : last].lstrip("-%+")
        if not _is_secret(text, last - len(key), key, after, keys):
            continue
        start, end = value_of(text, last - len(key), key, after, is_whole=is_whole)
        if not _EMPTY.match(text, start):
            yield start, end
            # A filter may hide what a key says, which may be the name of a value all the same.
            done = last if key.lower() == "key" else end


def _is_secret(text: str, first: int, key: str, after: re.Match[str], keys: Keys) -> bool:
    """Whether what follows the name is its value, and secret."""
    separator = after["separator"]
    if separator == "=" and (first == 0 or text[first - 1] in "?&;#"):
        return keys.hides(key)
    if key.lower() == "key":
        key = _whole_key(text, first, key)
    if separator and separator[-1] == ":" and after["quote"] is None:
        # "card: 4111 1111 1111 1111", but not "session: closed".
        named = text[after.end() : after.end() + 1].isdigit()
        return keys.hides_in_text(key, named=named)
    return keys.hides_in_text(key, named=True)


def _whole_key(text: str, first: int, key: str) -> str:
    """Return "API key" for "key" in "API key: ..."."""
    words = text[max(first - 12, 0) : first].split()
    whole = f"{words[-1]} {key}" if words else key
    return whole if is_strong(whole) else key


def _is_source(text: str, position: int) -> bool:
    """Whether a traceback quotes a line of source here."""
    for _ in range(_SOURCE_LINES):
        start = text.rfind("\n", max(position - _LINE_LIMIT, 0), position) + 1
        line = text[start : start + _LINE_LIMIT].lstrip("| ")
        if line.startswith('File "'):
            return True
        if start == 0 or text[start : start + 4].strip(" |"):
            return False
        position = start - 1
    return False
