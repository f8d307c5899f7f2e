"""The lines of a segment, in both directions: its header, records, and counts of lost ones.

The line of a repeat leaves out the host and process of its segment, a title that its message gives, and a
cause that is its fingerprint: reading it puts them back. A line says its site only where many groups may come
of one, with an exception or free text; else its cause stands for it, which makes a site of its own.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, cast

from .. import buffers
from ..capture.captured import CapturedRecord
from ..capture.plain import Plain, json_line, json_text
from ..capture.prepare import LEVEL_LIMIT, TIME_LIMIT_SECONDS
from ..capture.text import safe_text, title_of
from . import project

FORMAT = 1
IMPORTED = "imported"
OFFSET_DIGITS = 15
BUFFER_CHARACTERS = 200
IN_ALL_REPEATS = frozenset({"time", "level", "logger", "message", "fingerprint"})
# What a record must say, and of what kind other fields are if it has them.
TEXTS = ("buffer", "logger", "message", "title", "fingerprint", "cause", "site", "host")
OPTIONAL = {
    "traceback": str,
    "release": str,
    "html": str,
    "request": dict,
    "extra": dict,
}

# Without what json.loads adds: a storm is read here, line by line.
_decode = json.JSONDecoder().raw_decode
_quoted = json.encoder.encode_basestring

log = logging.getLogger("django_maillog")


class BadSegment(ValueError):
    """A file in the spool folder isn't a segment."""


class NotOurs(ValueError):
    """A segment is another version's, project's or user's, which is left to import it."""


class Origin(Protocol):
    """Where lines are read: what a segment says of those that leave something out, or can't be read."""

    id: str
    host: str
    process: int

    def buffers(self) -> Mapping[str, object]: ...
    def set_aside(self, line: bytes) -> bool: ...


# Headers


def imported_in(header: bytes) -> tuple[int, int]:
    """How far a segment is imported by what its header line says, and where in the line it says so.

    It is written over there after each import, for mails without the database; -1 where it isn't said.
    """
    found = re.search(rb'"%s": ?"(\d{%d})"' % (IMPORTED.encode(), OFFSET_DIGITS), header)
    return (int(found[1]), found.start(1)) if found else (0, -1)


class Header(NamedTuple):
    """What a segment's first line says."""

    id: str
    host: str
    process: int

    @classmethod
    def parse(cls, line: bytes, segment_id: str) -> Header:
        """Raises BadSegment if it is none, NotOurs if the segment is another version's or project's."""
        value = json_object(line)
        if value.get("maillog", FORMAT) != FORMAT:
            raise NotOurs(f"its format is {value['maillog']!r}, this version reads {FORMAT}")
        if "maillog" not in value or value.get("id") != segment_id:
            raise BadSegment("its first line isn't its header")
        if not project.current().wrote(value):
            raise NotOurs(f"another project wrote it: {safe_text(value.get('project'), 200)}")
        try:
            return cls(segment_id, safe_text(value["host"], 255), int(value["process"]) & 0x7FFFFFFF)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadSegment(f"its header is broken: {error!r}") from error

    def line(self) -> bytes:
        """The header as this project writes it."""
        value: dict[str, Any] = {"maillog": FORMAT, **self._asdict(), "time": time.time()}
        return json_line(value | project.current()._asdict() | {IMPORTED: f"{0:0{OFFSET_DIGITS}}"})


