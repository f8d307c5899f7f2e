"""Many rows in one go: the drivers' ``executemany``, without the ORM's instances and compiler.

Rows are dictionaries of columns; datetimes, and what is stored as JSON, are adapted as the ORM does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import Model

from ..models import Tally

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Row = dict[str, Any]


def insert(alias: str, model: type[Model], rows: Sequence[Row], *, suffix: str = "") -> None:
    """Insert rows with the same columns."""
    if not rows:
        return
    connection = connections[alias]
    columns = ", ".join(map(connection.ops.quote_name, rows[0]))
    marks = ", ".join(["%s"] * len(rows[0]))
    sql = f"INSERT INTO {_table(connection, model)} ({columns}) VALUES ({marks}) {suffix}"
    with connection.cursor() as cursor:
        cursor.executemany(sql, [_adapted(connection, row.values()) for row in rows])


def update(alias: str, model: type[Model], rows: Sequence[Row]) -> None:
    """Write the columns of each row; ``id``, the last one, says which it is."""
    if not rows:
        return
    connection = connections[alias]
    *names, key = rows[0]
    changes = ", ".join(f"{connection.ops.quote_name(name)} = %s" for name in names)
    sql = f"UPDATE {_table(connection, model)} SET {changes} WHERE {connection.ops.quote_name(key)} = %s"
    with connection.cursor() as cursor:
        cursor.executemany(sql, [_adapted(connection, row.values()) for row in rows])


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


def _adapted(connection: BaseDatabaseWrapper, values: Any) -> list[Any]:
    datetimes, objects = connection.ops.adapt_datetimefield_value, connection.ops.adapt_json_value
    return [
        datetimes(value)
        if isinstance(value, datetime)
        else objects(value, None)
        if isinstance(value, (dict, list))
        else value
        for value in values
    ]
