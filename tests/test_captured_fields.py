"""Each field of a captured record comes through: line, row, and back, as CONTRIBUTING tells it."""

from __future__ import annotations

import typing

import pytest

from django_maillog.capture.captured import CapturedRecord
from django_maillog.intake.record_rows import make_row
from django_maillog.models import Batch, Group, Record
from django_maillog.outbox.contents import as_value
from django_maillog.spool import lines
from django_maillog.spool.memory import MemorySegment
from tests.buffers import NOON

FIELDS = set(CapturedRecord.__annotations__)
# What a stored row's batch and group have, and what only a row of several records has.
OF_OTHERS = {"buffer", "fingerprint", "cause", "site"}
FOLDED = {"count", "last_time", "messages", "titles"}

EVERYTHING: CapturedRecord = {
    "time": NOON.timestamp(),
    "level": 40,
    "logger": "shop",
    "message": "Order 7 failed",
    "fingerprint": "ml2:1",
    "title": "ValueError: no stock",
    "cause": "ml2:2",
    "site": "ml2:3",
    "host": "web1",
    "process": 7,
    "release": "1.4.2",
    "full": True,
    "request": {"method": "POST", "path": "/pay/", "status_code": 500},
    "pathname": "/srv/shop/views.py",
    "lineno": 3,
    "function": "pay",
    "template": "Order %s failed",
    "thread": "MainThread",
    "task": "task-1",
    "process_name": "MainProcess",
    "exception": {"type": "ValueError", "value": "no stock"},
    "traceback": "Traceback ...",
    "place": "shop/order.html:12",
    "stack_info": "Stack ...",
    "extra": {"order": 7},
    "context": {
        "scope": "request",
        "lines": [
            {"time": NOON.timestamp(), "level": 10, "logger": "shop", "message": "hm", "exception": "OSError"}
        ],
    },
    "formatted": "shop says no",
    "html": "<p>report</p>",
    "cut": ["message"],
}


def test_the_example_has_every_field() -> None:
    assert set(EVERYTHING) == FIELDS - FOLDED - {"buffer", "overflow"}
    assert typing.get_type_hints(CapturedRecord).keys() == FIELDS


def test_a_line_says_every_field() -> None:
    line = lines.encode(EVERYTHING.copy(), "mail")

    read = lines.parse(line.rstrip(b"\n"), MemorySegment())

    assert (read.buffer, read.value) == ("mail", {**EVERYTHING, "buffer": "mail"})


@pytest.mark.django_db
def test_a_row_holds_every_field() -> None:
    batch = Batch.objects.create(buffer="mail", opened_at=NOON)
    times = {"first_seen_at": NOON, "last_seen_at": NOON, "episode_at": NOON}
    group = Group.objects.create(buffer="mail", fingerprint="ml2:1", cause="ml2:2", level=40, **times)
    Record.objects.create(group=group, **make_row(batch, EVERYTHING))

    stored = as_value(Record.objects.get())

    assert stored == {name: value for name, value in EVERYTHING.items() if name not in OF_OTHERS}
