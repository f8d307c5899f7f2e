"""Records as a project makes them, and a shop in which things go wrong."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any

from django_maillog.capture.captured import CapturedRecord
from django_maillog.capture.fingerprint import Key, fingerprint
from django_maillog.capture.prepare import capture, capture_repeat
from django_maillog.spool import lines
from django_maillog.spool.memory import MemorySegment


def make_record(
    message: object = "Something failed",
    *args: object,
    error: BaseException | None = None,
    name: str = "shop",
    function: str = "view",
    **extra: object,
) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord(name, logging.ERROR, "/srv/shop/views.py", 7, message, args, info, function)
    record.__dict__.update(extra)
    return record


def key_of(*args: Any, **kwargs: Any) -> Key:
    return fingerprint(make_record(*args, **kwargs))


def raised(call: Callable[..., object], *args: object) -> BaseException:
    try:
        call(*args)
    except BaseException as error:
        return error.with_traceback(
            error.__traceback__ and error.__traceback__.tb_next
        )  # without this function
    raise AssertionError("nothing was raised")


def module(source: str, *, name: str = "shop.views", filename: str = "/srv/shop/views.py") -> ModuleType:
    """A module of a project, whose file need not exist."""
    made = ModuleType(name)
    exec(compile(textwrap.dedent(source), filename, "exec"), made.__dict__)
    return made


def full(record: logging.LogRecord, **options: Any) -> CapturedRecord:
    return capture(record, fingerprint(record), **options)


def brief(record: logging.LogRecord) -> CapturedRecord:
    """What an import makes of a repeat's line."""
    line = lines.encode(capture_repeat(record, fingerprint(record)), "mail")
    value = lines.parse(line.removesuffix(b"\n"), MemorySegment()).value
    assert value is not None
    assert value.pop("buffer") == "mail"
    return value


SHOP = """
    class OutOfStock(Exception):
        pass

    def buy(number, when="now"):
        if number < 0:
            raise ValueError(f"{number} {when}")
        if number > 10:
            raise ValueError(f"{number} {when}")
        [check(n) for n in range(number)]

    def check(number):
        if number == 1:
            raise OutOfStock(number)

    def checked(numbers):
        return {n: [1 // (m - 2) for m in numbers] for n in numbers}

    def generator(numbers):
        return sum(int(n) * 2 for n in numbers)

    nameless = lambda n: [int(m[0]) for m in n if m[:9] not in {"a", "b"} and n < "y" and f"{m:>{3}}"]

    def recursion(depth, other=None):
        if depth == 0:
            raise RecursionError(str(depth))
        (other or recursion)(depth - 1, recursion)

    def chain(number):
        try:
            buy(number)
        except ValueError as error:
            raise LookupError(number) from error

    def group(numbers):
        errors = []
        for number in numbers:
            try:
                buy(number)
            except Exception as error:
                errors.append(error)
        raise ExceptionGroup("several", errors)
"""
