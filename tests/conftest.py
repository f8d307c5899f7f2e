"""Fixtures that all tests share: a real mail server, a spool, LOGGING, and a project in other processes."""

from __future__ import annotations

import logging
import logging.config
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import hypothesis
import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection, transaction
from django.db.models import QuerySet
from django.db.models.signals import post_migrate
from django.test import TransactionTestCase
from django.utils import timezone

from tests import settings as test_settings
from tests.databases import connect, empty, fresh_database
from tests.showcase import Showcase
from tests.sites import Site
from tests.smtp import SMTPServer

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker
    from pytest_django.fixtures import Settings  # an older pytest-django has it under another name

# How long an example takes is the machine's affair: several runs may share it.
hypothesis.settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared machine")

KIND = os.environ.get("MAILLOG_TEST_DATABASE") or "sqlite"
NEEDS_PROCESSES = {"proxy", "empty_site", "site", "narrow"}
NEEDS_DATABASE = {"db", "transactional_db", "django_db_setup"} | NEEDS_PROCESSES
NEEDS_SERVER = {"proxy"}
# What their processes show happens before a record comes to the database, or after it has left it. Runs on
# servers leave these out; they go with each Python, on SQLite.
ELSEWHERE = {
    *("test_buffering_handler", "test_celery", "test_fork_state", "test_hostile_records"),
    *(
        "test_mail_backends",
        "test_docs_examples",
        "test_record_factory",
        "test_recursion",
        "test_release_gone",
    ),
    *("test_secrets_end_to_end", "test_spool_users", "test_tasks", "test_test_runs", "test_two_projects"),
    "test_worker",
}


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Workers are for the quick loop (None: one a core), and for nothing else.

    Tests that start processes use all cores by themselves, and some measure times. A few modules take less
    time than to start workers. On a server, a test makes MariaDB's packets small for a moment.
    """
    is_quick = config.option.markexpr == "not processes" and not config.option.file_or_dir
    return None if is_quick and not test_settings.SERVER else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A run for another database is for the tests that use it; without its server they are skipped."""
    # The longest first, so that no worker is left with it in the end.
    items.sort(key=lambda item: item.path.name != "test_day.py")
    for item in items:
        if needs(item, NEEDS_PROCESSES):
            item.add_marker("processes")
    others = [item for item in items if not is_for_this_database(item)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if is_for_this_database(item)]
    if not test_settings.SERVER or os.environ.get(test_settings.SERVER):
        return
    reason = f"{test_settings.SERVER} isn't set: no {KIND} server to test with"
    if os.environ.get("MAILLOG_TEST_REQUIRE_SERVERS"):
        raise pytest.UsageError(reason)
    for item in items:
        item.add_marker(pytest.mark.skip(reason=reason))


def is_for_this_database(item: pytest.Item) -> bool:
    """Whether a test belongs in a run for this kind of database; SQLite has no server that could go away."""
    if not test_settings.SERVER:
        return not needs(item, NEEDS_SERVER)
    is_elsewhere = needs(item, NEEDS_PROCESSES) and item.path.stem in ELSEWHERE
    return uses_database(item) and not is_elsewhere


def needs(item: pytest.Item, fixtures: set[str]) -> bool:
    return bool(fixtures & set(getattr(item, "fixturenames", ())))


def uses_database(item: pytest.Item) -> bool:
    """Whether a test touches the database of the run, in this process or in one that it starts."""
    if item.get_closest_marker("django_db") or needs(item, NEEDS_DATABASE):
        return True
    case = getattr(item, "cls", None)
    return isinstance(case, type) and issubclass(case, TransactionTestCase)


def mailers(server: SMTPServer, **options: Any) -> dict[str, Any]:
    """Django 6.1's MAILERS for this server."""
    backend = "django.core.mail.backends.smtp.EmailBackend"
    options = {"host": server.host, "port": server.port, "timeout": 5, **options}
    return {"default": {"BACKEND": backend, "OPTIONS": options}}


@pytest.fixture(scope="session", autouse=True)
def _alone_on_mariadb() -> Iterator[None]:
    """One run at a time on a MariaDB: a test makes the server's packets small for a moment."""
    url = os.environ.get(test_settings.SERVER, "") if KIND == "mariadb" else ""
    if not url:
        yield
        return
    with connect(KIND, url) as cursor:
        cursor.execute("SELECT GET_LOCK('django_maillog tests', 3600)")
        assert cursor.fetchone() == (1,), "another run has used this server for an hour"
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The same, but that permissions are put back as they were after each test that has committed.

    Django empties all tables then, and makes content types and permissions anew with some 40 statements.
    """
    with django_db_blocker.unblock():
        types, permissions = list(ContentType.objects.all()), list(Permission.objects.all())

    def put_back(using: str, **_options: Any) -> None:
        if not ContentType.objects.using(using).exists():
            ContentType.objects.using(using).bulk_create(types)
            Permission.objects.using(using).bulk_create(permissions)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(post_migrate, "receivers", [])
        post_migrate.sender_receivers_cache.clear()
        post_migrate.connect(put_back, sender=apps.get_app_config(Permission._meta.app_label))
        yield
    post_migrate.sender_receivers_cache.clear()


@pytest.fixture(autouse=True)
def _no_order_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a query asks for in no order comes the other way round each time, as PostgreSQL may have it."""
    fetch_all, asked = QuerySet._fetch_all, Counter[str]()

    def fetch(queryset: QuerySet[Any]) -> None:
        is_new = queryset._result_cache is None
        fetch_all(queryset)
        rows = queryset._result_cache
        if is_new and rows and not queryset.ordered:
            sql = str(queryset.query)
            asked[sql] += 1
            if (zlib.crc32(sql.encode()) + asked[sql]) % 2:
                rows.reverse()

    monkeypatch.setattr(QuerySet, "_fetch_all", fetch)


