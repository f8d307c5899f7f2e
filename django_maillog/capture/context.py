"""What led to a record: lines that were logged before it in the same request, task or thread.

A scope is what belongs together. ``begin`` and ``end`` mark a request's or a task's; what happens outside of
them belongs to the asyncio task or thread that logs. Scopes live in a context variable: nothing is locked or
written, and a scope goes with the context that holds it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

from .. import compat
from .captured import CapturedLine, CapturedRecord
from .prepare import LEVEL_LIMIT, TIME_LIMIT_SECONDS
from .secrets import MARGIN, cleansed
from .text import class_name, exception_of, message_of, safe_text

# Characters of a line's message.
LINE_LIMIT = 1_000
# Lines of a handler in a scope, whatever it asks for.
LINES_LIMIT = 1_000
# Characters of their messages, and of those that travel with a record.
TRAIL_LIMIT = 128_000
CONTEXT_LIMIT = 64_000
# What a line counts for there besides its message.
LINE_CHARACTERS = 64
_NAME_LIMIT = 200

# A record below the level of reports, neither checked nor cleansed yet: time, level, logger, message, the
# length of the whole message, the type of its exception. A named tuple takes 0.3 µs more to make.
Line = tuple[Any, Any, Any, str, int, str]


class Trail:
    """The last lines of one handler in one scope."""

    __slots__ = ("is_cut", "lines", "size")

    def __init__(self, limit: int) -> None:
        self.lines: deque[Line] = deque(maxlen=min(limit, LINES_LIMIT))
        self.size = 0  # characters that came since it was shortened
        self.is_cut = False  # lines went since they were too long, not too many

    def add(self, line: Line) -> None:
        """Add a line; too many characters push out the oldest lines."""
        self.lines.append(line)
        self.size += len(line[3])
        if self.size > TRAIL_LIMIT:
            self._shorten()

    def _shorten(self) -> None:
        """Keep the last lines that take half of the room, so that this is done once in many lines."""
        kept: list[Line] = []
        self.size = 0
        for line in reversed(self.lines.copy()):
            self.size += len(line[3])
            if self.size > TRAIL_LIMIT // 2 and kept:
                self.is_cut = True
                break
            kept.append(line)
        self.lines = deque(reversed(kept), maxlen=self.lines.maxlen)


class Scope:
    """A request, a task, or what one asyncio task or thread does outside of them, with what is kept of it.

    ``kept`` is what each handler keeps, by the handler's own key; ``at_end`` is called when it ends.
    """

    __slots__ = ("_task", "_thread", "at_end", "is_begun", "is_open", "kept", "kind", "outer")

    def __init__(self, kind: str, *, is_begun: bool = False, outer: Scope | None = None) -> None:
        self.kind = kind
        self.is_begun = is_begun  # by ``begin``
        self.is_open = is_begun  # and not ended
        self.outer = outer
        self.kept: dict[object, Any] = {}
        self.at_end: list[Callable[[], None]] = []
        task = _current_task()
        self._task = None if task is None else weakref.ref(task)
        self._thread = _thread_number()

    def is_here(self) -> bool:
        """Whether a scope that nobody began is that of the running asyncio task or thread.

        Others inherit the context variable: tasks and ``sync_to_async`` copy the context of whoever starts
        them. A thread that works for an asyncio task shares its scope.
        """
        loop = _running_loop()
        if loop is None:
            return self._thread == _thread_number() or self._task is not None
        return self._task is not None and self._task() is asyncio.current_task(loop)

    def close(self) -> None:
        """Forget everything, after ``at_end`` has had it."""
        self.is_open = False
        for call in self.at_end:
            call()
        self.at_end = []
        self.kept = {}


_running_loop = asyncio._get_running_loop
_thread_number = threading.get_ident
_scope: ContextVar[Scope | None] = ContextVar("django_maillog_scope", default=None)
# Up to Django 6.0 an ASGI request's task does not see what a receiver of ``request_started`` sets. It sees
# the object that Django's ASGIHandler enters for each request, and so does all that the request starts.
_IS_EXACT = compat.RECEIVERS_SHARE_CONTEXT
_of_asgi: weakref.WeakKeyDictionary[ThreadSensitiveContext, Scope] = weakref.WeakKeyDictionary()


def begin(kind: str) -> None:
    """A request or task begins: what is logged from now on in this context belongs to it."""
    before, owner = _scope.get(), _asgi_request()
    if before is not None and before.kind == kind == "request":
        if owner is None or not _IS_EXACT:
            # It never ended; or a server runs this one in a copy of the context of the connection's last
            # one, which is about to.
            before.close()
        before = None
    # One within another, no deeper: tasks that never end must not make a chain.
    nests = before is not None and before.is_open and before.outer is None
    scope = Scope(kind, is_begun=True, outer=before if nests else None)
    _scope.set(scope)
    if kind == "request" and owner is not None and not _IS_EXACT:
        _of_asgi[owner] = scope


def end() -> None:
    """The request or task of this context has ended; around it another may go on."""
    scope = _scope.get()
    if scope is None or not scope.is_begun:
        scope = current()
    if scope.is_open:
        scope.close()
        _scope.set(scope.outer)


def current() -> Scope:
    """The scope of what is running now."""
    scope = _scope.get()
    if scope is not None and scope.is_open:
        return scope
    if not _IS_EXACT and (owner := _asgi_request()) is not None:
        request = _of_asgi.get(owner)
        if request is not None and request.is_open:
            _scope.set(request)
            return request
    if scope is None or scope.is_begun or not scope.is_here():
        scope = Scope("thread" if _current_task() is None else "task")
        _scope.set(scope)
    return scope


def _asgi_request() -> ThreadSensitiveContext | None:
    return SyncToAsync.thread_sensitive_context.get(None)


def _current_task() -> asyncio.Task[Any] | None:
    loop = _running_loop()
    return None if loop is None else asyncio.current_task(loop)


def note(key: object, record: logging.LogRecord, limit: int) -> None:
    """Keep what a record says for the handler with this key, which wants so many lines."""
    line = line_of(record)
    scope = current()
    if not scope.is_open and record.thread not in (_thread_number(), None):
        # It comes through a queue: whoever logged it is not here.
        return
    trail: Trail = scope.kept.get(key) or scope.kept.setdefault(key, Trail(limit))
    trail.add(line)


def note_line(key: object, line: Line, limit: int) -> None:
    """The same for a line that was no record."""
    kept = current().kept
    trail: Trail = kept.get(key) or kept.setdefault(key, Trail(limit))
    trail.add(line)


def line_of(record: logging.LogRecord) -> Line:
    """A record as a line: formatted now, since its arguments may change, and bounded."""
    message = message_of(record)
    fields = record.__dict__
    exc = None if fields.get("exc_info") is None else exception_of(record)[0]
    return (
        fields.get("created"),
        fields.get("levelno"),
        fields.get("name"),
        message[: LINE_LIMIT + MARGIN],
        len(message),
        "" if exc is None else class_name(type(exc)),
    )


def attach(captured: CapturedRecord, key: object, record: logging.LogRecord) -> None:
    """Have a captured record tell what this scope has for the handler with this key."""
    scope = current()
    trail = scope.kept.get(key)
    if trail:
        # A copy: another thread of the same request may add to it.
        attach_lines(captured, scope.kind, trail.lines.copy(), record, is_cut=trail.is_cut)


def attach_lines(
    captured: CapturedRecord,
    kind: str,
    lines: Sequence[Line],
    record: logging.LogRecord,
    *,
    is_cut: bool = False,
) -> None:
    """Have a captured record tell the last of these lines, cleansed as ``record`` is."""
    plain: list[CapturedLine] = []
    room = CONTEXT_LIMIT
    for line in reversed(lines):
        found = _plain(line, record, captured["time"])
        room -= len(found["message"]) + LINE_CHARACTERS
        if room < 0:
            is_cut = True
            break
        plain.append(found)
    if plain:
        captured["context"] = {"scope": kind, "lines": plain[::-1]}
    if is_cut:
        captured["cut"] = [*captured.get("cut", []), "context"]


def _plain(line: Line, record: logging.LogRecord, now: float) -> CapturedLine:
    time, level, logger, kept, length, exception = line
    message = cleansed(kept, LINE_LIMIT + MARGIN, record)
    if len(kept) < length and len(message) < LINE_LIMIT:
        # Stars have taken so much room that the end of what was kept shows: half a secret may be there.
        message = message.rpartition(" ")[0]
    if len(message) > LINE_LIMIT or len(kept) < length:
        message = message[:LINE_LIMIT]
        message += f"… {length - len(message)} characters cut …"
    plain: CapturedLine = {
        "time": time if type(time) is float and 0 <= time < TIME_LIMIT_SECONDS else now,
        "level": int(level) if isinstance(level, int) and abs(level) < LEVEL_LIMIT else logging.NOTSET,
        "logger": safe_text(logger, _NAME_LIMIT),
        "message": message,
    }
    if exception:
        plain["exception"] = safe_text(exception, _NAME_LIMIT)
    return plain
