"""What is kept of a record, and that nothing it holds can break that."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections import UserDict, UserList, deque
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.forms import CharField, Form
from django.http import HttpRequest, QueryDict
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from django_maillog.capture.fingerprint import fingerprint
from django_maillog.capture.plain import json_line
from django_maillog.capture.text import safe_text

from .log_records import SHOP, brief, full, make_record, module, raised

# Strange records


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class UnprintableError(Exception):
    __str__ = Unprintable.__str__


class Faker:
    """What a task queue unpickles instead of a traceback."""

    tb_frame = tb_next = property(lambda self: 1 / 0)


STRANGE = {
    "None": (None, None, None),
    "True": True,
    "a text": "error",
    "a short tuple": (ValueError,),
    "no instance": (ValueError, None, None),
    "an exception": ValueError("x"),
    "a fake traceback": (ValueError, ValueError("x"), Faker()),
    "unprintable": (UnprintableError, UnprintableError(), None),
}


@pytest.mark.parametrize("info", STRANGE.values(), ids=STRANGE)
def test_a_strange_exc_info_breaks_nothing(info: Any) -> None:
    record = make_record()
    record.exc_info = info

    value = full(record)

    assert value["message"] == "Something failed"
    assert json.loads(json_line(value))["fingerprint"].startswith("ml2:")


def test_exc_info_true_is_the_exception_being_handled() -> None:
    record = make_record()
    record.exc_info = True  # type: ignore[assignment]
    try:
        raise KeyError("now")
    except KeyError:
        assert full(record)["exception"] == {"type": "KeyError", "value": "'now'"}


@pytest.mark.parametrize(
    ("message", "args"),
    [("%d", ("x",)), ("%s %s", (1,)), ("none", (1,)), ("%(a)s", ({},)), (Unprintable(), ())],
)
def test_wrong_arguments_and_unprintable_messages_are_said(message: object, args: tuple[object, ...]) -> None:
    value = full(make_record(message, *args))

    assert value["message"]
    assert "could not be formatted" in value["message"] or "str() raised" in value["message"]


def test_a_record_that_is_hardly_one_is_still_kept() -> None:
    record = logging.makeLogRecord(
        {"msg": "x", "created": "yesterday", "levelno": "HIGH", "name": 5, "args": None}
    )
    del record.process

    value = full(record)

    assert (value["message"], value["level"], value["logger"]) == ("x", logging.ERROR, "5")
    assert abs(value["time"] - time.time()) < 60


def test_nul_and_surrogates_are_replaced_everywhere() -> None:
    bad = "a\x00b\ud800c"
    record = make_record(bad, error=ValueError(bad), name=bad, extra_key=[bad, {bad: bad}], **{bad: bad})
    line = json_line(full(record))

    assert b"\\u0000" not in line
    assert b"\\ud8" not in line
    assert "a\ufffdb\ufffdc" in line.decode()


@pytest.mark.parametrize("message", [None, 5, b"raw", gettext_lazy("Lazy")])
def test_a_message_that_is_no_text_is_one_by_then(message: Any) -> None:
    class Own(logging.LogRecord):
        def getMessage(self) -> Any:
            return message

    record = Own("shop", logging.ERROR, __file__, 1, "template", (), None)

    assert full(record)["message"] == brief(record)["message"] == str(message)


def test_a_deep_recursion_is_printed_from_both_ends_in_bounded_time() -> None:
    def deep(number: int) -> None:
        if number:
            deeper(number - 1)
        raise ValueError("bottom")

    def deeper(number: int) -> None:
        deep(number)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(12_000)
    try:
        error = raised(deep, 5_000)
    finally:
        sys.setrecursionlimit(limit)

    start = time.thread_time()
    text = full(make_record(error=error))["traceback"]

    assert time.thread_time() - start < 1
    assert text.startswith("Traceback (most recent call last):\n")
    assert "characters cut" in text or "frames cut" in text
    assert text.endswith("ValueError: bottom\n")


def test_a_very_long_chain_is_printed_from_both_ends_in_bounded_time() -> None:
    error: BaseException = ValueError("root")
    for number in range(30_000):
        outer = KeyError(number)
        outer.__context__ = error
        error = outer

    start = time.thread_time()
    text = full(make_record(error=error))["traceback"]

    assert time.thread_time() - start < 1
    assert "ValueError: root" in text
    assert "29980 exceptions cut" in text
    assert text.endswith("KeyError: 29999\n")


def test_a_huge_group_is_printed_in_part() -> None:
    group = ExceptionGroup("many", [ExceptionGroup("few", [ValueError(n)]) for n in range(3_000)])

    text = full(make_record(error=group))["traceback"]

    assert "1 of 3000" in text
    assert len(text) < 10_000


def test_megabytes_are_cut_marked_and_cheap() -> None:
    text = "x" * 5_000_000
    record = make_record(text, error=ValueError(text), payload=text, many=[text] * 50)

    start = time.thread_time()
    value = full(record)
    line = json_line(value)
    elapsed = time.thread_time() - start

    assert elapsed < 0.25
    assert len(line) < 256_000
    assert "characters cut …" in value["message"]
    assert value["cut"] == ["message", "template", "exception", "traceback", "extra"]
    assert len(value["title"]) <= 200


def test_a_line_stays_under_256_kilobytes_whatever_is_in_it() -> None:
    text = "\x01é𝄞" * 100_000
    record = make_record(text, error=ValueError(text), payload=[text] * 99, stack_info=text)

    line = json_line(
        full(record, formatter=logging.Formatter()) | {"buffer": "mail", "list": list(range(100_000))}
    )

    assert len(line) <= 256_001
    assert json.loads(line)["buffer"] == "mail"


# What is kept


def test_a_repeat_keeps_its_message_value_and_request_line_only() -> None:
    record = make_record(
        "order %s failed",
        17,
        error=raised(module(SHOP).buy, -1),
        request=RequestFactory().get("/a?b=c"),
        status_code=500,
    )
    value = brief(record)

    assert value == {
        "time": record.created,
        "level": logging.ERROR,
        "logger": "shop",
        "message": "order 17 failed",
        "title": "ValueError: -1 now",
        "fingerprint": fingerprint(record).fingerprint,
        "cause": fingerprint(record).cause,
        "site": fingerprint(record).site,
        "host": value["host"],
        "process": os.getpid(),
        "request": {"method": "GET", "path": "/a", "status_code": 500},
    }


def test_a_repeat_from_another_process_says_from_which() -> None:
    record = make_record("order %s failed", 17)
    record.process = os.getpid() + 1

    assert brief(record)["process"] == os.getpid() + 1


def test_a_full_value_tells_everything() -> None:
    error = raised(module(SHOP).chain, -1)
    error.add_note("a note")
    record = make_record("order %s failed", 17, error=error, customer=5, stack_info="Stack (most recent…")
    record.taskName = "Task-1"

    value = full(record)

    assert value["full"] is True
    assert (value["pathname"], value["lineno"], value["function"]) == ("/srv/shop/views.py", 7, "view")
    assert value["template"] == "order %s failed"
    assert (value["thread"], value["task"], value["process_name"]) == ("MainThread", "Task-1", "MainProcess")
    assert value["exception"] == {"type": "LookupError", "value": "-1"}
    assert value["traceback"] == "".join(traceback.format_exception(error))
    assert value["stack_info"] == "Stack (most recent…"
    assert value["extra"] == {"customer": 5}
    assert not {"request", "formatted", "html", "cut"} & value.keys()
    assert json.loads(json_line(value)) == value


def test_a_groups_traceback_is_what_python_prints() -> None:
    error = raised(module(SHOP).group, [-1, 11])

    assert full(make_record(error=error))["traceback"] == "".join(traceback.format_exception(error))


def test_a_text_that_another_process_made_of_a_traceback_is_kept() -> None:
    assert full(make_record(exc_text="Traceback …"))["traceback"] == "Traceback …"


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("one\ntwo", "one"),
        ("\n\n  two\nthree", "two"),
        ("a\x1b[31mb\tc", "ab c"),
        ("x" * 500, "x" * 199 + "…"),
        ("", "(empty message)"),
    ],
)
def test_a_title_is_one_clean_line(message: str, title: str) -> None:
    assert brief(make_record(message))["title"] == title


def test_the_title_of_a_group_is_its_first_leaf() -> None:
    task = ExceptionGroup("unhandled errors in a TaskGroup", [ValueError("no stock")])
    nested = ExceptionGroup("outer", [task, KeyError("sku"), OSError("no disk")])
    long = ExceptionGroup("long", [ValueError("x" * 500)])

    assert full(make_record(error=task))["title"] == "ValueError: no stock (in ExceptionGroup)"
    assert brief(make_record(error=nested))["title"] == "ValueError: no stock (+2 more in ExceptionGroup)"
    assert brief(make_record(error=long))["title"] == f"ValueError: {'x' * 167}… (in ExceptionGroup)"

    deep: Exception = ValueError("far below")
    for _ in range(300):
        deep = ExceptionGroup("deep", [deep])
    assert (
        full(make_record(error=deep))["title"] == "ExceptionGroup: deep (1 sub-exception) (in ExceptionGroup)"
    )


def test_a_title_names_the_exception_as_tracebacks_do() -> None:
    assert brief(make_record(error=ValueError()))["title"] == "ValueError"
    assert brief(make_record(error=User.DoesNotExist("gone\nfor ever")))["title"] == (
        "django.contrib.auth.models.User.DoesNotExist: gone"
    )


def test_a_formatters_work_is_kept_and_leaves_the_record_alone() -> None:
    record = make_record(error=raised(module(SHOP).buy, -1))
    formatter = logging.Formatter("%(levelname)s: %(message)s")

    value = full(record, formatter=formatter)

    assert value["formatted"].startswith("ERROR: Something failed\nTraceback")
    assert record.exc_text is None


def test_a_formatter_or_report_that_fails_costs_only_itself() -> None:
    def fail(record: logging.LogRecord) -> str:
        raise RuntimeError

    formatter = logging.Formatter()
    formatter.format = fail  # type: ignore[method-assign]

    value = full(make_record(customer=5), formatter=formatter, html=fail)

    assert value["extra"] == {"customer": 5}
    assert not {"formatted", "html"} & value.keys()


def test_a_technical_report_is_kept_and_bounded() -> None:
    assert full(make_record(), html=lambda record: "<p>report")["html"] == "<p>report"
    large = full(make_record(), html=lambda record: "<p>" * 1_000_000)
    assert large["cut"] == ["html"]
    assert len(json_line(large)) < 520_000


def test_extra_values_become_plain() -> None:
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    cycle: list[object] = []
    cycle.append(cycle)
    value = full(
        make_record(
            at=moment, where=Path("/srv"), seen={"a": (1, 2.5, True, None)}, cycle=cycle, nan=float("nan"),
            huge=10**5000, raw=b"\xff", thing=object(), bad=Unprintable(), text=gettext_lazy("Lazy"),
        )
    )  # fmt: skip

    assert value["extra"] == {
        "at": "2026-01-05 00:00:00+00:00",
        "where": "/srv",
        "seen": {"a": [1, 2.5, True, None]},
        "cycle": [[[[["… 1 items …"]]]]],
        "nan": "nan",
        "huge": value["extra"]["huge"],
        "raw": "b'\\xff'",
        "thing": "<object>",
        "bad": "<tests.test_records.Unprintable>",
        "text": "<django.utils.functional.lazy.<locals>.__proxy__>",
    }
    assert json.loads(json_line(value)) == value


def test_models_querysets_and_lazy_objects_are_shown_by_class_without_sql(db: None) -> None:
    # pytest-django fails the test on a query without the db fixture; with it, the count below tells.
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    loaded: list[int] = []
    request = RequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: [loaded.append(1), User.objects.get()][1])  # type: ignore[assignment, func-returns-value]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        value = full(
            make_record(
                request=request, people=User.objects.all(), person=User(pk=5), new=User(),
                manager=User.objects, lazy=SimpleLazyObject(lambda: loaded.append(1)),
            )
        )  # fmt: skip

    assert len(queries) == 0
    assert loaded == []
    assert "user" not in value["request"]
    assert value["extra"] == {
        "people": "<django.db.models.query.QuerySet>",
        "person": "<django.contrib.auth.models.User pk=5>",
        "new": "<django.contrib.auth.models.User>",
        "manager": "<django.contrib.auth.models.UserManager>",
        "lazy": "<django.utils.functional.SimpleLazyObject>",
    }


def test_a_loaded_user_is_named() -> None:
    request = RequestFactory().get("/")
    user = User(pk=5, username="ada")
    request.user = SimpleLazyObject(lambda: user)  # type: ignore[assignment]
    assert request.user.get_username() == "ada"

    assert full(make_record(request=request))["request"]["user"] == "5 ada"
    request.user = AnonymousUser()
    assert "user" not in full(make_record(request=request))["request"]


def test_a_user_that_the_view_assigned_wins_over_the_one_of_the_session() -> None:
    request = RequestFactory().get("/")
    vars(request).update(_cached_user=AnonymousUser(), _acached_user=AnonymousUser())
    request.user = User(pk=5, username="ada")

    assert full(make_record(request=request))["request"]["user"] == "5 ada"


def test_a_user_whom_nobody_asked_for_may_be_known_to_the_session() -> None:
    request = RequestFactory().get("/")
    vars(request)["_acached_user"] = User(pk=5, username="ada")
    request.user = SimpleLazyObject(lambda: 1 / 0)  # type: ignore[assignment]

    assert full(make_record(request=request))["request"]["user"] == "5 ada"


def test_a_request_is_told_as_far_as_it_is_known() -> None:
    request = RequestFactory(headers={"X-Shop": "1"}).get("/a/1/?page=2&tag=a&tag=b")
    request.resolver_match = type("Match", (), {"route": "a/<int:pk>/"})()

    told = full(make_record(request=request, status_code=500))["request"]

    meta = told.pop("META")
    assert told == {
        "method": "GET",
        "path": "/a/1/",
        "status_code": 500,
        "route": "a/<int:pk>/",
        "remote_addr": "127.0.0.1",
        "GET": {"page": "2", "tag": ["a", "b"]},
    }
    assert meta["HTTP_X_SHOP"] == "1"
    assert meta["QUERY_STRING"] == "page=2&tag=a&tag=b"
    assert not [key for key in meta if key.startswith("wsgi")]


def test_post_data_is_told_only_when_it_was_parsed() -> None:
    request = RequestFactory().post("/", {"colour": "red"})
    assert "POST" not in full(make_record(request=request))["request"]
    assert "_post" not in request.__dict__

    assert request.POST["colour"] == "red"
    assert full(make_record(request=request))["request"]["POST"] == {"colour": "red"}


def test_a_broken_request_costs_only_what_is_broken() -> None:
    request = RequestFactory().get("/a")
    request.META = None  # type: ignore[assignment]

    assert full(make_record(request=request))["request"] == {"method": "GET", "path": "/a"}
    assert full(make_record(request=HttpRequest()))["message"] == "Something failed"


def test_a_request_inside_another_frameworks_is_found() -> None:
    wrapped = type("Request", (), {})()
    wrapped._request = RequestFactory().get("/a")

    assert brief(make_record(request=wrapped))["request"] == {"method": "GET", "path": "/a"}


def test_what_is_no_request_is_an_extra_field() -> None:
    value = full(make_record(request=object(), status_code=5))

    assert "request" not in value
    assert value["extra"]["request"] == "<object>"


# Texts and lines


def test_safe_text_cuts_the_middle_and_says_so() -> None:
    text = safe_text("a" * 5_000 + "b" * 5_000, 1_000)

    head, _, tail = text.partition("… 9024 characters cut …")
    assert (head, tail) == ("a" * 488, "b" * 488)
    assert safe_text("short", 1_000) == "short"
    assert safe_text("x" * 50, 10) == "x" * 9 + "…"


def test_a_plain_value_is_one_line_that_reads_back() -> None:
    value = full(make_record("ä 𝄞 \u2028 \\u0000 \n"))
    line = json_line(value)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == value


def test_what_json_cannot_say_is_written_as_text() -> None:
    cycle: dict[str, Any] = {}
    cycle["again"] = cycle
    line = json_line({"a": {1, 2}, "b": float("inf"), "c": object(), "d": cycle, "e": 10**5000, 5: (1,)})  # type: ignore[dict-item]

    assert json.loads(line)["5"] == [1]
    assert json.loads(line)["b"] == "inf"


def test_query_dicts_are_plain_in_extra() -> None:
    assert full(make_record(data=QueryDict("a=1&a=2")))["extra"]["data"] == {"a": ["1", "2"]}


def test_large_and_deep_containers_in_extra_are_cut_and_marked() -> None:
    deep: dict[str, Any] = {}
    deep["a"] = deep
    numbers = list(range(150))
    value = full(make_record(deep=deep, items=numbers, table=dict.fromkeys(numbers, 0), level=Colour.RED))

    assert value["cut"] == ["extra"]
    assert value["extra"]["deep"] == {"a": {"a": {"a": {"a": {"a": "… 1 items …"}}}}}
    assert value["extra"]["items"][-1] == "… 50 more …"
    assert value["extra"]["table"]["…"] == "50 more"
    assert value["extra"]["level"] == "Colour.RED"


class Colour(Enum):
    RED = "red"


class Client(Exception):
    """As clients of some services make them: what it hasn't got it looks up in what the service said."""

    def __getattr__(self, name: str) -> object:
        return {"status": 500}[name]


