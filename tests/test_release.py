"""MAILLOG_RELEASE is stored with each record, and told of each group."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from django_maillog import conf
from django_maillog.digest import summarize
from django_maillog.models import Batch, Group, Record
from django_maillog.silences import resolve
from tests.buffers import Buffer
from tests.log_records import brief, full, make_record
from tests.smtp import SMTPServer


@pytest.mark.parametrize("value", ["1.4.2", lambda: " 1.4.2\n"])
def test_every_record_says_the_release(settings: Any, value: Any) -> None:
    settings.MAILLOG_RELEASE = value

    assert full(make_record())["release"] == "1.4.2"
    assert brief(make_record())["release"] == "1.4.2"


def raises() -> str:
    raise RuntimeError("no git here")


@pytest.mark.parametrize("value", [5, raises, lambda: 5, ["1"], b"1"])
def test_a_release_that_is_none_is_a_problem_and_costs_no_record(settings: Any, value: Any) -> None:
    settings.MAILLOG_RELEASE = value

    assert "release" not in full(make_record())
    assert "MAILLOG_RELEASE" in dict(conf.problems())["MAILLOG_RELEASE"]


def test_a_callable_is_asked_once(settings: Any) -> None:
    asked: list[int] = []

    def release() -> str:
        asked.append(1)
        return "7"

    settings.MAILLOG_RELEASE = release
    for _ in range(3):
        full(make_record())

    assert asked == [1]


def test_without_the_setting_nothing_is_said() -> None:
    assert "release" not in full(make_record())


@pytest.mark.django_db(transaction=True)
def test_a_group_says_its_first_and_last_release_and_in_which_it_is_back(
    settings: Any, smtp: SMTPServer, spool_dir: Any
) -> None:
    buffer = Buffer("mail")
    buffer.now = timezone.now()
    settings.MAILLOG_RELEASE = "1.4.0"
    buffer.log(times=6)
    buffer.flush(everything=True)
    first = Batch.objects.get().text
    settings.MAILLOG_RELEASE = None
    buffer.wait(10)
    buffer.log()
    buffer.flush(everything=True)
    resolve(Group.objects.all(), buffer.now)
    settings.MAILLOG_RELEASE = "1.4.2"
    buffer.wait(10)
    buffer.log(times=6)
    buffer.flush(everything=True)

    group = Group.objects.get()
    assert (group.first_release, group.last_release) == ("1.4.0", "1.4.2")
    assert "  Release: 1.4.0\n" in first
    assert "  Release: back in 1.4.2, first seen in 1.4.0\n" in Batch.objects.latest("pk").text
    releases = [(record.details or {}).get("release") for record in Record.objects.order_by("pk")]
    assert releases[0] == "1.4.0"
    assert releases[-1] == "1.4.2"


@pytest.mark.django_db(transaction=True)
def test_what_is_imported_late_makes_an_older_release_the_first(
    settings: Any, smtp: SMTPServer, spool_dir: Any
) -> None:
    buffer = Buffer("mail")
    settings.MAILLOG_RELEASE = "2"
    buffer.log()
    buffer.import_all()
    settings.MAILLOG_RELEASE = "1"
    buffer.wait(-60)
    buffer.log(times=5)
    buffer.import_all()

    assert list(Group.objects.values_list("first_release", "last_release")) == [("1", "2")]


def test_a_mail_without_a_database_says_it_too(settings: Any) -> None:
    settings.MAILLOG_RELEASE = "1"
    value = full(make_record())

    report = summarize([value, value | {"release": "2"}], buffer="mail", reason="new", now=timezone.now())

    assert (report.groups[0].first_release, report.groups[0].last_release) == ("1", "2")
