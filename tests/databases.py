"""Fresh databases for tests that need one of their own: another process's, or one that is taken away."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest

from tests.settings import SERVERS


def server_url(kind: str) -> str:
    """The URL of the test server of this kind; without one the test is skipped, or fails (see `lack`)."""
    variable = SERVERS[kind]
    if variable not in os.environ:
        lack(f"{variable} isn't set: no {kind} server to test with")
    return os.environ[variable]


def lack(reason: str) -> NoReturn:
    """Skip the test, which lacks a server or a program; where all are required (in CI), fail it."""
    if os.environ.get("MAILLOG_TEST_REQUIRE_SERVERS"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@contextmanager
def fresh_database(kind: str, folder: Path, options: str = "") -> Iterator[str]:
    """The URL of an empty database of kind "sqlite", "postgresql" or "mariadb", dropped afterwards.

    ``options``: how a server makes it, its character set above all.
    """
    if kind == "sqlite":
        yield f"sqlite:///{folder / f'{uuid.uuid4().hex}.sqlite3'}"
        return
    url = server_url(kind)
    name = f"maillog_{uuid.uuid4().hex}"
    create = f"CREATE DATABASE {name} {options or ('CHARACTER SET utf8mb4' if kind == 'mariadb' else '')}"
    drop = f"DROP DATABASE IF EXISTS {name}" + (" WITH (FORCE)" if kind == "postgresql" else "")
    execute(kind, url, create)
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        execute(kind, url, drop)


# For each kind of server: the other sessions of the connection's database, what ends one, and the tables.
_SESSIONS = {
    "postgresql": (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ),
    "mariadb": (
        "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
    ),
}
_END = {"postgresql": "SELECT pg_terminate_backend({})", "mariadb": "KILL {}"}
_TABLES = {
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    "mariadb": "SELECT table_name FROM information_schema.tables WHERE table_schema = database()",
}
_WITHOUT_FOREIGN_KEYS = {
    "postgresql": "SET session_replication_role = replica",
    "mariadb": "SET foreign_key_checks = 0",
}
# What `migrate` itself fills.
_KEPT = {"django_migrations", "django_content_type", "auth_permission"}


def empty(kind: str, url: str) -> None:
    """Make a server's database as `migrate` left it; the sessions of processes that were killed end first."""
    with connect(kind, url) as cursor:
        give_up_at = time.monotonic() + 60
        while sessions := rows(cursor, _SESSIONS[kind]):
            assert time.monotonic() < give_up_at, f"sessions {sessions} don't end"
            for session in sessions:
                with suppress(Exception):  # MariaDB raises if it has gone by itself
                    cursor.execute(_END[kind].format(session))
            time.sleep(0.01)
        cursor.execute(_WITHOUT_FOREIGN_KEYS[kind])
        for table in set(rows(cursor, _TABLES[kind])) - _KEPT:
            cursor.execute(f"DELETE FROM {table}")


def rows(cursor: Any, query: str) -> list[Any]:
    """The one column that a query asks for."""
    cursor.execute(query)
    return [value for (value,) in cursor.fetchall()]


def execute(kind: str, url: str, statement: str) -> None:
    """Run one statement on a server, outside any transaction."""
    with connect(kind, url) as cursor:
        cursor.execute(statement)


@contextmanager
def connect(kind: str, url: str) -> Iterator[Any]:
    """A cursor on a server's database, outside any transaction."""
    if kind == "postgresql":
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            yield connection.cursor()
        return
    import MySQLdb

    parts = urlsplit(url)
    connection = MySQLdb.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.path.lstrip("/"),
        autocommit=True,
    )
    with closing(connection), closing(connection.cursor()) as cursor:
        yield cursor
