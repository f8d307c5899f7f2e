"""Tracebacks that came as text: from a queue, a task runner, another host (design, section 5).

Their frames name files, not modules, and no function's first line: the last two parts of a path stand for the
module, and the source line of the frame that fails for its place in the function.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterator
from typing import NamedTuple

from .. import frames
from .keys import Key, as_one, fingerprint_of
from .pages import view_place
from .plain import json_text
from .structured import mapping_of
from .text import TRACEBACK_LIMIT, class_name, exception_of, message_of, text_of, without_colours

_MARK = "Traceback (most recent call last):"
_GROUP_MARK = "Exception Group Traceback"
_STACK_MARK = "Stack (most recent call last):"
_MARGIN = " |+-"
# Between the members of a group.
_RULE = "+--"
_MAX_LINKS = 10
# "shop.errors.OutOfStock: 7 of bread"; the name alone where the value is empty.
_EXCEPTION = re.compile(r"([^\W\d][\w.<>]*+)(?::(?: (.*))?)?$")


class Printed(NamedTuple):
    """An exception as its traceback's text tells it."""

    # The type as tracebacks print it; empty where the text is cut before it.
    kind: str
    value: str
    traceback: str
    # What stood before the traceback; the title is all there is if nothing did.
    message: str
    # What fingerprint and cause are made of.
    signatures: tuple[str, ...]
    causes: tuple[str, ...]
    site: str
    is_in_app: bool


def printed_in(record: logging.LogRecord) -> Printed | None:
    """Return the exception whose traceback a record has as text, in any field; its own counts more."""
    found = _printed_in(record)
    if found is None:
        return None
    exc, _tb = exception_of(record)
    if exc is None or (found.kind, found.value) == (class_name(type(exc)), text_of(exc)):
        return found
    return None


def _printed_in(record: logging.LogRecord) -> Printed | None:
    fields = record.__dict__
    text = fields.get("exc_text")
    if type(text) is str and fields.get("exc_info") is None and (found := read(text)):
        return found._replace(message=message_of(record))
    message = fields.get("msg")
    if type(message) is str:
        if _MARK not in message and not _is_in(fields.get("args")):
            return None
        message = message_of(record)
    mapping = mapping_of(message)
    if mapping is None:
        return read(message) if type(message) is str else None
    for name, value in mapping.items():
        if type(value) is str and (found := read(value)):
            rest = {key: item for key, item in mapping.items() if key != name}
            return found._replace(message=json_text(rest))
    return None


def key_of_printed(printed: Printed, record: logging.LogRecord) -> Key:
    """Return which bug it is, as if the exception were there."""
    page = "" if printed.is_in_app else view_place(record)
    return Key(
        fingerprint_of("printed", *printed.signatures, page),
        as_one("causes", printed.causes),
        printed.site,
    )


def read(text: str) -> Printed | None:
    """Return the exception whose traceback a text holds."""
    return _read(without_colours(text)) if _MARK in text else None


def _is_in(args: object) -> bool:
    values = args if type(args) is tuple else args.values() if type(args) is dict else ()
    # No generator, which takes 0.6 µs of a repeat's 18.
    for value in values:  # noqa: SIM110
        if type(value) is str and _MARK in value:
            return True
    return False


class _Frame(NamedTuple):
    name: str
    source: str
    is_library: bool


class _Block:
    """One exception of the text: its frames, then its type and value."""

    def __init__(self) -> None:
        self.frames: list[_Frame] = []
        self.kind = ""
        self.value: list[str] = []

    def signature(self) -> str:
        own = [frame for frame in self.frames if not frame.is_library] or self.frames
        names = dict.fromkeys(frame.name for frame in own)
        library = "" if own[-1] is self.frames[-1] else self.frames[-1].name
        return " ".join([self.kind, *names, own[-1].source, library])


@functools.lru_cache(maxsize=16)
def _read(text: str) -> Printed | None:
    """Read the text of a traceback, and what stands before it; None if it is no traceback after all."""
    mark = text.index(_MARK)
    start = text.rfind("\n", 0, mark) + 1
    if text[start:mark].strip(_MARGIN) not in ("", "Exception Group"):
        start = mark
    trace = text[start:]
    blocks = [block for block in _blocks(trace[-TRACEBACK_LIMIT:]) if block.frames]
    if not blocks:
        return None
    last = blocks[-1]
    if _GROUP_MARK in trace[:TRACEBACK_LIMIT]:
        # Members follow their group, and which of them failed first does not count.
        last, roots = blocks[0], blocks[1:] or blocks
        signatures = sorted({block.signature() for block in blocks})
    else:
        roots = blocks[:1]
        signatures = [block.signature() for block in blocks[-_MAX_LINKS:]]
    causes = {f"{root.kind} {root.frames[-1].name}": root.frames[-1].name for root in roots}
    return Printed(
        last.kind,
        "\n".join(last.value).strip(),
        trace,
        text[:start].strip(),
        tuple(signatures),
        tuple(sorted(fingerprint_of("cause", cause) for cause in causes)),
        fingerprint_of("site", *sorted(set(causes.values()))),
        any(not frame.is_library for block in blocks for frame in block.frames),
    )


def _blocks(trace: str) -> Iterator[_Block]:
    """Each traceback of the text, in its order: of a chain, the root comes first."""
    block = _Block()
    for section in frames.sections(trace):
        frame = section.frame
        if frame is not None:
            if not block.kind and frame.function:  # a syntax error names a place without a function
                source = section.text.split("\n", 2)[1:2]
                place = f"{'/'.join(re.split(_SEPARATOR, frame.path)[-2:])}:{frame.function}"
                block.frames.append(_Frame(place, "".join(source).strip(_MARGIN), section.kind == "library"))
            continue
        line = "" if _RULE in section.text else section.text.strip(_MARGIN + "\n")
        if _MARK in line:
            yield block
            block = _Block()
        elif line == _STACK_MARK:
            break
        elif block.kind:
            block.value.append(line)
        elif block.frames and (found := _EXCEPTION.match(line)):
            block.kind = found[1]
            block.value.append(found[2] or "")
    yield block


_SEPARATOR = re.compile(r"[\\/]")
