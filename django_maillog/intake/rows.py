"""Many rows in one go, without the ORM's instances and compiler.

Rows are dictionaries of columns; datetimes, and what is stored as JSON, are adapted as the ORM does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import Model

from ..models import Tally
from ..transactions import Changed
from .pauses import in_slices

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Row = dict[str, Any]
PORTION = 100  # rows in one statement: building it keeps the interpreter from other threads


def adapt(alias: str, rows: Iterable[Row]) -> None:
    """Make of the values what the driver takes, in place.

    ``insert`` and ``update`` do what has not been done before, but then a transaction waits for it.
    """
    connection = connections[alias]
    if connection.vendor == "postgresql":  # whose driver or server does it
        return
    adapters: dict[type, Callable[[Any], Any]] = {
        datetime: lru_cache(connection.ops.adapt_datetimefield_value),  # rows repeat their times
        dict: _encode,
    }
    for row in in_slices(rows):
        for name, value in row.items():
            if type(value) in adapters:
                row[name] = adapters[type(value)](value)


def insert(alias: str, model: type[Model], rows: Sequence[Row], *, suffix: str = "") -> None:
    """Insert rows with the same columns."""
    if not rows:
        return
    connection = connections[alias]
    columns = ", ".join(map(connection.ops.quote_name, rows[0]))
    into = f"{_table(connection, model)} ({columns})"
    if not suffix and _can_copy(connection, model):
        _copy(connection, f"COPY {into} FROM STDIN", rows)
    elif connection.vendor == "postgresql":
        source = _recordset(connection, model)
        _send(connection, f"INSERT INTO {into} SELECT {columns} FROM {source} {suffix}", rows)
    else:
        marks = ", ".join(["%s"] * len(rows[0]))
        _send_each(connection, f"INSERT INTO {into} VALUES ({marks}) {suffix}", rows)


def update(alias: str, model: type[Model], rows: Sequence[Row], *, as_read: Sequence[Row] = ()) -> None:
    """Write the columns of each row; ``id``, the last one, says which it is.

    ``as_read``, of SQLite: what each must still hold; Changed is raised if one doesn't.
    """
    if not rows:
        return
    connection = connections[alias]
    table = _table(connection, model)
    *names, key = map(connection.ops.quote_name, rows[0])
    if connection.vendor == "postgresql":
        changes = ", ".join(f"{name} = new.{name}" for name in names)
        source = f"{_recordset(connection, model)} AS new WHERE {table}.{key} = new.{key}"
        _send(connection, f"UPDATE {table} SET {changes} FROM {source}", rows)
        return
    changes = ", ".join(f"{name} = %s" for name in names)
    sql = f"UPDATE {table} SET {changes} WHERE {key} = %s"
    if not as_read:
        _send_each(connection, sql, rows)
        return
    same = "".join(f" AND {connection.ops.quote_name(name)} IS %s" for name in as_read[0])
    if _send_each(connection, sql + same, rows, as_read) < len(rows):
        raise Changed


def add_tallies(alias: str, rows: Sequence[Row]) -> None:
    """Add to the hourly counts, whether they have a row yet or not."""
    quote = connections[alias].ops.quote_name
    count = quote("count")
    if connections[alias].vendor == "mysql":
        suffix = f"ON DUPLICATE KEY UPDATE {count} = {count} + VALUES({count})"
    else:
        key = ", ".join(map(quote, ("group_id", "hour_at", "level")))
        total = f"{quote(Tally._meta.db_table)}.{count} + EXCLUDED.{count}"
        suffix = f"ON CONFLICT ({key}) DO UPDATE SET {count} = {total}"
    insert(alias, Tally, rows, suffix=suffix)


def _table(connection: BaseDatabaseWrapper, model: type[Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _recordset(connection: BaseDatabaseWrapper, model: type[Model]) -> str:
    return f"json_populate_recordset(NULL::{_table(connection, model)}, %s)"


def _can_copy(connection: BaseDatabaseWrapper, model: type[Model]) -> bool:
    """Whether the driver is psycopg 3, and no policy looks at the rows, which COPY refuses."""
    if connection.vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    if not is_psycopg3:
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT NOT row_security_active(%s)", [_table(connection, model)])
        return bool(cursor.fetchone()[0])


def _copy(connection: BaseDatabaseWrapper, sql: str, rows: Sequence[Row]) -> None:
    """The fastest way into PostgreSQL; Django wraps no errors of it."""
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(sql) as copy:
        for row in in_slices(rows):
            copy.write_row([_encode(value) if type(value) is dict else value for value in row.values()])


def _send(connection: BaseDatabaseWrapper, sql: str, rows: Sequence[Row]) -> None:
    """As one JSON text a portion: PostgreSQL takes it apart much faster than we can quote value by value."""
    with connection.cursor() as cursor:
        for start in range(0, len(rows), PORTION):
            texts = [_encode(row) for row in in_slices(rows[start : start + PORTION])]
            cursor.execute(sql, [f"[{','.join(texts)}]"])


def _send_each(
    connection: BaseDatabaseWrapper, sql: str, rows: Sequence[Row], conditions: Sequence[Row] = ()
) -> int:
    """By ``executemany``, which on MySQL makes one statement of many rows that are inserted.

    Conditions are further values, row by row. Returns how many rows were written.
    """
    adapt(connection.alias, chain(rows, conditions))
    values = [list(row.values()) for row in rows]
    for value, condition in zip(values, conditions, strict=False):
        value.extend(condition.values())
    with connection.cursor() as cursor:
        cursor.executemany(sql, values)
        return int(cursor.rowcount)


_encode = json.JSONEncoder(default=datetime.isoformat).encode
