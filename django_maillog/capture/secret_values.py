"""Where the value of a secret name begins and ends in a text, whatever its notation."""

from __future__ import annotations

import re

from .secret_shapes import BLANK, end_of

# Characters of a value without quotation marks in which is looked for where it ends, but at a blank.
VALUE_LIMIT = 2_000
_BRACKETS_LIMIT = 600

_CARD = re.compile(r"\d{4}(?:[ -]\d{2,7}){2,4}")
_SCHEME = re.compile(r"(?i:basic|bearer|digest|negotiate|token)[ ]")
QUOTE = re.compile(r"""[bruBRU]{0,2}(\\{0,3}["'])""")
_QUOTED_ENDS = {
    **{mark: re.compile(rf"(?:[^\\{mark}]|\\.)*+", re.DOTALL) for mark in ("'", '"')},
    **{
        "\\" * number + mark: re.compile(rf".*?(?=(?<!\\){chr(92) * 2 * number}{mark}|\Z)", re.DOTALL)
        for mark in ("'", '"')
        for number in (1, 2, 3)
    },
}
_BRACKETS = re.compile(r"""[\[({\])}]""")
# A comma or semicolon ends a value if a blank, the end or another name follows; a closing mark, if no letter.
_RUN_ENDS = re.compile(r"""[\s&(\[{<>]|['")\]}](?!\w)|[,;](?:[\s'"\\]|\Z|[^\W\d][\w.-]{0,50}+[=:])|\Z""")
_HEADER = re.compile(r"(?i:(?:set-|http_)?cookie|(?:proxy-|http_)?authorization)2?")
_HEADER_ENDS = {
    mark: re.compile(rf"[\r\n{mark}]|\\[rn]|\\{{1,3}}[\"']|\Z") for mark in ("", "'", '"')
}  # the end of its line, or of the string that it stands in


def value_of(text: str, first: int, key: str, after: re.Match[str], *, is_whole: bool) -> tuple[int, int]:
    """Return where the value of a name begins and ends."""
    start = after.end()
    if after["separator"] == ":" and after["quote"] is None and _HEADER.fullmatch(key):
        before = text[first - 1 : first]
        return start, end_of(_HEADER_ENDS.get(before, _HEADER_ENDS[""]), text, start)
    if quoted := QUOTE.match(text, start):
        return quoted.end(), _end_of_quoted(text, quoted[1], quoted.end(), is_whole=is_whole)
    if card := _CARD.match(text, start):
        return start, card.end()
    scheme = _SCHEME.match(text, start)
    return start, _end_of_unquoted(text, scheme.end() if scheme else start)


def _end_of_quoted(text: str, mark: str, start: int, *, is_whole: bool) -> int:
    found = _QUOTED_ENDS[mark].match(text, start)
    end = found.end() if found else start
    if end < len(text) or not is_whole:
        return end
    line_end = text.find("\n", start)
    return end if line_end < 0 else line_end


def _end_of_unquoted(text: str, start: int) -> int:
    """A run of characters, with the brackets that follow at once: ``Token('abc')``, ``[...]``, ``<...>``."""
    end = end_of(_RUN_ENDS, text[: start + VALUE_LIMIT], start)
    if end == start + VALUE_LIMIT:
        return end_of(BLANK, text, end)
    following = text[end : end + 1]
    if following == "<" and end == start:
        closing = text.find(">", end)
        return len(text) if closing < 0 else closing + 1
    return _end_of_brackets(text, end) if following and following in "([{" else end


def _end_of_brackets(text: str, start: int) -> int:
    depth = 0
    for number, bracket in enumerate(_BRACKETS.finditer(text, start)):
        depth += 1 if bracket[0] in "([{" else -1
        if depth == 0:
            return bracket.end()
        if number > _BRACKETS_LIMIT:
            break
    return len(text)
