"""Hostile records go the whole way: kept, counted, and mailed escaped and bounded, with headers intact."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, QueryDict
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from django_maillog.flush import flush
from django_maillog.handlers import BufferingHandler
from django_maillog.spool.journal import journal
from tests.conftest import mailers
from tests.examples import examples
from tests.log_records import SHOP, make_record, module, raised
from tests.sites import Site
from tests.smtp import SMTPServer
from tests.test_digest import TAGS, Page
from tests.test_records_properties import Hostile, records

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

HEADERS = {
    *(
        "content-type",
        "mime-version",
        "subject",
        "from",
        "to",
        "date",
        "message-id",
        "references",
        "in-reply-to",
    ),
    *("auto-submitted", "x-auto-response-suppress", "list-id", "importance"),
    *(f"x-maillog-{name}" for name in ("batch", "buffer", "reason", "level", "groups", "count")),
}
INJECTION = "first\r\nBcc: eve@example.com\r\n\r\n<script>alert(1)</script>"
MARKUP = (
    """<img src=x onerror="alert('1')"></td></table><a href='javascript:alert(2)'>{{ secret }}{% now %}&lt;"""
)
LARGE = 5_000_000
MARK = "evil"


class Strict(BufferingHandler):
    """Lets nothing go to handleError unseen."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # noqa: PLE0704  # logging calls it while the error is handled


class Slow:
    calls = 0

    def __str__(self) -> str:
        Slow.calls += 1
        time.sleep(0.05)
        return "at last"

    __repr__ = __str__


class Anything:
    """Has every attribute, each of them itself."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: object) -> Any:
        return self


class Nothing:
    """Has no attribute, not even those that everything has."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Unreadable(HttpRequest):
    """A request whose connection is gone."""

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        raise OSError("the client has gone")


class Awkward(Exception):
    """An exception that says nothing of itself."""

    def __getattribute__(self, name: str) -> Any:
        if name in {"with_traceback", "__traceback__"}:  # what a test that makes it needs
            return super().__getattribute__(name)
        raise RuntimeError(name)


def evil(name: str = MARK, /, **fields: Any) -> logging.LogRecord:
    return make_record(name, **fields)


def bare(**fields: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"levelno": logging.ERROR, "msg": MARK, **fields})


def without(*names: str) -> logging.LogRecord:
    record = evil()
    for name in names:
        del record.__dict__[name]
    return record


def failed(error: BaseException) -> logging.LogRecord:
    def view() -> None:
        raise error

    return evil(error=raised(view))


def requested(request: object, **fields: Any) -> logging.LogRecord:
    return evil(request=request, **fields)


shop = module(SHOP)


def cycle() -> BaseException:
    first, second = ValueError(MARK), KeyError(MARK)
    first.__cause__, second.__cause__ = second, first
    return first


def chain(length: int) -> BaseException:
    error: BaseException = ValueError(MARK)
    for number in range(length):
        outer = RuntimeError(f"link {number}")
        outer.__cause__ = error
        error = outer
    return error


def nested(depth: int) -> BaseException:
    error: Exception = ValueError(INJECTION)
    for number in range(depth):
        error = ExceptionGroup(MARKUP, [error, KeyError(number)])
    return error


def noted(notes: object) -> BaseException:
    error = ValueError(MARK)
    error.__notes__ = notes  # type: ignore[assignment]
    return error


def syntax(**fields: Any) -> BaseException:
    error = SyntaxError(MARK)
    error.__dict__.update(fields)
    for name, value in fields.items():
        setattr(error, name, value)
    return error


def deep(depth: int) -> Any:
    value: Any = MARK
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {"evil": MARK}
    value["self"] = [value]
    return value


def meta(**fields: object) -> HttpRequest:
    request = RequestFactory().get("/")
    request.META.update(fields)
    return request


def broken(**fields: Any) -> HttpRequest:
    request = HttpRequest()
    request.__dict__.update(fields)
    return request


def posted() -> HttpRequest:
    request = Unreadable()
    request.method = "POST"
    request.META = {"CONTENT_TYPE": "application/x-www-form-urlencoded", "REQUEST_METHOD": "POST"}
    return request


def with_user(user: object) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = user  # type: ignore[assignment]
    return request


def never() -> Any:
    raise ValueError(MARK)


def spoken(text: str) -> logging.LogRecord:
    """The text as everything that a record says by itself."""
    fields = dict.fromkeys(("name", "function", "pathname", "threadName", "stack_info", "exc_text"), text)
    return evil(
        text, fingerprint=["{{ default }}", text], **fields, **{text: text, "x": [text, {text: text}]}
    )


def thrown(text: str) -> logging.LogRecord:
    """The text as everything that an exception says."""

    class Evil(Exception):
        pass

    Evil.__qualname__ = Evil.__module__ = text[:200]
    error = Evil(text)
    error.add_note(text)
    error.__cause__ = KeyError(text)
    return failed(error)


