"""What a logging call costs, in microseconds, with our handler and with its peers, in one run.

    python -m tests.benchmarks.emit [--json] [--quick]

Peers: no handler, logging.FileHandler, logging.handlers.QueueHandler, AdminEmailHandler to an aiosmtpd server
in a process of its own, django-db-logger, and our BufferingHandler with its worker at work on a SQLite file,
as well as a line that it keeps as context.
Cases: a plain record, the same text formatted before the call, the same exception of 15 frames again and
again, and 300 different ones: in each of
five rounds 60 that are new to the handler, once each. With one thread and with eight; all take turns, so that
a machine that slows down does so for each. The last rows are ours while the worker imports at full speed,
while the database is locked, and while the mail server hangs.
"""

from __future__ import annotations

import argparse
import json
import logging
import logging.handlers
import os
import queue
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

FRAMES = 15
ROUNDS = 5
DIFFERENT = 300 // ROUNDS
OURS = "BufferingHandler"
PEER = "FileHandler"
HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print(flush=True)
sys.stdin.read()
"""
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """Microseconds of one logging call."""

    handler: str
    case: str
    threads: int
    median: float
    p99: float
    calls: int


def failing(number: int, folder: Path) -> ExcInfo:
    """An exception of 15 frames, from a file that is there to be quoted and that nothing else raises in.

    Its calls are a part of their lines, as in Django's own frames ("response = get_response(request)"): for
    these, Python finds out which columns to underline.
    """
    source = "\n".join(
        [f"def level0(request):\n    raise ValueError('failed in {number}')\n"]
        + [
            f"def level{depth}(request):\n    response = level{depth - 1}(request)\n    return response\n"
            for depth in range(1, FRAMES)
        ]
    )
    path = folder / f"views{number}.py"
    path.write_text(source)
    names: dict[str, Any] = {"__name__": f"shop.views{number}"}
    exec(compile(source, str(path), "exec"), names)
    try:
        names[f"level{FRAMES - 1}"](None)
    except ValueError as error:
        return type(error), error, error.__traceback__
    raise AssertionError("it must fail")


def logger_of(handler: logging.Handler) -> logging.Logger:
    """A logger outside the tree, with this handler alone."""
    logger = logging.Logger("benchmark", logging.INFO)
    logger.addHandler(handler)
    return logger


def measure(
    handler: logging.Handler, call: Callable[[logging.Logger, int], None], calls: int, threads: int
) -> list[float]:
    """Microseconds of each call, by all threads."""
    logger = logger_of(handler)
    times: list[float] = []

    def work(number: int) -> None:
        own = []
        for index in range(number, calls, threads):
            start = time.perf_counter()
            call(logger, index)
            own.append((time.perf_counter() - start) * 1e6)
        times.extend(own)

    workers = [threading.Thread(target=work, args=[number]) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return times


def plain(logger: logging.Logger, index: int) -> None:
    logger.error("Order %s of %s failed", index, "somebody")


def eager(logger: logging.Logger, index: int) -> None:
    logger.error(f"Order {index} of somebody failed")


def cases(folder: Path) -> dict[str, Callable[[logging.Logger, int], None]]:
    repeated = failing(DIFFERENT, folder)
    different = [failing(number, folder) for number in range(DIFFERENT)]
    return {
        "plain": plain,
        "f-string": eager,
        "repeated exception": lambda logger, _index: logger.error("Request failed", exc_info=repeated),
        "300 exceptions": lambda logger, index: logger.error(
            "Request failed", exc_info=different[index % DIFFERENT]
        ),
    }


@contextmanager
def peers(folder: Path) -> Iterator[dict[str, tuple[Callable[[], logging.Handler], int]]]:
    """Each handler's factory, and how many calls it can afford."""
    from django.utils.log import AdminEmailHandler
    from django_db_logger.db_log_handler import DatabaseLogHandler

    from django_maillog.handlers import BufferingHandler

    records: queue.SimpleQueue[Any] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(records, logging.FileHandler(folder / "queue.log"))
    listener.start()

    def ours() -> logging.Handler:
        handler = BufferingHandler()
        handler.name = "benchmark"
        return handler

    def keeping() -> logging.Handler:
        return BufferingHandler(report_level="CRITICAL", context=50)

    yield {
        "no handler": (logging.NullHandler, 5_000),
        "FileHandler": (lambda: logging.FileHandler(folder / "file.log"), 3_000),
        "QueueHandler": (lambda: logging.handlers.QueueHandler(records), 3_000),
        "AdminEmailHandler": (AdminEmailHandler, 120),
        "django-db-logger": (DatabaseLogHandler, 600),
        "BufferingHandler": (ours, 5_000),
        "a line of context": (keeping, 5_000),
    }
    listener.stop()


