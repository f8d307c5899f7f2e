"""What led to an error: the records below ``report_level`` of the same request, task or thread."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import gc
import json
import logging
import logging.handlers
import queue
import re
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.signals import request_finished, request_started
from django.db import DatabaseError, connection
from django.http import HttpRequest
from django.test import RequestFactory
from django.views.debug import SafeExceptionReporterFilter

from django_maillog import buffers, handlers
from django_maillog.capture import context
from django_maillog.capture.plain import LINE_BYTES

pytestmark = pytest.mark.usefixtures("request_signals")

Made = Callable[..., logging.Logger]


@pytest.fixture
def spool(spool_dir: Path) -> Callable[[], list[dict[str, Any]]]:
    """The records in the spool, as they were written."""

    def read() -> list[dict[str, Any]]:
        texts = [path.read_text() for path in sorted(spool_dir.glob("*.jsonl"))]
        values = [json.loads(line) for text in texts for line in text.splitlines()]
        return [value for value in values if "message" in value]

    return read


@pytest.fixture
def logger() -> Iterator[Made]:
    """Makes a logger outside the tree with a handler that has these arguments."""
    made = []

    def make(**arguments: Any) -> logging.Logger:
        handler = handlers.BufferingHandler(**{"report_level": "ERROR", "context": 50, **arguments})
        logger = logging.Logger("shop")
        logger.addHandler(handler)
        made.append(handler)
        return logger

    yield make
    for handler in made:
        handler.close()


def report(logger: logging.Logger, message: str = "failed", **extra: Any) -> None:
    """An error that is captured in full."""
    logger.error(message, extra={"fingerprint": f"{message} {time.perf_counter()}", **extra})


def messages(value: dict[str, Any]) -> list[str]:
    return [line["message"] for line in value.get("context", {"lines": []})["lines"]]


@contextlib.contextmanager
def request() -> Iterator[None]:
    """What a WSGI server does around a request."""
    request_started.send(None)
    try:
        yield
    finally:
        request_finished.send(None)


# What is kept


def test_an_error_tells_what_was_logged_before_it(logger: Made, spool: Any) -> None:
    shop = logger()

    with request():
        shop.debug("price of %s is %d", "hat", 7)
        shop.warning("no stock", exc_info=LookupError("hat"))
        report(shop)

    [value] = spool()
    before = value["context"]
    assert before["scope"] == "request"
    assert [{**line, "time": 0} for line in before["lines"]] == [
        {"time": 0, "level": 10, "logger": "shop", "message": "price of hat is 7"},
        {"time": 0, "level": 30, "logger": "shop", "message": "no stock", "exception": "LookupError"},
    ]
    times = [line["time"] for line in before["lines"]] + [value["time"]]
    assert times == sorted(times)
    assert "cut" not in value


def test_the_last_ones_are_kept(logger: Made, spool: Any) -> None:
    shop = logger(context=3)

    with request():
        for number in range(10):
            shop.info("step %d", number)
        report(shop)

    assert messages(spool()[0]) == ["step 7", "step 8", "step 9"]


def test_records_below_the_level_of_reports_are_not_reported(logger: Made, spool: Any) -> None:
    shop = logger(context=0)

    shop.warning("no stock")
    report(shop)

    [value] = spool()
    assert value["message"] == "failed"
    assert "context" not in value


def test_a_repeat_tells_none(logger: Made, spool: Any) -> None:
    shop = logger()

    for _each in range(2):
        shop.info("a step")
        shop.error("failed")

    assert [messages(value) for value in spool()] == [["a step"], []]


def test_two_handlers_keep_their_own(logger: Made, spool: Any) -> None:
    shop, other = logger(context=2), logger(context=1)
    shop.addHandler(other.handlers[0])
    other.handlers[0].setLevel(logging.INFO)

    for message in ("one", "two"):
        shop.info(message)
    shop.debug("three")
    report(shop)

    assert [messages(value) for value in spool()] == [["two", "three"], ["two"]]


def test_a_message_is_formatted_when_it_is_logged(logger: Made, spool: Any) -> None:
    shop = logger()
    basket = ["hat"]

    shop.info("basket: %s", basket)
    basket.clear()
    report(shop)

    assert messages(spool()[0]) == ["basket: ['hat']"]


def test_filters_choose(logger: Made, spool: Any) -> None:
    shop = logger()
    shop.handlers[0].addFilter(lambda record: record.getMessage() != "noise")

    for message in ("noise", "a step"):
        shop.info(message)
    report(shop)

    assert messages(spool()[0]) == ["a step"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filters may replace records since Python 3.12")
def test_a_filter_may_replace_a_record(logger: Made, spool: Any) -> None:
    def replace(record: logging.LogRecord) -> Any:
        return logging.makeLogRecord({**vars(record), "msg": "replaced", "args": None})

    shop = logger()
    shop.handlers[0].addFilter(replace)

    shop.info("a step")
    report(shop)

    assert messages(spool()[0]) == ["replaced"]


def test_secrets_are_hidden(logger: Made, spool: Any, spool_dir: Path) -> None:
    shop = logger()

    shop.info("calling https://api.example/?token=%s&page=2", "hunter2")
    report(shop)

    assert messages(spool()[0]) == ["calling https://api.example/?token=********************&page=2"]


@pytest.mark.parametrize("after", [" ", " x"])
def test_no_cut_shows_a_part_of_a_word(logger: Made, spool: Any, after: str) -> None:
    # Stars take less room than what they hide, so that the end of what was kept shows: where it ends in the
    # midst of a word, nobody can tell whether that is a secret.
    shop = logger()

    shop.info("%s", f"/?token={'x' * 4_900}{after} {'abcdef' * 1_000}")
    report(shop)

    [message] = messages(spool()[0])
    assert message.partition("…")[0] == f"/?token=********************{after}"
    assert message.endswith(" characters cut …")


def test_the_projects_filter_decides(logger: Made, spool: Any) -> None:
    class Filter(SafeExceptionReporterFilter):
        hidden_settings = re.compile("customer")

    http_request = RequestFactory().get("/")
    http_request.exception_reporter_filter = Filter()
    shop = logger()

    shop.info("for /?customer=ada&page=2")
    report(shop, request=http_request)

    assert messages(spool()[0]) == ["for /?customer=********************&page=2"]


# Bad input


def test_huge_messages_are_cut_and_take_no_time(logger: Made, spool: Any) -> None:
    shop = logger()
    huge = "x" * 10_000_000

    began_at = time.perf_counter()
    for _each in range(100):
        shop.info(huge)
    assert time.perf_counter() - began_at < 0.5
    trail = context.current().kept[shop.handlers[0]._context_key]  # type: ignore[attr-defined]
    assert sum(len(line[3]) for line in trail.lines) <= context.TRAIL_LIMIT
    report(shop)

    [value] = spool()
    assert set(messages(value)) == {"x" * 1_000 + "… 9999000 characters cut …"}
    assert len(json.dumps(value)) < LINE_BYTES
    assert value["cut"] == ["context"]


def test_a_hundred_thousand_lines_are_bounded(logger: Made, spool: Any) -> None:
    shop = logger(context=100_000)

    for number in range(100_000):
        shop.info("step %d %s", number, "y" * 100)
    report(shop)

    [value] = spool()
    lines = messages(value)
    assert 100 < len(lines) <= 1_000
    assert lines[-1].startswith("step 99999 ")
    assert sum(map(len, lines)) <= context.CONTEXT_LIMIT
    assert value["cut"] == ["context"]


def test_what_is_short_enough_is_no_cut(logger: Made, spool: Any) -> None:
    shop = logger(context=3)

    for number in range(2_000):
        shop.info("step %d %s", number, "y" * 200)
    report(shop)

    [value] = spool()
    assert [message[:9] for message in messages(value)] == ["step 1997", "step 1998", "step 1999"]
    assert "cut" not in value


def test_a_record_whose_message_logs(logger: Made, spool: Any) -> None:
    shop = logger()

    class Chatty:
        def __str__(self) -> str:
            shop.info("asked")
            return "chatty"

    class Endless:
        def __str__(self) -> str:
            shop.info("again: %s", self)
            return "endless"

    shop.info("%s", Chatty())
    shop.info("%s", Endless())
    report(shop)

    found = messages(spool()[0])
    assert found[:2] == ["asked", "chatty"]
    assert found[-1] == "endless"
    assert len(found) < 20


def test_hostile_records_are_lines_as_well(logger: Made, spool: Any) -> None:
    class Raising:
        def __str__(self) -> str:
            raise OSError("no")

    shop = logger()
    shop.info("%d", "seven")
    shop.info("%s", Raising())
    shop.info(Raising())
    numbers = (number for number in range(3))
    shop.info("%s", numbers)
    shop.info("\0\ud800\x1b[31m")

    class Numbered(logging.LogRecord):
        def getMessage(self) -> Any:
            return 7

    shop.handlers[0].handle(Numbered("shop", 10, "", 1, "", (), None))
    bare = logging.makeLogRecord({"levelno": 10, "msg": "bare"})
    del bare.created, bare.exc_info, bare.name
    shop.handlers[0].handle(bare)
    shop.handlers[0].handle(logging.makeLogRecord({"levelno": 10, "msg": "odd", "created": "now", "name": 7}))
    report(shop)

    [value] = spool()
    lines = value["context"]["lines"]
    assert "could not be formatted" in lines[0]["message"]
    assert "raised OSError" in lines[1]["message"] or "could not be formatted" in lines[1]["message"]
    assert len(lines) == 8
    assert "generator object" in lines[3]["message"]
    assert list(numbers) == [0, 1, 2]
    assert lines[4]["message"] == "\ufffd\ufffd\x1b[31m"
    assert lines[5]["message"] == "7"
    assert (lines[6]["message"], lines[6]["time"]) == ("bare", value["time"])
    assert (lines[7]["message"], lines[7]["logger"], lines[7]["time"]) == ("odd", "7", value["time"])


class Loudness(enum.IntEnum):
    """A project's levels."""

    QUIET = 15
    LOUD = 45


