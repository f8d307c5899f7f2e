"""A captured record: what a LogRecord told, in the one shape that spool, intake, outbox and digest share."""

from __future__ import annotations

from typing import Any, Required, TypedDict


class CapturedException(TypedDict):
    """The type as tracebacks print it, and the value's text."""

    type: str
    value: str


class CapturedRequest(TypedDict, total=False):
    """What is known of the request and isn't secret; a repeat has its first three fields only."""

    method: str
    path: str
    status_code: int
    route: str
    view: str
    user: str
    remote_addr: str
    GET: dict[str, Any]
    POST: dict[str, Any]
    META: dict[str, Any]


class CapturedLine(TypedDict, total=False):
    """A record below the level of reports: what is kept of it."""

    time: Required[float]
    level: Required[int]
    logger: Required[str]
    message: Required[str]
    # The type of the exception that it was logged with.
    exception: str


class CapturedContext(TypedDict):
    """What was logged before a record in the same scope: a "request", a "task" or a "thread"."""

    scope: str
    lines: list[CapturedLine]


class CapturedRecord(TypedDict, total=False):
    """All values are plain and storable. A repeat has the first two groups of fields, and its request line.

    ``spool.lines`` puts back what the line of a repeat leaves out: ``host``, ``process``, ``title``,
    ``cause`` and ``site``.
    """

    # Where it is collected: in the spool only.
    buffer: str
    # Seconds since 1970.
    time: Required[float]
    level: Required[int]
    logger: Required[str]
    message: Required[str]
    # A stored row's group has it.
    fingerprint: str

    title: str
    cause: str
    # Where it comes from, since one site makes only so many groups an hour; with arguments its fingerprint.
    site: str
    # The title of its site's overflow group, where it is counted there; in no line and no row.
    overflow: str
    host: str
    process: int
    # What MAILLOG_RELEASE says.
    release: str

    # Everything that could be had was captured.
    full: bool
    request: CapturedRequest
    pathname: str
    lineno: int
    function: str
    template: str
    thread: str
    task: str
    process_name: str
    exception: CapturedException
    traceback: str
    # The template, or the view and route, where no frame is the project's.
    place: str
    stack_info: str
    extra: dict[str, Any]
    # Of a handler with ``context``.
    context: CapturedContext
    # What the handler's formatter made of it.
    formatted: str
    # Django's technical report.
    html: str
    # The names of fields that are not shown whole.
    cut: list[str]

    # A stored row that stands for several: how many, until when, how often each message and exception.
    count: int
    last_time: float
    messages: dict[str, int]
    titles: dict[str, int]
