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
from collections.abc import Iterable
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

from .. import frames
from .keys import Key, call_site, fingerprint_of
from .messages import normalise
from .pages import TEMPLATE_CODES, page_place, serves_pages, template_place
from .printed import read
from .text import links, next_link, text_of

_MAX_LINKS = 10
_MAX_VISITS = 1_000  # exceptions looked at for one record, members of groups included
_MAX_CODES = 10_000
_MAX_MEMORY = 2_000


class _Code:
    """What is known of a code object; holding it keeps its id from being used again."""

    __slots__ = ("code", "in_app", "is_template", "name")

    def __init__(self, frame: FrameType) -> None:
        self.code: CodeType = frame.f_code
        qualname: str = getattr(self.code, "co_qualname", self.code.co_name)
        self.name = f"{_module(frame)}:{_inlined(qualname) if 'comp>' in qualname else qualname}"
        self.in_app = not _is_library(self.code.co_filename, frame)
        self.is_template = self.name in TEMPLATE_CODES


# Python 3.12 runs these in the function around them (PEP 709), 3.11 in a frame of their own.
_COMPREHENSIONS = frozenset(["<listcomp>", "<setcomp>", "<dictcomp>"])
_COMPREHENSION = re.compile(r"(?:\.<locals>)?\.?<(?:list|set|dict)comp>")

_codes: dict[int, _Code] = {}
_links: dict[tuple[object, ...], _Link] = {}


def _inlined(qualname: str) -> str:
    return _COMPREHENSION.sub("", qualname).removeprefix(".<locals>.") or "<module>"


