"""Which bug an exception is, from the code objects of its traceback, without formatting (design, section 5).

Four refinements. Recursion is folded through other functions, too, so that its depth never counts. The line
is that of the innermost in-app frame: two calls of one library from one function differ, and a library's own
lines, which change with its version, don't count. Where the code that fails is only libraries', the template
or the view stands for what the project wrote (``pages``). Where no frame is in-app, all frames count: the
project may be installed as a package.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import traceback
from functools import lru_cache
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

from .. import frames
from .keys import Key, as_one, call_site, fingerprint_of
from .messages import normalise
from .nameless import NAMELESS, contents_of
from .pages import TEMPLATE_CODES, hands_on, page_place, template_place
from .printed import read
from .text import links, text_of

_MAX_LINKS = 10
_MAX_VISITS = 1_000  # exceptions looked at for one record, members of groups included
_MAX_CODES = 10_000


class _Code:
    """What is known of a code object; holding it keeps its id from being used again."""

    def __init__(self, frame: FrameType) -> None:
        self.code: CodeType = frame.f_code
        qualname: str = getattr(self.code, "co_qualname", self.code.co_name)
        self.name = f"{_module(frame)}:{_inlined(qualname) if 'comp>' in qualname else qualname}"
        self.in_app = not _is_library(self.code.co_filename, frame)
        function = _function(frame).f_code
        if self.in_app and function.co_name in NAMELESS:
            self.name += f"({contents_of(function)})"
        self.is_template = self.name in TEMPLATE_CODES


# Python 3.12 runs these in the function around them (PEP 709), 3.11 in a frame of their own.
_COMPREHENSIONS = frozenset(["<listcomp>", "<setcomp>", "<dictcomp>"])
_COMPREHENSION = re.compile(r"(?:\.<locals>)?\.?<(?:list|set|dict)comp>")

_codes: dict[int, _Code] = {}


def _inlined(qualname: str) -> str:
    return _COMPREHENSION.sub("", qualname).removeprefix(".<locals>.") or "<module>"


def _module(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    if name == "__main__":
        # "python -m shop.jobs" is the module that others import as shop.jobs.
        name = getattr(frame.f_globals.get("__spec__"), "name", None) or name
    if not isinstance(name, str):
        return os.path.basename(frame.f_code.co_filename)
    return _template(name) if "/" in name or "\\" in name else name


def _template(path: str) -> str:
    """Return the name of a template of Jinja2's, whose path is its module's name: releases have folders."""
    parts = re.split(r"[\\/]", path)
    start = parts.index("templates") + 1 if "templates" in parts[:-1] else -2
    return "/".join(parts[start:])


def _is_library(filename: str, frame: FrameType) -> bool:
    if filename.startswith("<") and not filename.startswith("<frozen "):  # made by exec: who made it?
        filename = text_of(frame.f_globals.get("__file__", ""))
    return frames.is_library(filename)


def _describe(frame: FrameType) -> _Code:
    if len(_codes) >= _MAX_CODES:
        _codes.clear()
    code = _Code(frame)
    if "__jinja_exception__" not in frame.f_globals:  # Jinja2 makes a code for each error
        _codes[id(frame.f_code)] = code
    return code


class _Link(NamedTuple):
    """What one exception tells: its part of the fingerprint; if it is the root, its cause and site.

    Without a traceback it has no site.
    """

    signature: str
    cause: str
    site: str


class _Chain(NamedTuple):
    """An exception and what led to it; the root of a group has several causes and sites."""

    signatures: list[str]
    causes: list[str]
    sites: list[str]


class _Walk:
    """The way through the exceptions of one record."""

    def __init__(self, record: logging.LogRecord) -> None:
        self.record = record
        self.visits = iter(range(_MAX_VISITS))
        # Whether the text of an exception counted, for want of a traceback.
        self.is_free_text = False


def key_of_exception(exc: BaseException, tb: TracebackType | None, record: logging.LogRecord) -> Key:
    """Return which bug an exception is that a record reports."""
    walk = _Walk(record)
    signatures, causes, sites = _chain(exc, tb, walk, frozenset())
    return Key(
        fingerprint_of("exception", *signatures),
        as_one("causes", causes),
        as_one("sites", sites) if sites else call_site(record),
        walk.is_free_text,
    )


def _chain(exc: BaseException, tb: TracebackType | None, walk: _Walk, above: frozenset[int]) -> _Chain:
    """Return what the links tell, but for those that a group is below."""
    signatures: list[str] = []
    causes: list[str] = []
    sites: list[str] = []
    for link in itertools.islice(links(exc), _MAX_LINKS):
        if id(link) in above or next(walk.visits, None) is None:
            break
        above |= {id(link)}
        signature, cause, site = _link(link, tb if link is exc else link.__traceback__, walk)
        causes = [cause]
        # A root without a traceback comes from where the link above it was raised.
        sites = [site] if site else sites
        if isinstance(link, BaseExceptionGroup):
            leaves = _leaves(link, walk, above)
            signature = "\x1e".join([signature, *leaves.signatures])
            causes, sites = leaves.causes or causes, leaves.sites or sites
        signatures.append(signature)
    return _Chain(signatures, causes, sites)


def _leaves(group: BaseExceptionGroup[BaseException], walk: _Walk, above: frozenset[int]) -> _Chain:
    """Return the set of the members' fingerprints, and their causes and sites."""
    fingerprints: set[str] = set()
    causes: set[str] = set()
    sites: set[str] = set()
    pending: list[BaseException] = list(group.exceptions)
    while pending and next(walk.visits, None) is not None:
        member = pending.pop()
        if isinstance(member, BaseExceptionGroup):
            pending.extend(member.exceptions)
            continue
        chain = _chain(member, member.__traceback__, walk, above)
        fingerprints.add(fingerprint_of("exception", *chain.signatures))
        causes.update(chain.causes)
        sites.update(chain.sites)
    return _Chain(sorted(fingerprints), sorted(causes), sorted(sites))


