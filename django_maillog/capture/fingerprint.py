"""Which bug a record is about, and what causes it (design, section 5), from code objects, without formatting.

Three refinements. Recursion is folded through other functions, too, so that its depth never counts. The line
is that of the innermost in-app frame: two calls of one library from one function differ, and a library's own
lines, which change with its version, don't count. Where no frame is in-app (the project is installed as a
package), all are.
"""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Iterator
from hashlib import blake2b
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

from ..frames import is_library
from .messages import has_words, normalise
from .text import exception_of, message_of, next_link, text_of

_MAX_LINKS = 10
_MAX_VISITS = 1_000  # exceptions looked at for one record, members of groups included
_MAX_CODES = 10_000
_MAX_MEMORY = 2_000


class Key(NamedTuple):
    """What a record is grouped by: ``ml2:`` and 32 hex digits each.

    The site is where it comes from: the root exception's innermost frame, else logger, function and line of
    the call. ``is_free_text``: the fingerprint came from normalised text alone, so that one site may make any
    number of them.
    """

    fingerprint: str
    cause: str
    site: str = ""
    is_free_text: bool = False


def fingerprint(record: logging.LogRecord) -> Key:
    """Return which bug this record is about; whatever the record holds, it returns something."""
    try:
        fields = record.__dict__
        exc, tb = (None, None) if fields.get("exc_info") is None else exception_of(record)
        key = _of_message(record) if exc is None else _of_exception(exc, tb, record)
        wanted = fields.get("fingerprint")
        return key if wanted is None else _custom(wanted, key, exc)
    except Exception:  # the record's own objects are asked; a coarse key still counts the record
        return _fallback(record)


def route_of(request: object) -> str:
    """Return the URL pattern that matched, "" if none did."""
    route = getattr(getattr(request, "resolver_match", None), "route", None)
    return route if type(route) is str else ""


@functools.lru_cache(maxsize=2048)
def fingerprint_of(*parts: str) -> str:
    """A fingerprint of some texts: ``ml2:`` and 32 hex digits (BLAKE2b)."""
    text = "\x1f".join(parts).encode("utf-8", "backslashreplace")
    return "ml2:" + blake2b(text, digest_size=16).hexdigest()


def _fallback(record: logging.LogRecord) -> Key:
    fields = record.__dict__
    info = fields.get("exc_info")
    kind = type(info[1]).__name__ if type(info) is tuple and len(info) == 3 else ""
    parts = [
        str(value) if type(value) in (str, int) else ""
        for value in (fields.get("name"), fields.get("levelno"))
    ]
    digest = fingerprint_of("fallback", *parts, kind)
    return Key(digest, digest, digest)


def _call_site(record: logging.LogRecord) -> str:
    """Return the site of a record without a traceback: the place that logs."""
    fields = record.__dict__
    return fingerprint_of("call", *(text_of(fields.get(name)) for name in ("name", "funcName", "lineno")))


# What extra={"fingerprint": …} asks for

_DEFAULT = re.compile(r"\{\{ ?default ?\}\}")


def _custom(wanted: object, key: Key, exc: BaseException | None) -> Key:
    parts = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    texts = [text_of(part) for part in parts]
    if not any(texts):
        return key
    if "{{" in "".join(texts):
        if len(texts) == 1 and _DEFAULT.fullmatch(texts[0]):
            return key
        texts = [_DEFAULT.sub(key.fingerprint, text) for text in texts]
    digest = fingerprint_of("custom", *texts)
    # A site of its own: the project has decided which groups there are.
    return Key(digest, digest if exc is None else key.cause, digest)


# Exceptions


class _Code:
    """What is known of a code object; holding it keeps its id from being used again."""

    __slots__ = ("code", "comprehension", "in_app", "name")

    def __init__(self, frame: FrameType) -> None:
        self.code: CodeType = frame.f_code
        qualname: str = getattr(self.code, "co_qualname", self.code.co_name)
        self.comprehension = self.code.co_name in _COMPREHENSIONS
        self.name = f"{_module(frame)}:{_inlined(qualname) if 'comp>' in qualname else qualname}"
        self.in_app = not _is_library(self.code.co_filename, frame)


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
    return is_library(filename)


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


def _of_exception(exc: BaseException, tb: TracebackType | None, record: logging.LogRecord) -> Key:
    chain = _chain(exc, tb, iter(range(_MAX_VISITS)), frozenset())
    return Key(
        fingerprint_of("exception", *chain.signatures),
        chain.causes[0] if len(chain.causes) == 1 else fingerprint_of("causes", *chain.causes),
        chain.sites[0] if len(chain.sites) == 1 else _site_of_several(chain.sites, record),
        chain.is_free_text,
    )


def _site_of_several(sites: list[str], record: logging.LogRecord) -> str:
    return fingerprint_of("sites", *sites) if sites else _call_site(record)


def _chain(
    exc: BaseException | None, tb: TracebackType | None, visits: Iterator[int], above: frozenset[int]
) -> _Chain:
    """Return what the links tell."""
    signatures: list[str] = []
    causes: list[str] = []
    sites: list[str] = []
    is_free_text = False
    while (
        exc is not None
        and id(exc) not in above
        and len(signatures) < _MAX_LINKS
        and next(visits, None) is not None
    ):
        above |= {id(exc)}
        signature, cause, site = _link(exc, tb)
        causes = []
        # A root without a traceback comes from where the link above it was raised.
        sites = [site] if site else sites
        is_free_text = is_free_text or tb is None
        if isinstance(exc, BaseExceptionGroup):
            leaves = _leaves(exc, visits, above)
            signature = "\x1e".join([signature, *leaves.signatures])
            causes, sites = leaves.causes, leaves.sites or sites
            is_free_text = is_free_text or leaves.is_free_text
        causes = causes or [cause]
        signatures.append(signature)
        exc = next_link(exc)
        tb = None if exc is None else exc.__traceback__
    return _Chain(signatures, causes, sites, is_free_text)


