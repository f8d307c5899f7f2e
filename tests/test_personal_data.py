"""MAILLOG_PERSONAL_DATA keeps people out of everything, and prune_maillogs erases somebody afterwards."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import RequestFactory
from django.utils import timezone

from django_maillog import conf
from django_maillog.capture.plain import json_line
from django_maillog.handlers import SMTPHandler
from django_maillog.models import Batch, Group, Record, Status
from django_maillog.prune import prune
from django_maillog.signals import batch_sent
from tests.buffers import Buffer
from tests.log_records import full, make_record, module, raised
from tests.smtp import SMTPServer

SOURCE = """
    def view(request):
        form, name = request.POST, request.POST["name"]
        raise ValueError("no")
"""


def visit(user: User) -> Any:
    request = RequestFactory(headers={"User-Agent": "agent-of-ada"}, REMOTE_ADDR="192.0.2.77").post(
        "/pay/?q=ada-query", {"name": "ada-name"}
    )
    request.POST  # noqa: B018  # parses it
    request.user = user
    return request


def told(**options: Any) -> str:
    request = visit(User(pk=42, username="ada"))
    record = make_record(error=raised(module(SOURCE).view, request), request=request, status_code=500)
    handler = SMTPHandler(include_html=True)
    texts = [
        json_line(full(record, html=handler.get_offline_report)).decode(),
        handler.get_html_report(record),
    ]
    return "".join([*texts, handler._text_report(record)])


def test_people_are_in_nothing_if_the_setting_says_so(settings: Any) -> None:
    kept = told()
    settings.MAILLOG_PERSONAL_DATA = False
    without = told()

    for personal in ("42 ada", "192.0.2.77", "ada-query", "ada-name", "agent-of-ada"):
        assert personal in kept
        assert personal not in without
    assert '"path":"/pay/"' in without
    assert "ValueError" in without


def test_a_wrong_value_is_a_problem_and_keeps_people_out(settings: Any) -> None:
    settings.MAILLOG_PERSONAL_DATA = "no"
    record = make_record(request=visit(User(pk=42, username="ada")))

    assert "MAILLOG_PERSONAL_DATA" in dict(conf.problems())
    assert "user" not in full(record)["request"]
    assert "ada" not in told().replace("of_ada", "")


@pytest.fixture
def buffer(smtp: SMTPServer, spool_dir: Any) -> Buffer:
    buffer = Buffer("mail")
    buffer.now = timezone.now()
    return buffer


def log(buffer: Buffer, name: str, number: int, **extra: Any) -> None:
    request = visit(User(pk=number, username=name))
    record = make_record(f"payment of {name} failed", request=request, fingerprint=name, **extra)
    buffer.handler.handle(record)


def everything() -> str:
    rows = [list(model.objects.values()) for model in (Batch, Group, Record)]
    return json.dumps(rows, default=str, ensure_ascii=False)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("who", ["4", "ada"])
def test_a_users_records_and_mails_are_erased_and_nobody_elses(who: str, buffer: Buffer) -> None:
    log(buffer, "ada", 4)
    log(buffer, "bob", 42)
    buffer.flush(everything=True)
    buffer.handler.forget_sights()
    log(buffer, "bob", 42)
    buffer.flush(everything=True)
    counts = list(Batch.objects.order_by("pk").values_list("record_count", flat=True))
    output = StringIO()

    call_command("prune_maillogs", "--user", who, stdout=output)

    first, second = Batch.objects.order_by("pk")
    assert output.getvalue() == "2 rows erased.\n"
    assert not first.text
    assert not first.html
    assert "42 bob" in second.text
    assert "4 ada" not in everything()
    assert Record.objects.count() == 3
    assert list(Batch.objects.order_by("pk").values_list("record_count", flat=True)) == counts
    assert Record.objects.filter(request__user="42 bob").count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_text_is_erased_wherever_it_is(buffer: Buffer) -> None:
    log(buffer, "Ada@Example.org", 4, note={"deep": ["ada@example.org"]})
    log(buffer, "bob", 5)
    buffer.import_all()

    call_command("prune_maillogs", "--text", "ada@example.org", stdout=StringIO())
    buffer.flush(everything=True)

    assert "ada@example.org" not in everything().lower()
    assert "payment of bob failed" in everything()
    assert Batch.objects.get().record_count == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("language", "is_pruned"), [("en", False), ("en", True), ("de", True), ("fr", True), ("en-gb", True)]
)
def test_of_a_user_who_was_captured_by_key_alone_only_the_mails_are_erased(
    buffer: Buffer, settings: Any, language: str, *, is_pruned: bool
) -> None:
    settings.LANGUAGE_CODE = language
    user = User.objects.only("pk").get(pk=User.objects.create(pk=5, username="ada").pk)
    for number in range(3):
        buffer.log(f"order {number} failed 15 times, 5 in a row", fingerprint=f"order {number}")
        buffer.flush(everything=True)
    for number in (55, 5):
        request = visit(user if number == 5 else User(pk=number, username="bob"))
        buffer.handler.handle(make_record("no", request=request, fingerprint=f"of {number}"))
        buffer.flush(everything=True)
    if is_pruned:
        Record.objects.filter(request__user="5").delete()
    settings.LANGUAGE_CODE = "en"
    output = StringIO()

    call_command("prune_maillogs", "--user", "5", stdout=output)

    texts = Batch.objects.order_by("pk").values_list("text", "html")
    assert [bool(text and html) for text, html in texts] == [True, True, True, True, False]
    assert output.getvalue() == f"{1 if is_pruned else 2} rows erased.\n"


@pytest.mark.django_db(transaction=True)
def test_a_name_within_a_longer_one_is_somebody_elses(buffer: Buffer) -> None:
    for name, number in (("ada", 4), ("adam", 14), ("ad", 4_4)):
        log(buffer, name, number)
        buffer.flush(everything=True)

    call_command("prune_maillogs", "--user", "4", stdout=StringIO())
    call_command("prune_maillogs", "--user", "ad", stdout=StringIO())

    assert [bool(text) for text in Batch.objects.order_by("pk").values_list("text", flat=True)] == [
        False,
        True,
        False,
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "text",
    [
        r"C:\Users\countess",
        'the "Countess" Lovelace',
        """the 'Countess' of "L\"""",
        "Ada\nCountess of Lovelace",
        "Gräfin Countess",
        "Countess 😀\\n😀",
        "Count\u200bess",
    ],
)
def test_a_text_is_erased_however_it_is_escaped(buffer: Buffer, text: str) -> None:
    """In values of JSON, in messages that hold JSON or what Python's repr makes of it, in mails."""
    buffer.handler.target.include_html = True
    request = RequestFactory().post("/pay/", {"name": text})
    records = [
        make_record("in extra", extra_=text),
        make_record("deep in extra", deep=[{"who": [text]}]),
        make_record("as a key", pairs={text: 1}),
        make_record("in a request", request=request),
        make_record(f"message {text} as it is"),
        make_record(json.dumps({"who": text})),
        make_record(json.dumps({"who": json.dumps({"who": text})}, ensure_ascii=False)),
        make_record(f"message of {text!r}"),
        make_record("error", error=raised(module("def view(text): raise ValueError(text)").view, text)),
        make_record("bob is nobody"),
    ]
    request.POST  # noqa: B018  # parses it
    for number, record in enumerate(records):
        if record is records[-1]:
            buffer.flush(everything=True)
        record.fingerprint = str(number)
        buffer.handler.handle(record)
    buffer.flush(everything=True)

    call_command("prune_maillogs", "--text", text, stdout=StringIO())

    assert Record.objects.filter(message="(deleted)").count() == len(records) - 1
    assert [batch.subject for batch in Batch.objects.exclude(text="")] == ["[Django] ERROR bob is nobody"]
    for name in ("countess", "count\u200bess", "count\\u200bess"):
        assert name not in everything().lower()