class Causeless(Exception):
    """The traceback module asks for its cause."""

    @property
    def __cause__(self) -> None:  # type: ignore[override]
        raise RuntimeError("no cause to be had")


@pytest.mark.parametrize("kind", [Client, Causeless])
def test_an_exception_whose_attributes_raise_keeps_its_frames(kind: type[Exception]) -> None:
    def pay() -> None:
        raise kind("no stock")

    text = full(make_record(error=raised(pay)))["traceback"]

    assert 'raise kind("no stock")' in text
    assert f"{kind.__name__}: no stock\n" in text


class Profile(Form):
    name = CharField()


def test_containers_that_are_written_in_python_show_what_they_hold() -> None:
    form = Profile({})
    form.full_clean()
    headers = RequestFactory().get("/", headers={"cookie": "hunter2", "x-shop": "hats"}).headers

    extra = full(
        make_record(
            errors=form.errors, jobs=deque([1, 2]), user_list=UserList([3]), user_dict=UserDict(a=4),
            password=UserDict(a="hunter2"), headers=headers,
        )
    )["extra"]  # fmt: skip

    assert "This field is required." in str(extra["errors"]["name"])
    assert (extra["jobs"], extra["user_list"], extra["user_dict"]) == ([1, 2], [3], {"a": 4})
    assert extra["headers"]["X-Shop"] == "hats"
    assert "hunter2" not in str(extra)


def test_exceptions_in_extra_are_named() -> None:
    extra = full(make_record(first=TimeoutError(), second=KeyError("x")))["extra"]

    assert extra == {"first": "TimeoutError", "second": "KeyError: 'x'"}


def test_a_loaded_user_behind_two_lazy_objects_is_named() -> None:
    request = RequestFactory().get("/")
    inner = SimpleLazyObject(lambda: User(pk=5, username="ada"))
    request.user = SimpleLazyObject(lambda: inner)  # type: ignore[assignment]
    assert request.user.get_username() == "ada"

    assert full(make_record(request=request))["request"]["user"] == "5 ada"
