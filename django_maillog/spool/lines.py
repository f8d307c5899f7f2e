"""One line of a segment: a record, a count of records that could not be kept, or nothing to import.

The line of a repeat leaves out the host and process of its segment, a title that its message gives, and a
cause that is its fingerprint: here they come back.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any, NamedTuple

from .. import buffers
from ..capture.text import title_of
from .segment import Source

TEXTS = ("logger", "message", "title", "fingerprint", "cause", "host", "buffer")
OPTIONAL = {"traceback": str, "html": str, "pathname": str, "request": dict, "extra": dict}
NUMBERS = (("level", -(2**31), 2**31 - 1), ("process", 0, 2**63 - 1))
MAX_TIME = 32_503_680_000  # the year 3000: a time beyond it is nonsense, and databases refuse some

_decode = json.JSONDecoder().raw_decode  # without what json.loads adds: a storm is read here, line by line

log = logging.getLogger("django_maillog")


class Line(NamedTuple):
    """What a line says: a prepared value, or ``lost`` records of a buffer; neither for a header.

    A bad line counts as a lost record, of no buffer (``""``) if it can't be told which.
    """

    buffer: str = ""
    value: dict[str, Any] | None = None
    lost: int = 0
    is_bad: bool = False


def parse(raw: bytes, source: Source) -> Line:
    """Read one line; those that we can't have written are set aside in their source, with one warning."""
    if not raw:
        return Line()
    try:
        text = raw.decode()
        value, end = _decode(text)
        if end != len(text):
            raise ValueError("something follows the value")
        if b"\\" in raw and (b"\\u0000" in raw or b"\\ud" in raw.lower()):
            value = _clean(value)
        if isinstance(value, dict) and ("configures" in value or "maillog" in value):
            return Line()
        return _checked(value, source)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        if source.set_aside(raw):
            log.warning("line set aside, others may be: segment=%s error=%r", source.id, error)
        return lost_with(raw, source)


def lost_with(raw: bytes, source: Source) -> Line:
    """What a line that can't be imported stands for: one record, of the buffer that it names.

    A line that is broken even there counts for a buffer that its segment's owner had.
    """
    known = [*source.buffers(), *buffers.configured()]
    names = [text.decode(errors="replace") for text in re.findall(rb'"buffer": ?"([^"\\]+)"', raw)]
    named = [name for name in reversed(names) if name in known]
    return Line(buffer=[*named, *known, ""][0][:200], lost=1, is_bad=True)


def _checked(value: dict[str, Any], source: Source) -> Line:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    buffer = str(value["buffer"])[:200]
    if "lost" in value:
        return Line(buffer=buffer, lost=_within(int(value["lost"]), 0, 2**53))
    if "host" not in value:
        value["host"] = source.host
    if "process" not in value:
        value["process"] = source.process
    if "title" not in value:
        value["title"] = title_of(str(value["message"]))
    if "cause" not in value:
        value["cause"] = value["fingerprint"]
    for name in TEXTS:
        if type(value[name]) is not str:
            raise TypeError(f"{name} isn't text")
    for name in OPTIONAL.keys() & value.keys():
        if type(value[name]) is not OPTIONAL[name]:
            raise TypeError(f"{name} isn't a {OPTIONAL[name].__name__}")
    time = float(value["time"])
    if not 0 <= time < MAX_TIME:
        raise ValueError(f"time {time} is out of range")
    value["time"] = time
    for name, low, high in NUMBERS:
        number = value[name]
        if type(number) is not int or not low <= number <= high:
            value[name] = _within(int(number), low, high)
    value["fingerprint"] = value["fingerprint"][:64]
    value["cause"] = value["cause"][:64]
    return Line(buffer, value)


def _within(number: int, low: int, high: int) -> int:
    return number if low <= number <= high else low if number < low else high


def _clean(value: Any) -> Any:
    """The value without what no database takes: NUL and lone surrogates. Our own lines hold none."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value
