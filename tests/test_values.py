"""What one mail says of the values of a group, of equal titles, and of what is new."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from django_maillog import digest
from django_maillog.digest import summarize
from django_maillog.models import Batch, Group, Record
from django_maillog.outbox import contents, rows
from django_maillog.outbox.contents import report

from .buffers import NOON, Buffer
from .log_records import full, make_record, module, raised

if TYPE_CHECKING:
    from pytest_django import DjangoAssertNumQueries

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir")]

PLANETS = """
def moons(name):
    return {"Earth": 1}[name]

def rings(name):
    return {"Saturn": 7}[name]
"""


def log(buffer: Buffer, function: str, *names: str) -> None:
    planets = module(PLANETS)
    for name in names:
        buffer.log(f"Page of {name} failed", error=raised(getattr(planets, function), name))


def mail_of(buffer: Buffer) -> digest.Digest:
    buffer.import_all()
    return digest.render(report(Batch.objects.get(), buffer.now))


def lines(mail: digest.Digest) -> list[str]:
    return [line.strip() for line in mail.text.splitlines()]


def attached(mail: digest.Digest) -> list[dict[str, Any]]:
    (attachment,) = mail.attachments
    return [json.loads(line) for line in gzip.decompress(attachment.content).splitlines()]


def test_the_values_of_a_group_are_counted_and_shown() -> None:
    buffer = Buffer()
    log(buffer, "moons", "Mars", "Venus", "Mars")

    mail = mail_of(buffer)

    assert "2 × KeyError: 'Mars'" in lines(mail)
    assert "1 × KeyError: 'Venus'" in lines(mail)
    assert "<b>×2</b> KeyError: &#x27;Mars&#x27;" in mail.html


def test_values_of_folded_records_are_counted_exactly() -> None:
    buffer = Buffer()
    log(buffer, "moons", *["Mars"] * 5, *["Venus"] * 7)
    buffer.import_all()
    log(buffer, "moons", *["Venus"] * 30, "Pluto")

    mail = mail_of(buffer)

    assert Record.objects.get(folded=True).titles == {
        "KeyError: 'Mars'": 2,
        "KeyError: 'Venus'": 37,
        "KeyError: 'Pluto'": 1,
    }
    assert lines(mail)[4:].count("37 × KeyError: 'Venus'") == 1
    assert "5 × KeyError: 'Mars'" in lines(mail)


def test_more_values_than_are_kept_are_a_number() -> None:
    buffer = Buffer()
    log(buffer, "moons", *(f"planet-{number}" for number in range(40)))

    mail = mail_of(buffer)

    fold = Record.objects.get(folded=True)
    assert len(fold.titles) == 9
    assert sum(fold.titles.values()) == 37
    assert "29 × in other values" in lines(mail)


def test_one_value_is_said_once() -> None:
    buffer = Buffer()
    log(buffer, "moons", "Mars", "Mars")

    assert sum("KeyError: 'Mars'" in line for line in lines(mail_of(buffer))) == 2  # title and traceback


def test_messages_have_no_values_beside_themselves() -> None:
    buffer = Buffer()
    buffer.log("Order 7 failed", fingerprint="order", times=9)
    buffer.log("Order 8 failed", fingerprint="order")
    buffer.import_all()

    assert Record.objects.get(folded=True).titles == {}
    assert report(Batch.objects.get(), buffer.now).groups[0].titles == []


def test_a_records_own_title_stays_its_own_in_the_attachment() -> None:
    buffer = Buffer()
    log(buffer, "moons", "Mars", "Venus")

    assert [value["title"] for value in attached(mail_of(buffer))] == [
        "KeyError: 'Mars'",
        "KeyError: 'Venus'",
    ]


def test_values_are_counted_without_a_database_too() -> None:
    planets = module(PLANETS)
    values = [
        full(make_record("Page failed", error=raised(planets.moons, name))) for name in ("Mars", "Venus")
    ]

    (group,) = summarize(values, buffer="mail", reason="outage", now=NOON).groups

    assert group.titles == [("KeyError: 'Mars'", 1), ("KeyError: 'Venus'", 1)]


def test_the_admin_shows_the_values(admin_client: Client) -> None:
    buffer = Buffer()
    log(buffer, "moons", *["Mars"] * 4, "Venus")
    buffer.import_all()

    pages = [
        admin_client.get(reverse("admin:django_maillog_group_change", args=[Group.objects.get().pk])),
        admin_client.get(
            reverse("admin:django_maillog_record_change", args=[Record.objects.get(folded=True).pk])
        ),
    ]

    for page in pages:
        assert "KeyError: &#x27;Venus&#x27;</span> <b>1</b>" in page.content.decode()


def test_equal_titles_are_told_apart_by_their_places() -> None:
    buffer = Buffer()
    log(buffer, "moons", "Mars")
    log(buffer, "rings", "Mars")
    buffer.log("Something else")

    mail = mail_of(buffer)

    assert "1 × KeyError: 'Mars' (at srv/shop/views.py:3 in moons)" in lines(mail)
    assert "1 × KeyError: 'Mars' (at srv/shop/views.py:6 in rings)" in lines(mail)
    assert "1 × Something else" in lines(mail)


def test_equal_titles_beyond_those_in_full_are_told_apart_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "FULL_GROUPS", 1)
    buffer = Buffer()
    log(buffer, "moons", "Mars")
    log(buffer, "rings", "Mars")

    text = mail_of(buffer).text

    assert "views.py:3 in moons" in text
    assert "views.py:6 in rings" in text


@pytest.mark.parametrize("include_html", [False, True])
def test_a_batch_whose_rows_are_all_read_says_what_one_says_whose_rows_are_counted(
    monkeypatch: pytest.MonkeyPatch, *, include_html: bool
) -> None:
    buffer = Buffer()
    log(buffer, "moons", "Mars", "Venus", *["Pluto"] * 30)
    buffer.flush(everything=True)
    buffer.wait(3600)
    log(buffer, "moons", "Mars", *["Venus"] * 40)  # repeats of what was mailed: the sample is an older row
    log(buffer, "rings", "Mars")
    buffer.log("Something else")
    buffer.log("Quiet")
    buffer.import_all()
    Record.objects.filter(message="Quiet").update(silenced=True)
    Record.objects.filter(message="Something else").update(host="elsewhere", level=30)
    Record.objects.filter(full=True).update(html="<p>technical</p>")

    def read() -> tuple[dict[str, Any], list[Any]]:
        shown = report(Batch.objects.get(status="open"), buffer.now, include_html=include_html)
        assert shown.records
        groups = [vars(group) for group in shown.groups]
        for group in groups:
            if not include_html:
                (group["sample"] or {}).pop("html", None)
        return vars(shown) | {"groups": groups, "records": None, "new_count": None}, list(shown.records())

    few = read()
    monkeypatch.setattr(rows, "FEW_RECORDS", 0)
    many = read()

    assert few == many
    assert len(few[0]["groups"]) == 3
    assert ("html" in few[0]["groups"][0]["sample"]) is include_html


def test_records_are_read_together_for_small_batches_and_for_the_larger_by_themselves(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    small = [Buffer(name=f"small{number}") for number in range(3)]
    large = Buffer(name="large")
    for buffer in small:
        log(buffer, "moons", "Mars")
    log(large, "moons", *["Mars"] * (rows.FEW_AHEAD + 1))
    for buffer in [*small, large]:
        buffer.import_all()
    *batches, largest = Batch.objects.order_by("record_count")

    with django_assert_num_queries(2):
        rows.read_ahead([*batches, largest])
    with django_assert_num_queries(0):
        titles = [[group.title for group in rows.rows_of(batch).sums()[0].values()] for batch in batches]
    with django_assert_num_queries(2):
        rows.rows_of(largest)

    assert titles == [["KeyError: 'Mars'"]] * 3


def test_what_two_processes_have_at_once_is_new_whoever_is_imported_first() -> None:
    buffer = Buffer()
    log(buffer, "moons", "Mars")
    buffer.import_all()
    buffer.wait(-2)
    log(buffer, "moons", "Mars")
    buffer.wait(3)

    mail = mail_of(buffer)

    assert "back after" not in mail.text
    assert "1 problem, 1 new" in mail.text.replace("all new", "1 new")
    assert Group.objects.get().first_seen_at == NOON - timedelta(seconds=2)


def test_what_is_back_stays_back_when_an_earlier_record_of_it_comes_later() -> None:
    buffer = Buffer(resolve_timeout=60)
    log(buffer, "moons", "Mars")
    buffer.flush(everything=True)
    buffer.wait(3600)
    log(buffer, "moons", "Mars")
    buffer.import_all()
    buffer.wait(-2)
    log(buffer, "moons", "Mars")
    buffer.import_all()

    (group,) = report(Batch.objects.get(status="open"), buffer.now).groups

    assert group.state == "regressed"