def asked(text: str) -> logging.LogRecord:
    """The text as everything that a request says."""
    request = RequestFactory().get("/")
    values = QueryDict(mutable=True)
    values.setlist(text[:1_000], [text, text])
    user = User(username=text)
    request.__dict__.update(path=text, method=text, user=user, GET=values, _post=values)
    request.META.update(HTTP_X=text, REMOTE_ADDR=text, QUERY_STRING=f"x={text}")
    return requested(request, status_code=500)


Make = Callable[[], logging.LogRecord]

TEXTS: dict[str, str] = {
    "injection": INJECTION,
    "markup": MARKUP,
    "nul": "before\0after",
    "surrogates": "\ud800 lone \udfff",
    "huge": "x" * LARGE,
    "huge lines": "line\n" * (LARGE // 5),
    "huge wide": "\U0001f600" * (LARGE // 4),
    "control": "\x1b[31mred\x07\x08\x0b\x0c\x1c\x85\u2028\u2029\u202e desrever",
    "empty": "",
    "blank": " \r\n\t ",
    "percent": "100 %s %d %(x)s %",
    "mime": "--=_boundary\r\nContent-Type: text/html\r\n\r\n.\r\n.\r\nQUIT\r\nFrom nobody",
    "encoded word": "=?utf-8?b?PGI+?= =?utf-8?q?=0d=0aBcc=3a?=",
}

KINDS: dict[str, Make] = {
    **{f"a message of {name}": partial(spoken, text) for name, text in TEXTS.items()},
    **{f"an argument of {name}": partial(make_record, "Order %s", text) for name, text in TEXTS.items()},
    **{f"an exception of {name}": partial(thrown, text) for name, text in TEXTS.items()},
    **{f"a request of {name}": partial(asked, text) for name, text in TEXTS.items()},
    "message: an object": lambda: make_record(object()),
    "message: none": lambda: make_record(None),
    "message: bytes": lambda: make_record(b"\xff\x00" + MARKUP.encode()),
    "message: a lazy translation": lambda: make_record(gettext_lazy(MARK)),
    "message: a list": lambda: make_record([MARKUP, {"a": INJECTION}]),
    "message: str() raises": lambda: make_record(Hostile(ValueError)),
    "message: str() recurses": lambda: make_record(Hostile(RecursionError)),
    "arguments: too many": lambda: make_record(MARK, 1, 2),
    "arguments: too few": lambda: make_record("%s %s " + MARK, 1),
    "arguments: of another type": lambda: make_record("%d " + MARK, INJECTION),
    "arguments: a mapping without the key": lambda: make_record("%(evil)s", {"good": 1}),
    "arguments: a mapping": lambda: make_record("%(evil)s", {"evil": MARKUP}),
    "arguments: a list": lambda: bare(msg="%s " + MARK, args=[1]),
    "arguments: no sequence": lambda: bare(msg="%s " + MARK, args=7),
    "arguments: str() raises": lambda: make_record("%s " + MARK, Hostile(ValueError)),
    "arguments: str() has no memory": lambda: make_record("%s " + MARK, Hostile(MemoryError)),
    "arguments: slow": lambda: make_record("%s " + MARK, Slow()),
    "arguments: huge width": lambda: make_record("%5000000d " + MARK, 1),
    "exception: str() raises": lambda: failed(ValueError(Hostile(ValueError))),
    "exception: repr() raises": lambda: failed(KeyError(Hostile(ValueError))),
    "exception: answers nothing": lambda: failed(Awkward()),
    "exception: no traceback": lambda: evil(error=ValueError(MARK)),
    "exception: cyclic chain": lambda: failed(cycle()),
    "exception: long chain": lambda: failed(chain(2_000)),
    "exception: deep group": lambda: failed(nested(40)),
    "exception: wide group": lambda: failed(ExceptionGroup(MARK, [ValueError(n) for n in range(5_000)])),
    "exception: group of huge ones": lambda: failed(ExceptionGroup(MARK, [ValueError("x" * LARGE)] * 3)),
    "exception: notes no list": lambda: failed(noted(7)),
    "exception: notes that raise": lambda: failed(noted([Hostile(ValueError)])),
    "exception: syntax error": lambda: failed(syntax(filename=MARKUP, lineno=10**9, text=None, offset=-5)),
    "exception: syntax error with garbage": lambda: failed(
        syntax(filename=7, lineno="x", text=b"\0", offset=[])
    ),
    "exception: not decoded": lambda: failed(UnicodeDecodeError("utf-8", b"\xff" * 1000, 0, 1, INJECTION)),
    "exception: exit": lambda: failed(SystemExit(MARKUP)),
    "exception: huge number": lambda: failed(ValueError(10**5_000)),
    "extra: a lock": lambda: evil(lock=threading.Lock()),
    "extra: a socket": lambda: evil(socket=socket.socket),
    "extra: a generator": lambda: evil(generator=(n for n in range(3))),
    "extra: has everything": lambda: evil(anything=Anything()),
    "extra: has nothing": lambda: evil(nothing=Nothing()),
    "extra: cyclic": lambda: evil(**cyclic()),
    "extra: deep": lambda: evil(deep=deep(900)),
    "extra: long": lambda: evil(long=list(range(1_000_000))),
    "extra: many": lambda: evil(**{f"key{n}": n for n in range(20_000)}),
    "extra: no numbers": lambda: evil(nan=float("nan"), inf=float("-inf"), huge=10**5_000),
    "extra: keys no texts": lambda: evil(mapping={None: 1, (1, 2): 2, b"x": 3, Nothing: 4}),
    "extra: names of ours": lambda: evil(
        full=1, cut=2, html=3, time=4, level="x", title=[], count=9, buffer="other"
    ),
    "extra: a QuerySet": lambda: evil(users=User.objects.all()),
    "extra: a lazy object that raises": lambda: evil(lazy=SimpleLazyObject(never)),
    "extra: repr() raises": lambda: evil(hostile=Hostile(ValueError)),
    "request: an object": lambda: requested(object()),
    "request: a text": lambda: requested(MARKUP),
    "request: closed": lambda: requested(posted()),
    "request: has everything": lambda: requested(Anything()),
    "request: has nothing": lambda: requested(Nothing()),
    "request: empty": lambda: requested(HttpRequest()),
    "request: half made": lambda: requested(object.__new__(HttpRequest)),
    "request: parts of other types": lambda: requested(broken(META=None, GET=7, path=[], method={}, _post=3)),
    "request: a user that raises": lambda: requested(with_user(SimpleLazyObject(never))),
    "request: a hostile user": lambda: requested(with_user(Nothing())),
    "request: a hostile status": lambda: requested(
        RequestFactory().get("/"), status_code=Hostile(ValueError)
    ),
    "request: large": lambda: requested(
        RequestFactory().post("/", {f"key{n}": "x" * 1_000 for n in range(900)})
    ),
    "record: empty": lambda: logging.makeLogRecord({"levelno": logging.ERROR}),
    "record: from a socket": lambda: bare(
        args=None, exc_info=None, exc_text=f"Traceback\n{INJECTION}", name="shop"
    ),
    "record: level a text": lambda: bare(levelno="40"),
    "record: level none": lambda: bare(levelno=None),
    "record: level huge": lambda: bare(levelno=10**30),
    "record: level negative": lambda: bare(levelno=-5),
    "record: level not a number": lambda: bare(levelno=float("nan")),
    "record: time not a number": lambda: bare(created=float("nan")),
    "record: time infinite": lambda: bare(created=float("inf")),
    "record: time none": lambda: bare(created=None),
    "record: time a text": lambda: bare(created="yesterday"),
    "record: time before 1970": lambda: bare(created=-1.0),
    "record: time far away": lambda: bare(created=1e300),
    "record: time after the last year": lambda: bare(created=1e12),
    "record: name none": lambda: bare(name=None),
    "record: name a number": lambda: bare(name=7),
    "record: name raises": lambda: bare(name=Hostile(ValueError)),
    "record: process of another type": lambda: bare(process="x"),
    "record: process huge": lambda: bare(process=10**30),
    "record: process negative": lambda: bare(process=-(10**30)),
    "record: line of another type": lambda: bare(lineno="x", pathname=7, funcName=None, threadName=Nothing()),
    "record: without fields": lambda: without("name", "process", "created", "lineno", "pathname", "funcName"),
    "record: without message": lambda: without("msg", "args"),
    "record: without level": lambda: without("levelno", "levelname"),
    **{
        f"record: exc_info {info!r:.40}": partial(bare, exc_info=info)
        for info in (
            True,
            (),
            (1, 2, 3),
            (None, None, None),
            "x",
            7,
            ValueError(INJECTION),
            (ValueError, MARK, None),
        )
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[SMTPServer]:
    with SMTPServer() as started:
        yield started


@pytest.fixture
def handler(settings: Settings, spool_dir: Path, server: SMTPServer) -> Iterator[Strict]:
    """A handler with a spool of the test's own, imported when the test says so, and the mail server."""
    settings.MAILLOG_WORKER = "none"
    settings.ADMINS = settings.ADMINS[:1]
    use(server, settings)
    server.envelopes.clear()
    journal.rotate()
    made = Strict()
    made.name = "mail"
    yield made
    made.close()
    journal.rotate()


def use(server: SMTPServer, settings: Settings) -> None:
    if django.VERSION >= (6, 1):
        settings.MAILERS = mailers(server)
    else:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.host, server.port


def check(raw: bytes, *, records: int) -> None:
    """A mail that reports so many records has nothing in it but what we put there."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert len(raw) < 1_000_000
    assert {name.lower() for name in message.keys()} <= HEADERS  # noqa: SIM118
    assert len(message.keys()) == len({name.lower() for name in message.keys()})  # noqa: SIM118
    assert str(message["Subject"]).isprintable()
    assert len(str(message["Subject"])) <= 200
    assert message["To"] == "ada@example.com"
    assert message["X-Maillog-Count"] == str(records)
    for part in message.walk():
        assert part.defects == []
    check_html(content(message, "html"))
    assert "\0" not in content(message, "plain")
    for attachment in message.iter_attachments():
        lines = gzip.decompress(attachment.get_content()).splitlines()
        assert sum(json.loads(line).get("count", 1) for line in lines) == records


def check_html(html: str) -> None:
    assert len(html.encode()) < 90_000
    page = Page(html)
    for tag, attributes in page.tags:
        assert tag in TAGS
        assert not [name for name in attributes if name.startswith("on")]
        assert str(attributes.get("href", "https:")).startswith("https:")


def content(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    text = body.get_content()
    assert isinstance(text, str)
    return text


@pytest.mark.django_db
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_kept_counted_and_mailed(
    kind: str, handler: Strict, server: SMTPServer, spool_dir: Path
) -> None:
    hostile = [KINDS[kind](), KINDS[kind]()]
    started = time.thread_time()  # others on the machine do not count
    for record in hostile:
        handler.handle(record)
    seconds = time.thread_time() - started
    journal.rotate()
    summary = flush()

    assert summary.as_dict() | {"imported": 2, "sent": 1, "pending": 0, "failed": 0} == summary.as_dict()
    assert list(spool_dir.iterdir()) == []  # nothing was set aside
    [envelope] = server.envelopes
    assert isinstance(envelope.content, bytes)
    check(envelope.content, records=2)
    assert seconds < 2


@pytest.mark.django_db
@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_buffer_name_changes_no_header(name: str, handler: Strict, server: SMTPServer) -> None:
    handler.name = TEXTS[name][:150]
    handler.handle(evil())
    journal.rotate()

    assert flush().sent == 1
    [envelope] = server.envelopes
    assert isinstance(envelope.content, bytes)
    check(envelope.content, records=1)


@pytest.mark.django_db
def test_all_kinds_together_are_counted_in_one_bounded_mail(handler: Strict, server: SMTPServer) -> None:
    for make in KINDS.values():
        handler.handle(make())
    journal.rotate()

    assert flush().imported == len(KINDS)
    [envelope] = server.envelopes
    assert isinstance(envelope.content, bytes)
    check(envelope.content, records=len(KINDS))


@settings(
    max_examples=examples(8),
    phases=[Phase.generate],  # to shrink a failure takes minutes
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
    ],
)
@given(st.lists(records(), min_size=5, max_size=20))
@pytest.mark.django_db
def test_any_records_are_counted_and_mailed(
    handler: Strict, server: SMTPServer, made: list[logging.LogRecord]
) -> None:
    server.envelopes.clear()
    for record in made:
        handler.handle(record)
    journal.rotate()

    assert flush().sent == 1
    [envelope] = server.envelopes
    assert isinstance(envelope.content, bytes)
    check(envelope.content, records=len(made))


def test_a_slow_text_is_asked_for_as_rarely_as_by_any_handler(handler: Strict) -> None:
    Slow.calls = 0
    asked_for = Slow()
    handler.handle(make_record("Order %s failed", asked_for))
    first = Slow.calls
    handler.handle(make_record("Order %s failed", asked_for))

    assert (first, Slow.calls) == (1, 2)


@pytest.mark.parametrize("mode", ["none", "thread"])
def test_runaway_recursion_is_mailed(site: Site, smtp: SMTPServer, mode: str) -> None:
    done = site.run(RUNAWAY, env={"MAILLOG_WORKER": mode})
    site.manage("flush_maillogs")

    assert done.stdout == "still here\n"
    assert done.stderr == ""
    assert sum(int(message["X-Maillog-Count"]) for message in smtp.messages) == 3
    text = "".join(content(message, "plain") for message in smtp.messages)
    assert "RecursionError" in text
    assert "frames cut" in text


RUNAWAY = """
import logging, sys

log = logging.getLogger("shop")

def down(depth):
    if depth:
        return down(depth - 1)
    raise RecursionError("deep enough")

def forever():
    return forever() + 1


sys.setrecursionlimit(20_000)
try:
    down(10_000)
except RecursionError:
    log.exception("ten thousand frames")
sys.setrecursionlimit(1_000)
try:
    forever()
except RecursionError:
    log.exception("without end")
    log.error("and after it")
print("still here")
"""