def _leaves(group: BaseExceptionGroup[BaseException], visits: Iterator[int], above: frozenset[int]) -> _Chain:
    """Return the set of the members' fingerprints, and their causes and sites."""
    fingerprints: set[str] = set()
    causes: set[str] = set()
    sites: set[str] = set()
    is_free_text = False
    pending: list[BaseException] = list(group.exceptions)
    while pending and next(visits, None) is not None:
        member = pending.pop()
        if isinstance(member, BaseExceptionGroup):
            pending.extend(member.exceptions)
            continue
        chain = _chain(member, member.__traceback__, visits, above)
        fingerprints.add(fingerprint_of("exception", *chain.signatures))
        causes.update(chain.causes)
        sites.update(chain.sites)
        is_free_text = is_free_text or chain.is_free_text
    return _Chain(sorted(fingerprints), sorted(causes), sorted(sites), is_free_text)


def _link(exc: BaseException, tb: TracebackType | None) -> _Link:
    """Return what one exception tells, described once for each place where it is raised."""
    kind = type(exc)
    if tb is None:
        text = f"{kind.__module__}.{kind.__qualname__} {normalise(text_of(exc))}"
        return _Link(text, fingerprint_of("cause", text), "")
    codes: dict[_Code, None] = {}
    crash: TracebackType | None = None
    crash_code: _Code | None = None
    step: TracebackType | None = tb
    while step is not None:
        frame = step.tb_frame
        code = _codes.get(id(frame.f_code)) or _describe(frame)
        if code.in_app:
            codes[code] = None
            crash, crash_code = step, code
        step = step.tb_next
    if crash is None or crash_code is None:
        codes, crash, crash_code = _all_codes(tb)
        code = crash_code
    memory = (kind, code, crash_code, crash.tb_lasti, *codes)
    known = _links.get(memory)
    if known is None:
        known = _describe_link(kind, list(codes), crash, innermost=code, in_app=code is crash_code)
        if len(_links) >= _MAX_MEMORY:
            _links.clear()
        _links[memory] = known
    return known


def _all_codes(tb: TracebackType) -> tuple[dict[_Code, None], TracebackType, _Code]:
    codes: dict[_Code, None] = {}
    while True:
        code = _codes.get(id(tb.tb_frame.f_code)) or _describe(tb.tb_frame)
        codes[code] = None
        if tb.tb_next is None:
            return codes, tb, code
        tb = tb.tb_next


def _describe_link(
    kind: type, codes: list[_Code], crash: TracebackType, *, innermost: _Code, in_app: bool
) -> _Link:
    name = f"{kind.__module__}.{kind.__qualname__}"
    frames = dict.fromkeys(code.name for code in codes)
    library = "" if in_app else innermost.name
    return _Link(
        " ".join([name, *frames, f"+{_offset(crash)}", library]),
        fingerprint_of("cause", f"{name} {innermost.name}"),
        fingerprint_of("site", innermost.name),
    )


def _offset(crash: TracebackType) -> int:
    """Return the line within its function; a comprehension's is its function's."""
    frame = crash.tb_frame
    while frame.f_code.co_name in _COMPREHENSIONS and frame.f_back is not None:
        frame = frame.f_back
    return crash.tb_lineno - frame.f_code.co_firstlineno


# Messages

_messages: dict[tuple[object, ...], Key] = {}


def _of_message(record: logging.LogRecord) -> Key:
    fields = record.__dict__
    template = record.msg
    is_template = type(template) is str and fields.get("args") not in (None, ()) and has_words(template)
    text: str = template if is_template else message_of(record)
    status = fields.get("status_code")
    request = fields.get("request")
    route = "" if request is None else route_of(request)
    identity = (record.name, record.funcName, fields.get("lineno"), is_template, text, status, route)
    # What is not worth remembering: large texts, and statuses that are no numbers.
    rememberable = len(text) <= 1_000 and (status is None or isinstance(status, int))
    known = _messages.get(identity) if rememberable else None
    if known is not None:
        return known
    if request is not None and _is_about_requests(record.name):
        key = _of_parts(record, "request", text_of(record.name), text_of(status), route)
    else:
        words = text if is_template else normalise(text)
        place = (text_of(record.name), text_of(record.funcName))
        kind = "template" if is_template else "message"
        key = _of_parts(record, kind, *place, words, text_of(status), route)
        key = key._replace(is_free_text=not is_template)
    if rememberable:
        if len(_messages) >= _MAX_MEMORY:
            _messages.clear()
        _messages[identity] = key
    return key


def _of_parts(record: logging.LogRecord, *parts: str) -> Key:
    digest = fingerprint_of(*parts)
    return Key(digest, digest, _call_site(record))


def _is_about_requests(logger: object) -> bool:
    """Say whether Django's own messages come from this logger: a client makes up their texts and paths."""
    return logger == "django.request" or text_of(logger).startswith("django.security.")
