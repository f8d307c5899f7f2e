"""Tracebacks that came as text count as if the exceptions were there."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import pickle
import queue
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from django_maillog.capture.fingerprint import fingerprint
from django_maillog.capture.text import TRACEBACK_LIMIT
from django_maillog.digest.samples import Sample

from .log_records import SHOP, brief, full, make_record, module, raised

Way = Callable[[logging.LogRecord], logging.LogRecord]


def queued(record: logging.LogRecord) -> logging.LogRecord:
    """What a QueueListener gets."""
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logging.handlers.QueueHandler(records).handle(record)
    return records.get_nowait()


def sent(record: logging.LogRecord) -> logging.LogRecord:
    """What a log server makes of what a SocketHandler sends."""
    line = logging.handlers.SocketHandler("127.0.0.1", 0).makePickle(record)
    return logging.makeLogRecord(pickle.loads(line[4:]))


def as_argument(record: logging.LogRecord) -> logging.LogRecord:
    """What RQ makes of a job's failure."""
    text = "".join(traceback.format_exception(record.exc_info[1]))  # type: ignore[index]
    return make_record("[Job %s]: exception raised while executing (%s)\n%s", record.created, "pay", text)


def as_message(record: logging.LogRecord) -> logging.LogRecord:
    return make_record("".join(traceback.format_exception(record.exc_info[1])))  # type: ignore[index]


def as_json(record: logging.LogRecord) -> logging.LogRecord:
    """What a JSON formatter makes of it."""
    text = "".join(traceback.format_exception(record.exc_info[1]))  # type: ignore[index]
    return make_record(json.dumps({"event": record.getMessage(), "exception": text}))


def as_mapping(record: logging.LogRecord) -> logging.LogRecord:
    text = "".join(traceback.format_exception(record.exc_info[1]))  # type: ignore[index]
    return make_record({"event": record.getMessage(), "exception": text})


WAYS = [queued, sent, as_argument, as_message, as_json, as_mapping]


def failure(name: str, *args: Any, **extra: Any) -> logging.LogRecord:
    error = raised(
        getattr(module(SHOP, filename=f"/srv/{extra.pop('folder', 'shop')}/views.py"), name), *args
    )
    return make_record("Order %s failed", args[0], error=error, **extra)


@pytest.mark.parametrize("way", WAYS)
def test_title_exception_place_and_traceback_are_the_exceptions(way: Way) -> None:
    expected = full(failure("buy", -1))
    record = way(failure("buy", -1))

    value = full(record)

    assert value["title"] == expected["title"] == "ValueError: -1 now"
    assert value["exception"] == expected["exception"]
    assert value["traceback"].rstrip() == expected["traceback"].rstrip()
    assert Sample(value, everything=False).where == "srv/shop/views.py:7 in buy"
    assert "Traceback" not in value["message"]
    assert value["cause"] != value["fingerprint"]
    assert not fingerprint(record).is_free_text


@pytest.mark.parametrize("way", WAYS)
def test_a_repeat_has_the_title_and_a_short_message(way: Way) -> None:
    value = brief(way(failure("buy", -1)))

    assert value["title"] == "ValueError: -1 now"
    assert "Traceback" not in value["message"]


@pytest.mark.parametrize("way", WAYS)
def test_values_and_what_stands_around_the_text_do_not_count(way: Way) -> None:
    assert fingerprint(way(failure("buy", -1))) == fingerprint(way(failure("buy", -2)))


def test_the_ways_agree() -> None:
    assert len({fingerprint(way(failure("buy", -1))) for way in WAYS}) == 1


@pytest.mark.parametrize("way", WAYS)
def test_other_code_is_another_bug(way: Way) -> None:
    keys = [fingerprint(way(failure("buy", -1))), fingerprint(way(failure("recursion", 3)))]

    assert keys[0].fingerprint != keys[1].fingerprint
    assert keys[0].cause != keys[1].cause
    assert keys[0].site != keys[1].site


def test_two_places_in_one_function_are_two_bugs_of_one_cause(tmp_path: Any) -> None:
    source = tmp_path / "views.py"
    source.write_text(
        "def buy(n):\n    if n < 0:\n        raise ValueError('low')\n    raise ValueError('high')\n"
    )
    shop = module(source.read_text(), filename=str(source))
    first, second = (fingerprint(queued(make_record("x", error=raised(shop.buy, n)))) for n in (-1, 1))

    assert first.fingerprint != second.fingerprint
    assert first.cause == second.cause


def test_lines_and_folders_of_another_host_do_not_count() -> None:
    here = "".join(traceback.format_exception(raised(module(SHOP).buy, -1)))
    there = here.replace('"/srv/shop/', '"/home/ada/releases/17/shop/').replace(", line 7,", ", line 99,")

    assert here != there
    assert fingerprint(make_record(here)) == fingerprint(make_record(there))


def test_the_whole_chain_counts_and_its_root_is_the_cause() -> None:
    chained, alone = fingerprint(queued(failure("chain", -1))), fingerprint(queued(failure("buy", -1)))

    assert chained.fingerprint != alone.fingerprint
    assert chained.cause == alone.cause
    assert full(queued(failure("chain", -1)))["title"] == "LookupError: -1"