def test_levels_may_be_an_enumerations(logger: Made, spool: Any) -> None:
    shop = logger(flushLevel=Loudness.LOUD)

    shop.handle(logging.makeLogRecord({"name": "shop", "levelno": Loudness.QUIET, "msg": "a step"}))
    shop.handle(logging.makeLogRecord({"name": "shop", "levelno": Loudness.LOUD, "msg": "failed"}))

    (value,) = spool()
    assert (value["message"], value["level"]) == ("failed", 45)
    assert [(line["message"], line["level"]) for line in value["context"]["lines"]] == [("a step", 15)]


def test_a_line_that_can_not_be_kept_goes_to_handle_error(logger: Made, spool: Any) -> None:
    class Handler(handlers.BufferingHandler):
        errors: list[str] = []

        def handleError(self, record: logging.LogRecord) -> None:
            self.errors.append(record.getMessage())

    def fail(record: logging.LogRecord) -> bool:
        raise LookupError("what?")

    handler = Handler(report_level="ERROR", context=1)
    handler.addFilter(fail)

    handler.handle(logging.makeLogRecord({"levelno": 10, "msg": "a step"}))

    assert handler.errors == ["a step"]


def test_what_led_to_an_error_never_takes_the_room_of_its_traceback(logger: Made, spool: Any) -> None:
    shop = logger(context=1_000)
    for number in range(400):
        shop.info("%d %s", number, "\x1b" * 150)

    try:
        raise ValueError("\x1b" * 60_000)
    except ValueError:
        shop.exception("failed", extra={"fingerprint": str(time.perf_counter())})

    [value] = spool()
    assert "Traceback" in value["traceback"]


