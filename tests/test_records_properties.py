"""Whatever a record holds, it is kept: as a bounded JSON line, storable everywhere, always the same."""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_maillog.capture.fingerprint import fingerprint
from django_maillog.capture.messages import normalise
from django_maillog.capture.plain import json_line
from django_maillog.capture.prepare import capture, capture_repeat
from django_maillog.capture.secrets import Secrets
from django_maillog.capture.text import one_line, safe_text
from django_maillog.spool import lines
from django_maillog.spool.memory import MemorySegment
from tests.examples import examples

REQUIRED = {"time", "level", "logger", "message", "title", "fingerprint", "cause", "host", "process"}
PROPERTIES = settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Everything that a str can hold, lone surrogates and NUL included.
texts = st.text(st.characters(), max_size=200) | st.sampled_from(
    ["", "\x00", "\ud800", "%s", "{{ default }}", "a" * 9_000]
)


class Hostile:
    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error

    __repr__ = __str__
    __bool__ = __len__ = __iter__ = __eq__ = __hash__ = __str__  # type: ignore[assignment]


hostile = st.builds(Hostile, st.sampled_from([ValueError, RecursionError, AttributeError, MemoryError]))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=50) | texts | hostile
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


arguments = st.sampled_from([(), None]) | st.tuples(values) | st.dictionaries(texts, values, max_size=2)


@st.composite
def errors(draw: st.DrawFn) -> BaseException:
    """Exceptions with chains (cycles, too), notes and groups."""
    chain: list[BaseException] = []
    for _ in range(draw(st.integers(1, 5))):
        error: BaseException = draw(st.sampled_from([ValueError, KeyError, OSError]))(draw(values))
        grouped = draw(st.booleans())
        if chain and grouped:
            error = ExceptionGroup(draw(texts), [ValueError(draw(texts)), OSError(draw(scalars))])
        if draw(st.booleans()):
            error.add_note(draw(texts))
        try:
            if draw(st.booleans()):
                raise error
        except Exception:
            pass
        chain.append(error)
    for error in chain:
        error.__context__ = draw(st.sampled_from(chain))
        error.__suppress_context__ = draw(st.booleans())
    return chain[0]


@st.composite
def records(draw: st.DrawFn) -> logging.LogRecord:
    error = draw(st.none() | errors())
    infos: list[Any] = [None, True, (None, None, None), (), "x", error]
    info = draw(st.sampled_from(infos))
    fields: dict[Any, Any] = {
        "msg": draw(texts | values),
        "args": draw(
            st.sampled_from([(), None]) | st.tuples(values) | st.dictionaries(texts, values, max_size=2)
        ),
        "exc_info": (type(error), error, error.__traceback__) if error and draw(st.booleans()) else info,
        "name": draw(texts),
        "levelno": draw(st.sampled_from([10, 40, 50]) | scalars),
        "request": draw(st.none() | values),
        "status_code": draw(values),
        "fingerprint": draw(st.none() | values),
        **draw(st.dictionaries(texts, values, max_size=4)),
    }
    return logging.makeLogRecord(fields)


@PROPERTIES
@given(records(), st.booleans())
def test_any_record_becomes_a_storable_bounded_line(record: logging.LogRecord, full: bool) -> None:
    key = fingerprint(record)
    line = lines.encode(capture(record, key) if full else capture_repeat(record, key), "mail")

    assert fingerprint(record) == key
    for digest in (key.fingerprint, key.cause, key.site):
        assert re.fullmatch(r"ml2:[0-9a-f]{32}", digest)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= 256_001
    text = json.dumps(json.loads(line), ensure_ascii=False)
    assert "\\u0000" not in text.replace("\\\\", "")
    text.encode()  # no lone surrogates
    read = lines.parse(line[:-1], MemorySegment()).value
    assert read is not None
    assert {
        "time",
        "level",
        "logger",
        "message",
        "title",
        "fingerprint",
        "cause",
        "host",
        "process",
    } <= read.keys()
    assert type(read["time"]) is float
    assert type(read["level"]) is int
    assert read["title"].isprintable()
    assert 0 < len(read["title"]) <= 200
    assert ("full" in read) is full


@PROPERTIES
@given(records())
def test_a_repeat_s_line_says_what_a_full_one_says_of_the_same(record: logging.LogRecord) -> None:
    key = fingerprint(record)
    record.created = 7.5
    source = MemorySegment()

    full = lines.parse(lines.encode(capture(record, key), "mail")[:-1], source).value
    repeat = lines.parse(lines.encode(capture_repeat(record, key), "mail")[:-1], source).value

    assert full is not None
    assert repeat is not None
    request = repeat.pop("request", {})
    assert request.items() <= full.get("request", {}).items()
    assert repeat.items() <= full.items()


@PROPERTIES
@given(records())
def test_a_repeat_s_line_is_the_json_of_its_fields(record: logging.LogRecord) -> None:
    repeat = capture_repeat(record, fingerprint(record))

    assert json.loads(lines.encode(repeat, "mail")) == json.loads(json_line(repeat | {"buffer": "mail"}))


@PROPERTIES
@given(values | st.dictionaries(texts, values))
def test_anything_becomes_one_line(value: Any) -> None:
    line = json_line({"value": value})

    assert json.loads(line).keys() == {"value"}
    assert b"\\u0000" not in line.replace(b"\\\\", b"")


@PROPERTIES
@given(texts, st.integers(1, 500))
def test_safe_text_keeps_to_its_limit_and_to_what_fits(text: str, limit: int) -> None:
    safe = safe_text(text, limit)

    assert len(safe) <= limit
    safe.encode()
    assert "\x00" not in safe
    if len(text) <= limit:
        assert len(safe) == len(text)


@PROPERTIES
@given(texts)
def test_a_line_is_printable_and_bounded(text: str) -> None:
    line = one_line(text)

    assert line.isprintable()
    assert len(line) <= 200
    assert line == line.strip()


@PROPERTIES
@given(st.integers(0), st.uuids(), st.datetimes(), st.ip_addresses())
def test_values_do_not_count_in_messages(number: int, uuid: UUID, moment: datetime, address: object) -> None:
    message = f"order {number} of {uuid} failed at {moment.isoformat()} from {address} in /srv/{number}/x"

    assert normalise(message) == "order <*> of <*> failed at <*> from <*> in <*>"


@PROPERTIES
@given(texts, st.text("abcdefgh0123456789", min_size=6, max_size=30), texts)
def test_a_secret_parameter_never_stays(before: str, secret: str, after: str) -> None:
    text = f"{before} https://example.com/?a=b&token={secret} {after}"

    assert f"token={secret}" not in Secrets(None).text(text, 20_000)