def test_a_group_is_the_set_of_its_members() -> None:
    first, second = (fingerprint(queued(failure("group", numbers))) for numbers in ([-1, 2], [2, -1]))

    assert first == second
    assert first != fingerprint(queued(failure("group", [-1])))
    assert full(queued(failure("group", [-1])))["exception"]["type"] == "ExceptionGroup"


def test_a_recursions_depth_does_not_count() -> None:
    assert fingerprint(queued(failure("recursion", 5))) == fingerprint(queued(failure("recursion", 50)))


def test_a_traceback_that_is_cut_before_its_end_still_tells_its_frames() -> None:
    text = "".join(traceback.format_exception(raised(module(SHOP).buy, -1))).splitlines(keepends=True)
    value = full(make_record("".join(["It failed\n", *text[:-1]])))

    assert value["traceback"] == "".join(text[:-1])
    assert value["title"] == "It failed"


@pytest.mark.parametrize(
    "text",
    [
        "See Traceback (most recent call last): below",
        "Traceback (most recent call last):\nno frame",
        "Traceback",
    ],
)
def test_what_only_speaks_of_a_traceback_is_a_message(text: str) -> None:
    record = make_record(text)

    value = full(record)

    assert "exception" not in value
    assert value["message"] == text
    assert fingerprint(record).is_free_text


def test_a_records_own_exception_counts_more_than_a_text() -> None:
    other = "".join(traceback.format_exception(raised(module(SHOP).recursion, 1)))
    record = make_record(f"The other side says\n{other}", error=raised(module(SHOP).buy, -1))

    assert fingerprint(record) == fingerprint(failure("buy", -1))
    assert other in full(record)["message"]


def test_where_the_text_repeats_the_records_own_exception_the_message_is_what_stands_before_it() -> None:
    record = failure("buy", -1)
    text = "".join(traceback.format_exception(record.exc_info[1]))  # type: ignore[index]
    record.msg, record.args = f"Order failed\n{text}", None

    assert full(record)["message"] == "Order failed"


def work(number: int) -> None:
    if number > 9:
        raise LookupError(number)
    raise ValueError(number)


def test_what_another_process_raised_is_told_by_the_text_in_the_chain() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        errors = [raised(pool.submit(work, number).result) for number in (1, 2, 10)]
    first, second, other = (fingerprint(make_record(error=error)) for error in errors)

    assert first == second
    assert not first.is_free_text
    assert first.cause != other.cause


def test_a_huge_text_is_read_at_its_end_and_in_time() -> None:
    text = "".join(traceback.format_exception(raised(module(SHOP).buy, -1)))
    frame = '  File "/srv/shop/views.py", line 1, in a\n    b\n'
    huge = text.replace("\n", "\n" + frame * (3 * TRACEBACK_LIMIT // len(frame)), 1)

    value = full(make_record(huge))

    assert value["title"] == "ValueError: -1 now"
    assert "traceback" in value["cut"]


LOGURU = """Order 7 failed
Traceback (most recent call last):

  File "/srv/shop/main.py", line 9, in <module>
    buy("k")
    └ <function buy at 0x7f1a>

> File "/srv/shop/views.py", line 6, in buy
    try: price("k")
         └ <function price at 0x7f1b>

  File "/srv/shop/prices.py", line 4, in price
    return {}[name]
              └ 'k'

KeyError: 'k'

"""


def coloured(text: str) -> str:
    for word in ("Order", "Traceback (most recent call last):", "KeyError", "/srv/shop/", "6", "price"):
        text = text.replace(word, f"\x1b[1;31m{word}\x1b[0m")
    return text


@pytest.mark.parametrize("text", [LOGURU, coloured(LOGURU)])
def test_what_loguru_prints_is_read(text: str) -> None:
    value = full(make_record(text))

    assert value["title"] == "KeyError: 'k'"
    assert value["message"] == "Order 7 failed"
    assert Sample(value, everything=False).where == "srv/shop/prices.py:4 in price"


def test_a_title_has_no_colours() -> None:
    assert full(make_record("\x1b[1;31mOrder 7\x1b[0m failed"))["title"] == "Order 7 failed"


def test_the_frame_that_loguru_marks_and_colours_count_like_others() -> None:
    plain = fingerprint(make_record(LOGURU.replace("> File", "  File")))

    assert fingerprint(make_record(LOGURU)) == plain
    assert fingerprint(make_record(coloured(LOGURU))) == plain
    assert fingerprint(make_record(LOGURU.replace("in buy", "in sell"))).fingerprint != plain.fingerprint


REDIS = "MAILLOG_TEST_REDIS_URL"


@pytest.mark.skipif(REDIS not in os.environ, reason=f"{REDIS} names no Redis")
def test_two_failing_jobs_of_rq_are_two_bugs(caplog: pytest.LogCaptureFixture) -> None:
    rq = pytest.importorskip("rq")
    redis = pytest.importorskip("redis")
    with redis.Redis.from_url(os.environ[REDIS]) as connection:
        jobs = rq.Queue(f"maillog-{os.getpid()}", connection=connection)
        for number in (1, 2, 10):
            jobs.enqueue(work, number, result_ttl=0, failure_ttl=1)
        rq.SimpleWorker([jobs], connection=connection).work(burst=True, logging_level="WARNING")
        jobs.delete(delete_jobs=True)

    first, second, other = (
        fingerprint(record) for record in caplog.records if record.levelno == logging.ERROR
    )

    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert first.cause != other.cause