# Whose they are


def test_a_request_begins_afresh_and_nothing_of_it_is_kept(logger: Made, spool: Any) -> None:
    shop = logger()

    shop.info("at start-up")
    with request():
        shop.info("in the first")
    with request():
        report(shop, "second")
        shop.info("in the second")
    report(shop, "afterwards")

    assert [messages(value) for value in spool()] == [[], []]


def test_a_scope_that_somebody_still_holds_is_empty(logger: Made) -> None:
    # A server's next request may run in a copy of the last one's context.
    with request():
        logger().info("a step")
        scope = context.current()
        assert scope.kept

    assert (scope.kept, scope.at_end) == ({}, [])


def test_ten_thousand_requests_leave_nothing(logger: Made) -> None:
    shop = logger()
    payload = "x" * 1_000
    scopes: weakref.WeakSet[Any] = weakref.WeakSet()

    def serve(number: int) -> None:
        with request():
            for _each in range(3):
                shop.info("%d %s", number, payload)
            http_request = HttpRequest()
            scopes.add(http_request)
            shop.info("%s", http_request, extra={"request": http_request})

    for number in range(10):
        serve(number)
    gc.collect()
    before = len(gc.get_objects())
    for number in range(10_000):
        serve(number)
    gc.collect()

    assert len(scopes) == 0
    assert len(gc.get_objects()) - before < 100
    assert context.current().kept == {}


def test_threads_keep_their_own(logger: Made, spool: Any) -> None:
    shop = logger()
    everybody = threading.Barrier(32)

    def work(number: int) -> None:
        for step in range(20):
            shop.info("thread %d step %d", number, step)
            if step % 7 == 0:
                everybody.wait(30)
        report(shop, f"thread {number} failed")

    threads = [threading.Thread(target=work, args=[number]) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = spool()
    assert len(found) == 32
    for value in found:
        number = value["message"].split()[1]
        assert value["context"]["scope"] == "thread"
        assert messages(value) == [f"thread {number} step {step}" for step in range(20)]


def test_asyncio_tasks_keep_their_own(logger: Made, spool: Any) -> None:
    shop = logger()

    async def job(number: int) -> None:
        shop.info("job %d", number)
        await asyncio.sleep(0)
        await sync_to_async(shop.info)("thread of job %d", number)
        shop.info("job %d again", number)
        report(shop, f"{number}")

    async def main() -> None:
        shop.info("in main")
        await asyncio.gather(*(job(number) for number in range(20)))

    shop.info("before there was a loop")
    asyncio.run(main())

    found = spool()
    assert len(found) == 20
    for value in found:
        number = value["message"]
        assert value["context"]["scope"] == "task"
        assert messages(value) == [f"job {number}", f"thread of job {number}", f"job {number} again"]


def test_threads_that_work_for_tasks_do_not_share_what_was_before_the_loop(logger: Made, spool: Any) -> None:
    shop = logger()

    def work(number: int) -> None:
        shop.info("work %d", number)
        report(shop, f"{number}")

    async def main() -> None:
        await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(8)))

    shop.info("before there was a loop")
    asyncio.run(main())

    assert sorted(messages(value) for value in spool()) == [[f"work {number}"] for number in range(8)]


