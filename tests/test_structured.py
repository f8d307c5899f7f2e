"""Messages that are mappings, or the JSON of one."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from pythonjsonlogger.json import JsonFormatter

from django_maillog.capture.fingerprint import fingerprint

from .log_records import brief, full, key_of, make_record, raised
from .test_printed import queued

Form = Callable[[dict[str, Any]], object]
FORMS: list[Form] = [dict, OrderedDict, json.dumps]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"event": "payment_failed", "user": 1}, {"event": "payment_failed", "user": 2}),
        ({"event": "payment_failed", "user": 1}, {"user": "x", "event": "payment_failed"}),
        ({"message": "Order 7 failed"}, {"message": "Order 8 failed"}),
        ({"msg": "Order 7 failed", "to": None}, {"msg": "Order 8 failed", "to": ["a"]}),
        ({"order": 7, "state": {"a": 1}}, {"order": 8, "state": {}}),
        ({"code": "E17", "7": 1}, {"code": "E17", "8": 1}),
    ],
)
def test_one_bug(
    form: Callable[[dict[str, Any]], object], first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert key_of(form(first)) == key_of(form(second))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"event": "payment_failed", "user": 1}, {"event": "refund_failed", "user": 1}),
        ({"event": "payment_failed", "user": 1}, {"event": "payment_failed", "order": 1}),
        ({"message": "Order 7 failed"}, {"message": "Order 7 is late"}),
        ({"msg": "Order 7 failed"}, {"msg": "Order 7 is late"}),
        ({"event": "failed", "code": "E17"}, {"event": "failed", "code": "E18"}),
        ({"code": 17}, {"code": 18}),
        ({"order": 7}, {"customer": 7}),
    ],
)
def test_two_bugs(
    form: Callable[[dict[str, Any]], object], first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert key_of(form(first)) != key_of(form(second))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("mapping", "title"),
    [
        ({"user": 7, "event": "payment_failed"}, "payment_failed"),
        ({"code": 42, "event": "payment_failed"}, "payment_failed (code 42)"),
        ({"level": "error", "message": "Order 7 failed"}, "Order 7 failed"),
        ({"msg": "Order 7 failed"}, "Order 7 failed"),
        ({"code": "E17"}, "code E17"),
    ],
)
def test_it_is_titled_by_what_it_says(form: Form, mapping: dict[str, Any], title: str) -> None:
    assert full(make_record(form(mapping)))["title"] == title
    assert brief(make_record(form(mapping)))["title"] == title


def test_one_that_says_nothing_is_titled_by_its_text() -> None:
    assert full(make_record({"order": 7}))["title"] == "{'order': 7}"
    assert full(make_record('{"order": 7}'))["title"] == '{"order": 7}'


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mapping", [{"event": "no bread"}, {"msg": "no milk"}, {"code": 7}, {"order": 7}])
def test_whatever_it_says_is_free_text(form: Form, mapping: dict[str, Any]) -> None:
    assert key_of(form(mapping)).is_free_text


@pytest.mark.parametrize(
    "text", ["{", "{}", "{not json}", "{[", '{"a":' * 50_000 + "1" + "}" * 50_000, "{'a': 1}"]
)
def test_what_is_no_json_is_a_text(text: str) -> None:
    assert key_of(text).is_free_text
    assert full(make_record(text))["title"]


class Failing(dict[str, Any]):
    def get(self, key: str, default: object = None) -> Any:
        raise LookupError


def test_a_mapping_that_fails_costs_no_record() -> None:
    assert full(make_record(Failing(a=1)))["title"]


@pytest.fixture
def structured() -> Iterator[Callable[..., Any]]:
    """A configured structlog, and what its logger says."""

    def configured(*processors: Any) -> Any:
        structlog.configure(
            processors=processors,
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )
        return structlog.get_logger("structured")

    yield configured
    structlog.reset_defaults()


MOONS: dict[str, int] = {}
RENDERERS = {
    "json": (structlog.processors.format_exc_info, structlog.processors.JSONRenderer()),
    "for a formatter": (structlog.stdlib.ProcessorFormatter.wrap_for_formatter,),
}


@pytest.mark.parametrize("processors", RENDERERS.values(), ids=RENDERERS)
def test_events_of_structlog(
    structured: Callable[..., Any], processors: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = structured(structlog.stdlib.add_log_level, *processors)
    log.error("payment_failed", user=1)
    log.error("payment_failed", user=2)
    log.error("refund_failed", user=2)
    first, second, third = caplog.records

    assert key(first) == key(second) != key(third)
    assert full(first)["title"] == "payment_failed"


@pytest.mark.parametrize("processors", RENDERERS.values(), ids=RENDERERS)
def test_texts_of_errors_as_events_are_held_to_the_share_of_their_site(
    structured: Callable[..., Any], processors: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = structured(*processors)
    for word in ("bread", "milk"):
        log.error(f"{word} is out")

    first, second = (full(record) for record in caplog.records)

    assert first["fingerprint"] != second["fingerprint"]
    assert first["site"] == second["site"]


@pytest.mark.parametrize("processors", RENDERERS.values(), ids=RENDERERS)
def test_exceptions_of_structlog(
    structured: Callable[..., Any], processors: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = structured(*processors)
    try:
        MOONS["Mars"]
    except KeyError:
        log.exception("planet_failed", user=1)
        (record,) = caplog.records
        value = full(record)

    assert value["title"] == "KeyError: 'Mars'"
    assert "planet_failed" in value["message"]
    assert 'MOONS["Mars"]' in value["traceback"]


def test_a_json_formatter_in_front_of_a_queue() -> None:
    def made(message: str, error: BaseException | None = None) -> logging.LogRecord:
        handled = make_record(message, error=error)
        formatter = JsonFormatter("%(message)s %(name)s")
        handled.msg, handled.exc_info = formatter.format(handled), None
        handled.exc_text = None
        return queued(handled)

    assert key(made("Order 7 failed")) == key(made("Order 8 failed"))
    assert full(made("Order 7 failed"))["title"] == "Order 7 failed"
    failed = full(made("Order 7 failed", raised(lambda: 1 / 0)))
    assert failed["title"] == "ZeroDivisionError: division by zero"
    assert "Order 7 failed" in failed["message"]


def key(record: logging.LogRecord) -> str:
    return fingerprint(record).fingerprint