def _module(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    if name == "__main__":
        # "python -m shop.jobs" is the module that others import as shop.jobs.
        name = getattr(frame.f_globals.get("__spec__"), "name", None) or name
    return name if isinstance(name, str) else os.path.basename(frame.f_code.co_filename)


def _is_library(filename: str, frame: FrameType) -> bool:
    if filename.startswith("<") and not filename.startswith("<frozen "):  # made by exec: who made it?
        filename = text_of(frame.f_globals.get("__file__", ""))
    return frames.is_library(filename)


def _describe(frame: FrameType) -> _Code:
    if len(_codes) >= _MAX_CODES:
        _codes.clear()
    code = _codes[id(frame.f_code)] = _Code(frame)
    return code


class _Link(NamedTuple):
    """What one exception of a chain tells."""

    # What the fingerprint says of it.
    signature: str
    # Its cause and its site, if it is the root; without a traceback it has no site.
    cause: str
    site: str


class _Chain(NamedTuple):
    """An exception and what led to it; the root of a group has several causes and sites."""

    signatures: list[str]
    causes: list[str]
    sites: list[str]
    is_free_text: bool


class _Walk:
    """The way through the exceptions of one record: how many more may be looked at, and its page."""

    def __init__(self, record: logging.LogRecord) -> None:
        self.visits = iter(range(_MAX_VISITS))
        self.record = record


def key_of_exception(exc: BaseException, tb: TracebackType | None, record: logging.LogRecord) -> Key:
    """Return which bug an exception is that a record reports."""
    chain = _chain(exc, tb, _Walk(record), frozenset())
    return Key(
        fingerprint_of("exception", *chain.signatures),
        chain.causes[0] if len(chain.causes) == 1 else fingerprint_of("causes", *chain.causes),
        chain.sites[0] if len(chain.sites) == 1 else _site_of_several(chain.sites, record),
        chain.is_free_text,
    )


def _site_of_several(sites: list[str], record: logging.LogRecord) -> str:
    return fingerprint_of("sites", *sites) if sites else call_site(record)


def _chain(exc: BaseException | None, tb: TracebackType | None, walk: _Walk, above: frozenset[int]) -> _Chain:
    """Return what the links tell."""
    signatures: list[str] = []
    causes: list[str] = []
    sites: list[str] = []
    is_free_text = False
    while (
        exc is not None
        and id(exc) not in above
        and len(signatures) < _MAX_LINKS
        and next(walk.visits, None) is not None
    ):
        above |= {id(exc)}
        signature, cause, site = _link(exc, tb, walk.record)
        causes = []
        # A root without a traceback comes from where the link above it was raised.
        sites = [site] if site else sites
        is_free_text = is_free_text or (tb is None and not site)
        if isinstance(exc, BaseExceptionGroup):
            leaves = _leaves(exc, walk, above)
            signature = "\x1e".join([signature, *leaves.signatures])
            causes, sites = leaves.causes, leaves.sites or sites
            is_free_text = is_free_text or leaves.is_free_text
        causes = causes or [cause]
        signatures.append(signature)
        exc = next_link(exc)
        tb = None if exc is None else exc.__traceback__
    return _Chain(signatures, causes, sites, is_free_text)


def _leaves(group: BaseExceptionGroup[BaseException], walk: _Walk, above: frozenset[int]) -> _Chain:
    """Return the set of the members' fingerprints, and their causes and sites."""
    fingerprints: set[str] = set()
    causes: set[str] = set()
    sites: set[str] = set()
    is_free_text = False
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
        is_free_text = is_free_text or chain.is_free_text
    return _Chain(sorted(fingerprints), sorted(causes), sorted(sites), is_free_text)


def _link(exc: BaseException, tb: TracebackType | None, record: logging.LogRecord) -> _Link:
    """Return what one exception tells, described once for each place where it is raised."""
    kind = type(exc)
    if tb is None:
        value = text_of(exc)
        if (told := read(value)) is not None:  # the traceback of a process that ran it for this one
            return _Link("\x1e".join(told.signatures), fingerprint_of("causes", *told.causes), told.site)
        text = f"{kind.__module__}.{kind.__qualname__} {normalise(value)}"
        return _Link(text, fingerprint_of("cause", text), "")
    path = _Path(tb)
    template = template_place(path.templates, exc) if path.templates else ""
    page = template or (page_place(record, path.library) if path.is_handed_on else "")
    codes = path.codes if template or path.codes else _all_codes(tb)
    crash = path.crash or (None if template else _last(tb))
    memory = (kind, path.innermost, crash and crash.tb_lasti, page, *codes)
    known = _links.get(memory)
    if known is None:
        known = _describe_link(kind, codes, crash, path.innermost, page)
        if len(_links) >= _MAX_MEMORY:
            _links.clear()
        _links[memory] = known
    return known


class _Path:
    """The way of an exception through the code, from its traceback.

    ``codes`` are the in-app ones, in order and each once, ``crash`` is where the last of them was left, and
    ``innermost`` the last of all; ``library`` are the frames after the crash, ``templates`` those that render
    one. ``is_handed_on``: no in-app frame did more than pass the request on to a library.
    """

    __slots__ = ("codes", "crash", "innermost", "is_handed_on", "library", "templates")

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
                templates, library = [], []
            else:
                library.append(frame)
                if code.is_template:
                    templates.append(frame)
            step = step.tb_next
        self.codes, self.crash, self.innermost = codes, crash, code
        self.templates, self.library = templates, library
        self.is_handed_on = crash is None or _hands_on(crash)


def _all_codes(tb: TracebackType) -> dict[_Code, None]:
    steps = traceback.walk_tb(tb)
    return {_codes.get(id(frame.f_code)) or _describe(frame): None for frame, _line in steps}


def _last(tb: TracebackType) -> TracebackType:
    while tb.tb_next is not None:
        tb = tb.tb_next
    return tb


def _hands_on(crash: TracebackType) -> bool:
    """Say whether an in-app frame only passes a request on: to a view, or to the view's method it extends."""
    if crash.tb_next is None:
        return False
    frame, below = crash.tb_frame, crash.tb_next.tb_frame.f_code
    if below.co_name == frame.f_code.co_name:
        return serves_pages(type(frame.f_locals.get("self")))
    return below.co_qualname == _AS_VIEW


_AS_VIEW = "View.as_view.<locals>.view"


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


def _describe_link(
    kind: type, codes: Iterable[_Code], crash: TracebackType | None, innermost: _Code, page: str
) -> _Link:
    name = f"{kind.__module__}.{kind.__qualname__}"
    names = dict.fromkeys(code.name for code in codes)
    is_library = crash is None or crash.tb_next is not None
    offset, library = "" if crash is None else f"+{_offset(crash)}", innermost.name if is_library else ""
    return _Link(
        " ".join([name, *names, offset, library, page]),
        fingerprint_of("cause", f"{name} {innermost.name}"),
        fingerprint_of("site", innermost.name),
    )


def _offset(crash: TracebackType) -> int:
    """Return the line within its function; a comprehension's is its function's."""
    frame = crash.tb_frame
    while frame.f_code.co_name in _COMPREHENSIONS and frame.f_back is not None:
        frame = frame.f_back
    return crash.tb_lineno - frame.f_code.co_firstlineno
