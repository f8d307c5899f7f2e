"""Short transactions beside others: what an error of the database means, and who waits for whom."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import DataError, Error, IntegrityError, OperationalError, connections, router, transaction

from .forks import forks
from .models import Segment

TRIES = 8
CONFLICTS = 3  # tries after rows that are there already: more often it is a check that fails
WAIT_SECONDS = 0.02  # times the number of the try
AGAIN = frozenset({"40001", "40P01", 1205, 1213})  # serialization failure, deadlock, lock wait time-out
# A character that the database's character set lacks: MySQL twice, PostgreSQL in JSON and in text.
CHARACTERS = frozenset({1366, 3988, "22P05", "22021"})
REFUSED = CHARACTERS | {1153, 1264, 1406}  # MySQL: packet, range, length
HUNG_UP = frozenset({2006, 2013})  # MySQL's client: the server closed the connection
# No room: MySQL's table or disk is full; PostgreSQL's disk; SQLite's disk, or its max_page_count.
FULL = frozenset({1021, 1114, "53100", "SQLITE_FULL"})

# All connections are in use: how servers and PgBouncer say it, in no code that all have.
CROWDED = (
    "too many clients",
    "too many connections",
    "remaining connection slots",
    "max_user_connections",
    "no more connections allowed",
    "query_wait_timeout",
)

IN_TRANSACTION = (
    "A flush can't be part of a transaction: a rollback would forget the records that it has imported and "
    "the mails that it has sent. Call it outside of the transaction, or with transaction.on_commit()."
)

Result = TypeVar("Result")


class Overtaken(Exception):
    """Another process imported this, or sealed the batch: roll back and start over."""


class Changed(Exception):
    """What was read before the transaction isn't true any more: read again."""


def write_alias() -> str:
    """The database of all tables."""
    return router.db_for_write(Segment)


def is_in_transaction() -> bool:
    """Whether this thread is in a transaction that the project may roll back.

    One that Django's TestCase has opened is none: what a test flushes goes with the test.
    """
    connection = connections[write_alias()]
    if connection.in_atomic_block:
        return not any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
    return connection.connection is not None and not connection.autocommit


def put_off(work: Callable[[], object]) -> bool:
    """Have it called once this thread's transaction is committed; False if there is none to wait for.

    The same function is called once. After a rollback, and where a project commits by hand, nobody calls it.
    """
    if not is_in_transaction():
        return False
    connection = connections[write_alias()]
    waiting = [hook[1] for hook in connection.run_on_commit]
    if connection.in_atomic_block and work not in waiting:
        transaction.on_commit(work, using=connection.alias, robust=True)
    return True


@contextmanager
def writing(alias: str) -> Iterator[None]:
    """A transaction with SQLite's write lock from its start: one that has read before can't wait for it."""
    with transaction.atomic(using=alias):
        if connections[alias].vendor == "sqlite":
            Segment.objects.using(alias).filter(pk="").update(offset=0)
        yield


def is_crowded(error: Exception) -> bool:
    """Whether the database is there, and has no connection for us."""
    said = f"{error} {error.__cause__ or ''}".casefold()
    return isinstance(error, Error) and any(words in said for words in CROWDED)


def leave_pools() -> None:
    """Let this thread connect by itself where ``OPTIONS["pool"]`` says that all threads share connections.

    A pool that our thread opened before a process forks (gunicorn's preload) would be its children's,
    too, and two processes would talk on one connection. An idle process would hold its ``min_size``, and
    requests would wait for a worker that has one.
    """
    for alias, settings in connections.settings.items():
        if settings["OPTIONS"].get("pool"):
            connections[alias] = own = connections[alias].copy()
            del own.settings_dict["OPTIONS"]["pool"]


def step_aside(alias: str, seconds: float) -> None:
    """Sleep so that other writers, which only poll, can get SQLite's lock."""
    forks.pause()
    if connections[alias].vendor == "sqlite" and not connections[alias].in_atomic_block:
        time.sleep(seconds)


def retrying(work: Callable[[], Result], alias: str) -> Result:
    """Call it again if other transactions got in its way: it was a deadlock's victim, a row is there."""
    for number in range(1, TRIES):
        try:
            return work()
        except (OperationalError, IntegrityError) as error:
            conflict = isinstance(error, IntegrityError) and number < CONFLICTS
            if connections[alias].in_atomic_block or not (conflict or _code(error) & AGAIN):
                raise
            time.sleep(random.uniform(0, WAIT_SECONDS * number))
    return work()


def is_refused(error: Exception) -> bool:
    """Whether the database will never take these values, however often they are offered."""
    if isinstance(error, Error):  # an IntegrityError that trying again didn't cure: a check failed
        return isinstance(error, (DataError, IntegrityError)) or bool(_code(error) & REFUSED)
    # The drivers' own refusals: lone surrogates, huge integers, NUL (psycopg2).
    return isinstance(error, (UnicodeError, OverflowError)) or (
        isinstance(error, ValueError) and "NUL" in str(error)
    )


def lacks_character(error: Exception) -> bool:
    """Whether the database, or its driver, refused a character."""
    return isinstance(error, UnicodeError) or (isinstance(error, Error) and bool(_code(error) & CHARACTERS))


def is_too_large(error: Exception, alias: str, size: int) -> bool:
    """Whether MySQL hung up since a statement with so many bytes of content exceeds ``max_allowed_packet``.

    It answers 1153 only if the client has sent everything before. Raises if it can't be reached at all.
    """
    if not isinstance(error, Error) or not _code(error) & HUNG_UP:
        return False
    connections[alias].close()
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        return 2 * size > int(cursor.fetchone()[0])


def is_full(error: Exception) -> bool:
    """Whether the database has no room for more: what is in it can still be read and changed."""
    return isinstance(error, OperationalError) and bool(_code(error) & FULL)


def _code(error: Error) -> set[object]:
    """The driver's error codes: PostgreSQL's SQLSTATE, MySQL's number, SQLite's name."""
    cause = error.__cause__
    return {getattr(cause, "sqlstate", None), getattr(cause, "sqlite_errorname", None), *error.args[:1]}