@pytest.fixture
def smtp(settings: Settings) -> Iterator[SMTPServer]:
    """A running SMTP server, which is the project's default mailer for the test."""
    with SMTPServer() as server:
        if django.VERSION >= (6, 1):
            settings.MAILERS = mailers(server)
        else:
            settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
            settings.EMAIL_HOST = server.host
            settings.EMAIL_PORT = server.port
            settings.EMAIL_TIMEOUT = 5
        yield server


@pytest.fixture
def spool_dir(settings: Settings, tmp_path: Path) -> Path:
    """The folder that MAILLOG_SPOOL_DIR names; it doesn't exist yet."""
    settings.MAILLOG_SPOOL_DIR = str(tmp_path / "spool")
    return tmp_path / "spool"


@pytest.fixture
def request_signals() -> Iterator[None]:
    """The test sends the signals of requests; as with Django's test client they close no connection."""
    signals = (request_started, request_finished)
    connected = [signal.disconnect(close_old_connections) for signal in signals]
    yield
    for signal, was_connected in zip(signals, connected, strict=True):
        if was_connected:
            signal.connect(close_old_connections)


@pytest.fixture
def configure_logging() -> Iterator[Callable[[dict[str, Any]], None]]:
    """`logging.config.dictConfig`; what it changed is closed and put back after the test."""
    manager = logging.Logger.manager
    before = {None: _state(logging.root)} | {
        name: _state(logger)
        for name, logger in manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    kept = {id(handler) for handlers, *_ in before.values() for handler in handlers}

    yield logging.config.dictConfig

    loggers = [logging.root, *(x for x in manager.loggerDict.values() if isinstance(x, logging.Logger))]
    for logger in loggers:
        for handler in [handler for handler in logger.handlers if id(handler) not in kept]:
            logger.removeHandler(handler)
            handler.close()
        name = None if logger is logging.root else logger.name
        handlers, logger.level, logger.propagate, logger.disabled = before.get(name, ([], 0, True, False))
        logger.handlers[:] = handlers
    manager._clear_cache()  # type: ignore[attr-defined]  # levels are cached, and nothing public forgets them


def _state(logger: logging.Logger) -> tuple[list[logging.Handler], int, bool, bool]:
    return list(logger.handlers), logger.level, logger.propagate, logger.disabled


@pytest.fixture(scope="module")
def showcase(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Showcase]:
    """The showcase's rows, made once for a module; what a test makes of them is rolled back after it."""
    with ExitStack() as exits:
        with django_db_blocker.unblock():
            exits.callback(connection.close)
            exits.enter_context(transaction.atomic())
            made = Showcase(timezone.now())
            made.build()
        yield made
        with django_db_blocker.unblock():
            transaction.set_rollback(True)
            exits.close()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, Path], str]]:
    """Gives a migrated database of a kind: to migrate one for each test takes longer than most tests.

    Of SQLite it is a copy; of a server it is the same database each time, emptied.
    """
    folder = tmp_path_factory.mktemp("migrated")
    with ExitStack() as databases:

        @cache
        def migrate(kind: str) -> str:
            url = databases.enter_context(fresh_database(kind, folder))
            site = Site(folder=folder, database_url=url, email_url="smtp://127.0.0.1:9")
            site.manage("migrate", "--verbosity=0")
            return url

        def database(kind: str, folder: Path) -> str:
            url = migrate(kind)
            if kind != "sqlite":
                empty(kind, url)
                return url
            path = folder / "db.sqlite3"
            shutil.copy(url.removeprefix("sqlite:///"), path)
            return f"sqlite:///{path}"

        yield database


@pytest.fixture
def empty_site(tmp_path: Path, smtp: SMTPServer) -> Iterator[Site]:
    """A project in processes of its own whose database has no tables yet."""
    with fresh_database(KIND, tmp_path) as url:
        site = Site(folder=tmp_path, database_url=url, email_url=smtp.url)
        yield site
        site.stop()


@pytest.fixture
def site(tmp_path: Path, smtp: SMTPServer, migrated: Callable[[str, Path], str]) -> Iterator[Site]:
    """A project in processes of its own, migrated, on the kind of database that this run is for."""
    site = Site(folder=tmp_path, database_url=migrated(KIND, tmp_path), email_url=smtp.url)
    yield site
    site.stop()
