"""Fresh databases for tests that need one of their own: another process's, or one that is taken away."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NoReturn
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
def fresh_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database of kind "sqlite", "postgresql" or "mariadb", dropped afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / f'{uuid.uuid4().hex}.sqlite3'}"
        return
    url = server_url(kind)
    name = f"maillog_{uuid.uuid4().hex}"
    create = f"CREATE DATABASE {name}" + (" CHARACTER SET utf8mb4" if kind == "mariadb" else "")
    drop = f"DROP DATABASE IF EXISTS {name}" + (" WITH (FORCE)" if kind == "postgresql" else "")
    execute(kind, url, create)
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        execute(kind, url, drop)


def execute(kind: str, url: str, statement: str) -> None:
    """Run one statement on a server, outside any transaction."""
    if kind == "postgresql":
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())
        return
    import MySQLdb

    parts = urlsplit(url)
    connection = MySQLdb.connect(
        host=parts.hostname, port=parts.port or 3306, user=parts.username, password=parts.password or ""
    )
    with closing(connection), closing(connection.cursor()) as cursor:
        cursor.execute(statement)