def json_object(line: bytes) -> dict[str, Any]:
    """What a line says; raises BadSegment if that isn't an object."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadSegment(f"a line isn't JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadSegment("a line isn't a JSON object")
    return value


# Records, and counts of those that were lost


class Line(NamedTuple):
    """What a line says: a captured record, or ``lost`` records of a buffer; neither for other lines.

    A bad line counts as a lost record, of no buffer (``""``) if it can't be told which.
    """

    buffer: str = ""
    value: CapturedRecord | None = None
    lost: int = 0
    is_bad: bool = False


def encode(captured: CapturedRecord, buffer: str) -> bytes:
    """The line of a record."""
    captured["buffer"] = buffer
    return json_line(captured) if "full" in captured else _encode_repeat(captured)


def _encode_repeat(repeat: CapturedRecord) -> bytes:
    """What json_line makes of it, most of it without an encoder: a logging call takes 17 µs instead of 19.

    The texts are storable already.
    """
    line = (
        f'{{"time":{repeat["time"]!r},"level":{repeat["level"]},"logger":{_quoted(repeat["logger"])},'
        f'"message":{_quoted(repeat["message"])},"fingerprint":{_quoted(repeat["fingerprint"])}'
    )
    for name, value in repeat.items():
        if name not in IN_ALL_REPEATS:
            text = _quoted(value) if type(value) is str else json_text(value)
            line = f'{line},"{name}":{text}'
    return f"{line}}}\n".encode()


def encode_lost(buffer: str, count: int) -> bytes:
    """The line for records of a buffer that could not be kept."""
    return json_line({"lost": count, "buffer": buffer, "time": time.time()})


def parse(raw: bytes, source: Origin, *, only_look: bool = False) -> Line:
    """Read one line; those that we can't have written are set aside in their source, with one warning.

    With ``only_look`` they are left to the import.
    """
    if not raw:
        return Line()
    try:
        text = raw.decode()
        value, end = _decode(text)
        if end != len(text):
            raise ValueError("something follows the value")
        if b"\\" in raw and (b"\\u0000" in raw or b"\\ud" in raw.lower()):
            value = Plain(sys.maxsize, text=sys.maxsize, items=sys.maxsize, depth=sys.maxsize).of(value)
        if not isinstance(value, dict):
            raise TypeError("not an object")
        if "fingerprint" in value:
            return Line(value["buffer"][:BUFFER_CHARACTERS], _record(value, source))
        if "lost" in value:
            return Line(str(value["buffer"])[:BUFFER_CHARACTERS], lost=min(max(0, int(value["lost"])), 2**53))
        if "configures" in value or "maillog" in value:
            return Line()
        raise ValueError("not a record")
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        if not only_look and source.set_aside(raw):
            log.warning("line set aside, others may be: segment=%s error=%r", source.id, error)
        return lost_with(raw, source)


def lost_with(raw: bytes, source: Origin) -> Line:
    """What a line that can't be imported stands for: one record, of the buffer that it names.

    A line that is broken even there counts for a buffer that its segment's owner had.
    """
    known = [*source.buffers(), *buffers.configured()]
    names = [text.decode(errors="replace") for text in re.findall(rb'"buffer": ?"([^"\\]+)"', raw)]
    named = [name for name in reversed(names) if name in known]
    return Line(buffer=[*named, *known, ""][0][:BUFFER_CHARACTERS], lost=1, is_bad=True)


def _record(value: dict[str, Any], source: Origin) -> CapturedRecord:
    """What a line says of a record, with what it left out; raises an error if it can't be ours."""
    value.setdefault("host", source.host)
    value.setdefault("process", source.process)
    value.setdefault("cause", value["fingerprint"])
    value.setdefault("site", value["cause"])
    if "title" not in value:
        value["title"] = title_of(str(value["message"]))
    for name in TEXTS:
        if type(value[name]) is not str:
            raise TypeError(f"{name} isn't text")
    for name, kind in OPTIONAL.items():
        if name in value and type(value[name]) is not kind:
            raise TypeError(f"{name} isn't a {kind.__name__}")
    level, process = value["level"], value["process"]
    if type(level) is not int or type(process) is not int:
        raise TypeError("level or process isn't a whole number")
    if not (0 <= value["time"] < TIME_LIMIT_SECONDS and abs(level) < LEVEL_LIMIT):
        raise ValueError("time or level is out of range")
    if not 0 <= process < 2**63:  # a record may say anything
        value["process"] = 0 if process < 0 else 2**63 - 1
    return cast(CapturedRecord, value)