def test_what_comes_through_a_queue_leads_to_nothing(logger: Made, spool: Any) -> None:
    # All of it is handled in the listener's thread, and nobody there knows whose it was.
    shop = logger()
    records: queue.SimpleQueue[Any] = queue.SimpleQueue()
    sender = logging.Logger("shop")
    sender.addHandler(logging.handlers.QueueHandler(records))
    listener = logging.handlers.QueueListener(records, shop.handlers[0])
    listener.start()

    with request():
        sender.info("in a request")
    with request():
        report(sender)
    listener.stop()

    assert [messages(value) for value in spool()] == [[]]


def test_a_task_within_a_request_has_its_own_and_the_request_goes_on(logger: Made, spool: Any) -> None:
    shop = logger()

    with request():
        shop.info("in the request")
        context.begin("task")
        shop.info("in the task")
        report(shop, "task")
        context.end()
        shop.info("still in the request")
        report(shop, "request")

    found = [(value["context"]["scope"], messages(value)) for value in spool()]
    assert found == [
        ("task", ["in the task"]),
        ("request", ["in the request", "still in the request"]),
    ]


def test_tasks_that_never_end_make_no_chain(logger: Made) -> None:
    shop = logger()
    for _each in range(100):
        context.begin("task")
        shop.info("a step")

    scope: context.Scope | None = context.current()
    length = 0
    while scope is not None:
        length, scope = length + 1, scope.outer
    for _each in range(length):
        context.end()

    assert length <= 2


def test_what_we_do_ourselves_leads_to_nothing(logger: Made, spool: Any) -> None:
    shop = logger(queries=True)

    with buffers.muted():
        shop.info("by our own work")
    logging_ours = logging.Logger("django_maillog.worker")
    logging_ours.addHandler(shop.handlers[0])
    logging_ours.info("ours")
    report(shop)

    assert messages(spool()[0]) == []


# Queries


@pytest.fixture
def fresh_connection(transactional_db: None) -> Iterator[None]:
    """The next query opens a connection."""
    connection.close()
    before = list(connection.execute_wrappers)
    # Of an earlier test it would note how MySQL's session is set up.
    connection.execute_wrappers.clear()
    yield
    connection.execute_wrappers[:] = before


@pytest.mark.usefixtures("fresh_connection")
def test_queries_are_lines_with_their_times_and_without_parameters(logger: Made, spool: Any) -> None:
    shop = logger(queries=True)

    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", ["hunter2"])
        with pytest.raises(DatabaseError):
            cursor.execute("SELECT nothing FROM nowhere")
    with buffers.muted(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    report(shop)

    [value] = spool()
    lines = value["context"]["lines"]
    assert [line["message"].partition(") ")[2] for line in lines] == [
        "SELECT %s",
        "SELECT nothing FROM nowhere",
    ]
    assert [(line["level"], line["logger"]) for line in lines] == [(10, "django.db.backends")] * 2
    assert 0 <= float(lines[0]["message"][1:].partition(" ms) ")[0]) < 1_000
    assert "Error" in lines[1]["exception"]
    assert not connection.force_debug_cursor


@pytest.mark.usefixtures("fresh_connection")
def test_a_wrapper_of_the_project_that_comes_first_is_taken_off_again(logger: Made, spool: Any) -> None:
    def wrapper(execute: Any, *args: Any) -> Any:
        return execute(*args)

    shop = logger(queries=True)

    # The connection is opened within.
    with connection.execute_wrapper(wrapper), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 2")
    report(shop)

    assert wrapper not in connection.execute_wrappers
    assert [message.partition(") ")[2] for message in messages(spool()[0])] == ["SELECT 1", "SELECT 2"]


@pytest.mark.usefixtures("fresh_connection")
def test_no_connection_is_watched_for_handlers_without_queries(logger: Made) -> None:
    logger(queries=False)
    gc.collect()
    before = list(connection.execute_wrappers)

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")

    assert connection.execute_wrappers == before