def _link(exc: BaseException, tb: TracebackType | None, walk: _Walk) -> _Link:
    kind: Any = type(exc)
    if tb is None:
        value = text_of(exc)
        if (told := read(value)) is not None:  # the traceback of a process that ran it for this one
            return _Link("\x1e".join(told.signatures), fingerprint_of("causes", *told.causes), told.site)
        walk.is_free_text = True
        text = f"{kind.__module__}.{kind.__qualname__} {normalise(value)}"
        return _Link(text, fingerprint_of("cause", text), "")
    path = _Path(tb)
    template = template_place(path.templates, exc)
    page = template or (page_place(walk.record, path.library) if path.is_handed_on else "")
    codes, crash = path.codes, path.crash
    if not template:
        codes, crash = codes or _all_codes(tb), crash or path.last
    offset = None if crash is None else _offset(crash)
    is_library = crash is None or crash.tb_next is not None
    return _described(kind, tuple(codes), offset, path.innermost, page, is_library)


@lru_cache(maxsize=2_000)
def _described(
    kind: type, codes: tuple[_Code, ...], offset: int | None, innermost: str, page: str, is_library: bool
) -> _Link:
    name = f"{kind.__module__}.{kind.__qualname__}"
    place = "" if offset is None else f"+{offset}"
    library = innermost if is_library else ""
    names = dict.fromkeys(code.name for code in codes)
    return _Link(
        " ".join([name, *names, place, library, page]),
        fingerprint_of("cause", f"{name} {innermost}"),
        fingerprint_of("site", innermost),
    )


class _Path:
    """The way of an exception through the code, from its traceback.

    ``codes`` are the in-app ones, in order and each once, ``crash`` is where the last of them was left;
    ``last`` is where the last code of all was left, and ``innermost`` its name. ``library`` are the frames
    after the crash, ``templates`` those that render one. ``is_handed_on``: no in-app frame did more than pass
    the request on to a library.
    """

    def __init__(self, tb: TracebackType) -> None:
        codes: dict[_Code, None] = {}
        templates: list[FrameType] = []
        library: list[FrameType] = []
        crash: TracebackType | None = None
        step: TracebackType | None = tb
        while step is not None:
            frame = step.tb_frame
            code = _codes.get(id(frame.f_code)) or _describe(frame)
            if code.in_app:
                codes[code] = None
                crash = step
                if library:
                    templates, library = [], []
            else:
                library.append(frame)
                if code.is_template:
                    templates.append(frame)
            last, step = step, step.tb_next
        self.codes, self.crash, self.last, self.innermost = codes, crash, last, code.name
        self.templates, self.library = templates, library
        self.is_handed_on = crash is None or hands_on(crash.tb_frame, library)


def _all_codes(tb: TracebackType) -> dict[_Code, None]:
    steps = traceback.walk_tb(tb)
    return {_codes.get(id(frame.f_code)) or _describe(frame): None for frame, _line in steps}


def place_of(exc: BaseException, tb: TracebackType | None, record: logging.LogRecord) -> str:
    """Return the template, or the view and route, where the frames don't tell what the project wrote."""
    library: list[FrameType] = []
    for link in itertools.islice(links(exc), _MAX_LINKS):
        trace = tb if link is exc else link.__traceback__
        if trace is None:
            continue
        path = _Path(trace)
        if template := template_place(path.templates, link):
            return template
        if not path.is_handed_on:
            return ""
        library = library or path.library
    return page_place(record, library)


def _offset(crash: TracebackType) -> int:
    """Return the line within its function; a comprehension's is its function's."""
    return crash.tb_lineno - _function(crash.tb_frame).f_code.co_firstlineno


def _function(frame: FrameType) -> FrameType:
    """Return the frame of the function that a comprehension is in, else the frame itself."""
    while frame.f_code.co_name in _COMPREHENSIONS and frame.f_back is not None:
        frame = frame.f_back
    return frame