def run(*, quick: bool, folder: Path) -> Iterator[Row]:
    times: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    with peers(folder) as handlers:
        for _round in range(ROUNDS):
            for name, (make, affordable) in handlers.items():
                for case, call in cases(folder).items():
                    for threads in (1, 8):
                        calls = (affordable // 8 if quick else affordable) // ROUNDS
                        if case == "300 exceptions":  # a second time would be a repeat
                            calls = min(calls, DIFFERENT)
                        times[name, case, threads] += measure(make(), call, calls, threads)
        for (name, case, threads), found in sorted(
            times.items(), key=lambda item: list(handlers).index(item[0][0])
        ):
            yield row(name, case, threads, found)
        ours = handlers[OURS][0]()
        calls = 500 if quick else 2_000
        fill_spool(ours, 10_000 if quick else 60_000)
        yield row(OURS, "plain, worker importing", 1, paced(ours, calls))
        with locked_database():
            fill_spool(ours, 2_000)
            yield row(OURS, "plain, database locked", 1, paced(ours, calls))
        with hanging_mail_server(ours):
            yield row(OURS, "plain, mail server hanging", 1, paced(ours, calls))


def fill_spool(handler: logging.Handler, lines: int) -> None:
    """Give the worker something to do: distinct records, which cost it most."""
    logger = logger_of(handler)
    for index in range(lines):
        logger.error("failed", extra={"fingerprint": str(index)})


def paced(handler: logging.Handler, calls: int) -> list[float]:
    """Microseconds of plain calls a millisecond apart: a site at work, not a loop that starves the worker."""
    logger = logger_of(handler)
    times = []
    for index in range(calls):
        start = time.perf_counter()
        plain(logger, index)
        times.append((time.perf_counter() - start) * 1e6)
        time.sleep(0.001)
    return times


@contextmanager
def locked_database() -> Iterator[None]:
    """Another process holds SQLite's write lock."""
    from django.db import connection

    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(connection.settings_dict["NAME"])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        yield
    finally:
        holder.communicate()


@contextmanager
def hanging_mail_server(handler: logging.Handler) -> Iterator[None]:
    """A server that takes a connection and says nothing has the worker wait for its greeting."""
    from django.conf import settings

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if hasattr(settings, "MAILERS"):
            settings.MAILERS["default"]["OPTIONS"]["port"] = port
        else:
            settings.EMAIL_PORT = port
        threading.Thread(target=handler.flush, daemon=True).start()
        server.settimeout(60)
        connection, _address = server.accept()
        with connection:
            yield


def row(handler: str, case: str, threads: int, times: list[float]) -> Row:
    cuts = statistics.quantiles(times, n=100)
    return Row(handler=handler, case=case, threads=threads, median=cuts[49], p99=cuts[98], calls=len(times))


def show(rows: list[Row]) -> None:
    base = {(r.case, r.threads): r.median for r in rows if r.handler == PEER}
    head = ("handler", "case", "threads", "median µs", "p99 µs", f"of {PEER}")
    print("{:<20}{:<28}{:>8}{:>12}{:>12}{:>16}".format(*head))
    for r in rows:
        peer = base.get((r.case, r.threads))
        ratio = f"{r.median / peer:.3f}" if peer else ""
        print(f"{r.handler:<20}{r.case:<28}{r.threads:>8}{r.median:>12.1f}{r.p99:>12.1f}{ratio:>16}")


@contextmanager
def mail_server() -> Iterator[int]:
    """The port of an aiosmtpd server in a process of its own, so that it doesn't share our interpreter."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "aiosmtpd", "-n", "-c", "aiosmtpd.handlers.Sink", "-l", f"127.0.0.1:{port}"]
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
        yield port
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array of rows")
    parser.add_argument("--quick", action="store_true", help="fewer calls")
    options = parser.parse_args()
    # The worker may be at work to the end.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, mail_server() as port:
        folder = Path(name)
        set_up(folder, port)
        rows = list(run(quick=options.quick, folder=folder))
        logging.getLogger("django_maillog").disabled = True
        if options.json:
            print(json.dumps([asdict(r) for r in rows]))
        else:
            show(rows)


def set_up(folder: Path, port: int) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    os.environ["DATABASE_URL"] = f"sqlite:///{folder}/emit.sqlite3"
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.INSTALLED_APPS += ["django_db_logger"]
    settings.MAILLOG_SPOOL_DIR = str(folder / "spool")
    if hasattr(settings, "MAILERS"):
        options = {"host": "127.0.0.1", "port": port}
        settings.MAILERS = {
            "default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": options}
        }
    else:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    logging.disable(logging.NOTSET)
    django.setup()
    call_command("migrate", verbosity=0)


if __name__ == "__main__":
    main()
