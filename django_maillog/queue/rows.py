"""Many rows in one go: the drivers' ``executemany``, several times faster than what the ORM compiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import Field, Model

from ..models import Tally

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def insert(alias: str, rows: Sequence[Model], *, suffix: str = "") -> None:
    """Insert rows; they don't learn their keys."""
    if not rows:
        return
    connection = connections[alias]
    fields = [field for field in rows[0]._meta.concrete_fields if not field.primary_key]
    columns = ", ".join(_column(connection, field) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    sql = f"INSERT INTO {_table(alias, rows[0])} ({columns}) VALUES ({marks}) {suffix}"
    with connection.cursor() as cursor:
        cursor.executemany(sql, [_values(row, fields, connection) for row in rows])


def update(alias: str, rows: Sequence[Model], names: Sequence[str]) -> None:
    """Write these fields of each row."""
    if not rows:
        return
    connection = connections[alias]
    named = {field.name: field for field in rows[0]._meta.concrete_fields}
    key = next(field for field in named.values() if field.primary_key)
    fields = [named[name] for name in names]
    changes = ", ".join(f"{_column(connection, field)} = %s" for field in fields)
    sql = f"UPDATE {_table(alias, rows[0])} SET {changes} WHERE {_column(connection, key)} = %s"
    with connection.cursor() as cursor:
        cursor.executemany(sql, [_values(row, [*fields, key], connection) for row in rows])


def add_tallies(alias: str, rows: Sequence[Tally]) -> None:
    """Add to the hourly counts, whether they have a row yet or not."""
    quote = connections[alias].ops.quote_name
    count = quote("count")
    if connections[alias].vendor == "mysql":
        suffix = f"ON DUPLICATE KEY UPDATE {count} = {count} + VALUES({count})"
    else:
        key = ", ".join(map(quote, ("group_id", "hour_at", "level")))
        total = f"{quote(Tally._meta.db_table)}.{count} + EXCLUDED.{count}"
        suffix = f"ON CONFLICT ({key}) DO UPDATE SET {count} = {total}"
    insert(alias, rows, suffix=suffix)


def _table(alias: str, row: Model) -> str:
    return connections[alias].ops.quote_name(row._meta.db_table)


def _column(connection: BaseDatabaseWrapper, field: Field[Any, Any]) -> str:
    return connection.ops.quote_name(str(field.column))


def _values(row: Model, fields: Sequence[Field[Any, Any]], connection: BaseDatabaseWrapper) -> list[Any]:
    return [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]
