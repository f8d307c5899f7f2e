"""Settings: read at use, checked, with defaults that suit."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends import locmem
from django.test.utils import setup_test_environment, teardown_test_environment

from django_maillog import buffers, conf
from django_maillog.handlers import BufferingHandler

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings  # an older pytest-django has it under another name

WRONG: dict[str, list[Any]] = {
    "MAILLOG_PROJECT": ["", " ", 7, "x" * 201],
    "MAILLOG_SPOOL_DIR": ["", 7, b"bytes", "spool", "~/spool", Path("spool"), "/a\0b"],
    "MAILLOG_SPOOL_GROUP": ["no-such-group", 4_000_000_000, -1, True, 1.5, ""],
    "MAILLOG_SPOOL_MAX_BYTES": [0, -1, "1", True, float("inf"), 0.5],
    "MAILLOG_WORKER": ["threads", None, 1],
    "MAILLOG_DELIVERY": ["mail", None],
    "MAILLOG_RETENTION_DAYS": [0, "30", None, 1_000_000, float("nan")],
    "MAILLOG_SITE_URL": [
        "example.com",
        7,
        "ftp://example.com",
        "https://[example.com",
        "https://example.com /x",
        "https://example.com?x",
        "https://:80",
    ],
    "MAILLOG_OUTAGE_WAIT": [0, -5, "30", 10**400],
}


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert conf.spool_max_bytes() == 256 * 1024 * 1024
    assert conf.worker() == "thread"
    assert conf.delivery() == "worker"
    assert conf.retention_days() == 30
    assert conf.site_url() == ""
    assert conf.outage_wait() == 30
    assert list(conf.problems()) == []


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_a_wrong_value_is_named_with_its_setting(settings: Settings, name: str, value: object) -> None:
    setattr(settings, name, value)

    [(setting, problem)] = conf.problems()

    assert setting == name
    assert problem.startswith(name)
    assert repr(value) in problem
    with pytest.raises(ImproperlyConfigured):
        getattr(conf, name.removeprefix("MAILLOG_").lower())()


def test_where_a_value_is_wrong_the_default_can_be_had(settings: Settings) -> None:
    settings.MAILLOG_DELIVERY, settings.MAILLOG_WORKER = "Worker", "inline"

    assert conf.or_default(conf.delivery) == "worker"
    assert conf.or_default(conf.worker) == "inline"


def test_an_unknown_setting_is_named(settings: Settings) -> None:
    settings.MAILLOG_WROKER = "thread"

    assert list(conf.problems()) == [("MAILLOG_WROKER", "Unknown setting MAILLOG_WROKER.")]


def test_values_are_read_at_each_use(settings: Settings) -> None:
    settings.MAILLOG_SITE_URL = "https://example.com/"
    settings.MAILLOG_SPOOL_DIR = Path("/somewhere")

    assert conf.site_url() == "https://example.com"
    assert conf.spool_dir() == Path("/somewhere")


def test_a_project_is_named_after_its_settings_module_unless_it_has_a_name(settings: Settings) -> None:
    assert conf.project() == "tests.settings"

    settings.MAILLOG_PROJECT = "Shop (staging)"

    assert conf.project() == "Shop (staging)"


@pytest.mark.skipif(os.name == "nt", reason="needs groups")
def test_a_group_is_found_by_name_and_number_where_the_folder_is_named(settings: Settings) -> None:
    import grp

    group = grp.getgrall()[-1]
    settings.MAILLOG_SPOOL_GROUP = group.gr_name
    [(_setting, problem)] = conf.problems()
    settings.MAILLOG_SPOOL_DIR = "/somewhere"
    found = [conf.spool_group()]
    settings.MAILLOG_SPOOL_GROUP = group.gr_gid
    found.append(conf.spool_group())

    assert problem.startswith(f"MAILLOG_SPOOL_GROUP = '{group.gr_name}' needs MAILLOG_SPOOL_DIR")
    assert found == [group.gr_gid] * 2


def test_only_the_test_environment_makes_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "_tested", False)
    assert conf.testing()
    teardown_test_environment()
    try:
        monkeypatch.setattr(conf, "_tested", False)
        locmem.EmailBackend()  # makes an outbox
        found = hasattr(mail, "outbox"), conf.testing(), conf.tested()
    finally:
        setup_test_environment()

    assert found == (True, False, False)
    assert conf.testing()
    assert not conf.tested()


def test_a_process_that_has_run_tests_is_known_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "_tested", False)
    before = conf.testing(), conf.tested()
    teardown_test_environment()
    try:
        after = conf.testing(), conf.tested()
    finally:
        setup_test_environment()

    assert (before, after) == ((True, False), (True, True))


def test_the_newest_handler_of_a_name_is_the_buffer_s_and_a_dead_one_is_forgotten() -> None:
    first, second = BufferingHandler(), BufferingHandler()
    first.set_name("conf-test")
    second.set_name("conf-test")
    assert buffers.find("conf-test") is second

    del first, second
    gc.collect()

    assert buffers.find("conf-test") is None


def test_muting_is_the_thread_s_own_and_nests() -> None:
    found = []
    with buffers.muted():
        with buffers.muted():
            pass
        assert buffers.thread.muted
        thread = threading.Thread(target=lambda: found.append(buffers.thread.muted))
        thread.start()
        thread.join()
    assert not buffers.thread.muted
    assert found == [False]