@pytest.mark.django_db(transaction=True)
def test_a_text_is_erased_from_what_was_folded(buffer: Buffer) -> None:
    for number in range(30):
        buffer.log(f"no {number}", error=ValueError(f"countess {number % 3}"), fingerprint="one")
    buffer.flush(everything=True)
    assert "countess" in json.dumps(list(Record.objects.values_list("titles", flat=True)))

    call_command("prune_maillogs", "--text", "countess", stdout=StringIO())

    assert "countess" not in everything()


@pytest.mark.django_db(transaction=True)
def test_what_is_erased_while_mails_go_out_is_in_none_that_follows(spool_dir: Path, smtp: SMTPServer) -> None:
    buffers = [Buffer("first"), Buffer("second")]
    for buffer in buffers:
        buffer.now = timezone.now()
        log(buffer, "ada", 4)

    def erase(**_kwargs: Any) -> None:
        time.sleep(1.1)  # as a slow mail server takes
        call_command("prune_maillogs", "--user", "ada", stdout=StringIO())

    batch_sent.connect(erase)
    try:
        buffers[0].flush(everything=True)
    finally:
        batch_sent.disconnect(erase)

    assert len(smtp.messages) == 2
    assert "4 ada" not in everything()


@pytest.mark.django_db
def test_failed_batches_go_after_a_year() -> None:
    now = timezone.now()
    for days in (364, 366):
        Batch.objects.create(buffer="mail", status=Status.FAILED, opened_at=now - timedelta(days=days))

    prune(now - timedelta(days=30), now)

    assert [now - batch.opened_at for batch in Batch.objects.all()] == [timedelta(days=364)]
