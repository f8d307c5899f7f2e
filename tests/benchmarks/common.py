"""What the benchmarks share: a project of their own, lines for the spool, tables."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django_maillog.spool.segment import HOST
from tests.databases import fresh_database
from tests.settings import SERVERS

if TYPE_CHECKING:
    from django_maillog.capture.captured import CapturedRecord
    from django_maillog.capture.fingerprint import Key

FRAME = '  File "/srv/shop/{0}/views.py", line {1}, in view_{1}\n    return charge(order, amount={1})\n'
TRACEBACK = "Traceback (most recent call last):\n" + "".join(
    FRAME.format("checkout", number) for number in range(15)
)


def arguments(doc: str | None) -> argparse.Namespace:
    """``--json`` and ``--quick``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, or less")
    return parser.parse_args()


def show(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print rows with the same keys as a table, or as JSON lines."""
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def databases() -> Iterator[str]:
    """The kinds of database that can be had here."""
    yield "sqlite"
    for kind, variable in SERVERS.items():
        if variable in os.environ:
            yield kind
        else:
            print(f"no {kind}: {variable} isn't set", file=sys.stderr)


@contextmanager
def project(kind: str = "sqlite") -> Iterator[Path]:
    """A migrated project with a fresh database and spool in this process; its folder."""
    with tempfile.TemporaryDirectory() as name, fresh_database(kind, Path(name)) as url:
        _set_up(url, Path(name))
        from django.db import connections

        try:
            yield Path(name)
        finally:
            connections.close_all()


def _set_up(url: str, folder: Path) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    os.environ["DATABASE_URL"] = url
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connections
    from django.test.utils import setup_test_environment

    from django_maillog.spool.journal import journal

    if not settings.configured:
        django.setup()
        setup_test_environment()  # no worker: the benchmark itself imports and flushes
    import environ

    settings.DATABASES["default"] = environ.Env.db_url_config(url)
    connections.close_all()
    connections.settings = connections.configure_settings(settings.DATABASES)
    with contextlib.suppress(AttributeError):  # not opened yet
        del connections["default"]
    settings.MAILLOG_SPOOL_DIR = str(folder / "spool")
    journal.rotate()
    call_command("migrate", verbosity=0)


def value(number: int, fingerprint: int, *, full: bool) -> CapturedRecord:
    """A captured record as ``capture.prepare`` makes them."""
    made: CapturedRecord = {
        "time": time.time(),
        "level": 40,
        "logger": "shop.checkout",
        "message": f"Payment of order {number} failed",
        "title": "PaymentError: the gateway did not answer",
        "fingerprint": f"ml2:{fingerprint:032x}",
        "cause": f"ml2:{fingerprint % 7:032x}",
        "site": f"ml2:{fingerprint % 5:032x}",
        "host": HOST,
        "process": os.getpid(),
        "request": {"method": "POST", "path": f"/checkout/{number}/", "status_code": 500},
    }
    if full:
        made |= {
            "full": True,
            "pathname": "/srv/shop/checkout/views.py",
            "lineno": fingerprint,
            "function": "pay",
            "template": "Payment of order %s failed",
            "thread": "MainThread",
            "process_name": "MainProcess",
            "exception": {"type": "shop.PaymentError", "value": "the gateway did not answer"},
            "traceback": TRACEBACK,
            "extra": {"order": number},
        }
    return made


def fill_spool(records: int, groups: int) -> None:
    """Append so many records of so many fingerprints, the first of each captured in full."""
    from django_maillog import handlers
    from django_maillog.capture.prepare import capture_repeat
    from django_maillog.spool.journal import journal
    from django_maillog.spool.lines import encode

    handler = handlers.BufferingHandler()
    handler.name = "mail"
    journal.rotate()
    for number in range(records):
        if number < groups:
            line = encode(value(number, number, full=True), "mail")
        else:
            line = encode(capture_repeat(*repeat(number, number % groups)), "mail")
        journal.append(handler, line)
    journal.rotate()


def repeat(number: int, fingerprint: int) -> tuple[logging.LogRecord, Key]:
    """The record whose captured record ``value`` is, and its key."""
    from django.test import RequestFactory

    from django_maillog.capture.fingerprint import Key

    message = "Payment of order %s failed"
    error = PaymentError("the gateway did not answer")
    request = RequestFactory().post(f"/checkout/{number}/")
    record = logging.LogRecord(
        "shop.checkout", 40, "views.py", 1, message, (number,), (PaymentError, error, None)
    )
    vars(record).update(request=request, status_code=500)
    site = f"ml2:{fingerprint % 5:032x}"
    return record, Key(f"ml2:{fingerprint:032x}", f"ml2:{fingerprint % 7:032x}", site)


class PaymentError(Exception):
    """As in ``value``."""


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
