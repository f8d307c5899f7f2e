"""What the admin's pages show: hostile records escaped, odd batches explained, missing rows forgiven."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation

from django_maillog.admin.overview import overview
from django_maillog.models import Attempt, Batch, Group, Outcome, Record, Status
from django_maillog.outbox.mails import preview
from tests.showcase import Showcase

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("showcase")]

BASE = "/admin/django_maillog"
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ request }}{% now 'Y' %}\x1b[31m\u202e"


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return answer.content.decode()


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.SENDING])
def test_a_batch_opens_in_every_state(admin_client: Client, showcase: Showcase, status: Status) -> None:
    batch = Batch.objects.filter(status=status)[0]

    page = text(admin_client, f"{BASE}/batch/{batch.pk}/change/")

    assert "Timeline" in page
    assert batch.buffer in page


def test_the_list_tells_states_in_words(admin_client: Client, showcase: Showcase) -> None:
    page = text(admin_client, f"{BASE}/batch/")

    for word in ("open", "retrying at", "sent", "failed", "cancelled", "due "):
        assert word in page
    assert "1 batch failed: 550 5.1.1 &lt;oncall@shop.example&gt;" in page
    assert "something new broke" in page


def test_the_page_of_a_batch_tells_each_attempt(admin_client: Client, showcase: Showcase) -> None:
    batch = Batch.objects.get(status=Status.READY)

    page = text(admin_client, f"{BASE}/batch/{batch.pk}/change/")

    assert page.count("Tried, to be tried again") == 3
    assert page.count("Connection refused") == 4  # once as the last error
    assert "Next try" in page


@pytest.mark.parametrize(
    ("status", "outcome", "title"),
    [
        (Status.SENT, Outcome.UNCONFIRMED, "Handed over, but not confirmed: it may not have been sent"),
        (Status.READY, Outcome.UNKNOWN, "Tried, and cut off before it was known how it ended"),
        (Status.SENDING, Outcome.UNKNOWN, "Being sent right now"),
    ],
)
def test_an_attempt_whose_end_is_not_known_is_told(
    admin_client: Client, showcase: Showcase, status: Status, outcome: Outcome, title: str
) -> None:
    batch = Batch.objects.get(status=Status.READY)
    Batch.objects.filter(pk=batch.pk).update(status=status, last_error="the backend sent 0")
    Attempt.objects.create(batch=batch, tried_at=timezone.now(), outcome=outcome)

    page = text(admin_client, f"{BASE}/batch/{batch.pk}/change/")

    assert page.count(title) == 1
    assert "the backend sent 0" in page


def test_mails_that_no_backend_confirmed_are_warned_of(showcase: Showcase) -> None:
    now = timezone.now()
    batch = Batch.objects.filter(status=Status.SENT).latest("sent_at")
    before = overview(now)["warnings"]
    Attempt.objects.filter(batch=batch).update(outcome=Outcome.UNCONFIRMED)

    (warning,) = set(overview(now)["warnings"]) - set(before)

    assert warning.startswith("1 mail of the last 24 hours may not have been sent")


def test_a_mail_that_failed_for_good_says_what_follows(admin_client: Client, showcase: Showcase) -> None:
    batch = Batch.objects.get(status=Status.FAILED)

    assert "Nobody was told" in text(admin_client, f"{BASE}/batch/{batch.pk}/change/")


def test_records_that_the_mail_only_counts_are_told(admin_client: Client, showcase: Showcase) -> None:
    batch = Batch.objects.filter(status=Status.SENT)[0]
    Batch.objects.filter(pk=batch.pk).update(silenced_count=7, lost_count=3)

    page = text(admin_client, f"{BASE}/batch/{batch.pk}/change/")

    assert "Of silenced problems" in page
    assert "Only counted" in page


def test_records_of_a_group_that_is_gone_are_none(admin_client: Client, showcase: Showcase) -> None:
    for query in ("group=999999", "group=x", "batch=999999"):
        assert admin_client.get(f"{BASE}/record/?{query}").context["cl"].result_count == 0


def test_a_sent_mail_is_shown_exactly_as_it_was(admin_client: Client, showcase: Showcase) -> None:
    batch = Batch.objects.filter(status=Status.SENT)[0]
    batch.subject, batch.text, batch.html = "What was sent", "text <as sent>", "<p>html as sent</p>"
    batch.save()

    page = text(admin_client, f"{BASE}/batch/{batch.pk}/change/")

    assert "text &lt;as sent&gt;" in page
    assert text(admin_client, f"{BASE}/batch/{batch.pk}/mail.html/") == "<p>html as sent</p>"
    assert str(batch.message_id).strip("<>") in page


def test_an_open_batch_is_shown_as_it_would_be_sent(admin_client: Client, showcase: Showcase) -> None:
    batch = Batch.objects.open().get(buffer="mail_admins")

    page = text(admin_client, f"{BASE}/batch/{batch.pk}/change/")
    plain = text(admin_client, f"{BASE}/batch/{batch.pk}/mail.txt/")
    batch.refresh_from_db()

    assert "as it would be sent now" in page
    assert "ZeroDivisionError" in plain
    assert plain.startswith(preview(batch).subject)
    assert (batch.status, batch.text) == (Status.OPEN, "")


def test_the_frame_runs_and_loads_nothing(admin_client: Client, showcase: Showcase) -> None:
    batch = Batch.objects.filter(status=Status.SENT)[0]

    page = text(admin_client, f"{BASE}/batch/{batch.pk}/change/")
    framed = admin_client.get(f"{BASE}/batch/{batch.pk}/mail.html/")

    assert '<iframe class="maillog-mail" sandbox=""' in page
    rules = framed["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "style-src 'unsafe-inline'", "img-src data:", "sandbox"} <= set(rules)
    assert framed["X-Content-Type-Options"] == "nosniff"


def test_the_mail_can_be_downloaded(admin_client: Client, showcase: Showcase) -> None:
    batch = Batch.objects.filter(status=Status.SENT)[0]

    answer = admin_client.get(f"{BASE}/batch/{batch.pk}/mail.eml/")
    mail = message_from_bytes(answer.content, policy=policy.default)

    assert answer["Content-Type"] == "message/rfc822"
    assert answer["Content-Disposition"] == f'attachment; filename="maillog-{batch.pk}.eml"'
    assert mail["Message-ID"] == batch.message_id
    assert mail["Subject"].strip() == batch.subject


def test_a_cancelled_batch_without_a_mail_says_so(admin_client: Client) -> None:
    batch = Batch.objects.create(buffer="empty", status=Status.CANCELLED, opened_at=timezone.now())

    assert "There is no mail" in text(admin_client, f"{BASE}/batch/{batch.pk}/change/")
    for name in ("mail.html", "mail.txt", "mail.eml"):
        assert admin_client.get(f"{BASE}/batch/{batch.pk}/{name}/").status_code == 404


def test_a_mail_that_cannot_be_rendered_does_not_break_its_page(
    admin_client: Client, showcase: Showcase, settings: Any
) -> None:
    batch = Batch.objects.open()[0]
    settings.EMAIL_SUBJECT_PREFIX = Unprintable()

    assert admin_client.get(f"{BASE}/batch/{batch.pk}/change/").status_code == 200
    assert "can’t be rendered: ValueError" in text(admin_client, f"{BASE}/batch/{batch.pk}/mail.html/")
    assert "can’t be rendered: ValueError" in text(admin_client, f"{BASE}/batch/{batch.pk}/mail.txt/")


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("<no> prefix")


@pytest.mark.parametrize("path", ["batch/{}/change/", "group/{}/change/", "record/{}/change/"])
@pytest.mark.parametrize("key", ["999999", "99999999999999999999999", "x", "1_0", "-1", "%00"])
def test_a_row_that_is_not_there_leads_to_the_list_with_a_message(
    admin_client: Client, path: str, key: str
) -> None:
    answer = admin_client.get(f"{BASE}/{path.format(key)}", follow=True)

    assert answer.redirect_chain == [(f"{BASE}/{path.partition('/')[0]}/", 302)]
    assert "There is no" in answer.content.decode()


def test_a_button_of_a_deleted_batch_leads_to_the_list_with_a_message(admin_client: Client) -> None:
    answer = admin_client.post(f"{BASE}/batch/4711/flush/", follow=True)

    assert answer.redirect_chain == [(f"{BASE}/batch/", 302)]
    assert "There is no batch 4711" in answer.content.decode()
    assert admin_client.get(f"{BASE}/batch/4711/mail.eml/").status_code == 404
    assert admin_client.get(f"{BASE}/record/4711/report.html/").status_code == 404


def test_a_batch_whose_handler_is_gone_says_where_it_still_goes(
    admin_client: Client, showcase: Showcase
) -> None:
    waiting, fresh = Batch.objects.get(status=Status.READY), Batch.objects.open()[0]

    assert "its recipients are kept with the batch" in text(
        admin_client, f"{BASE}/batch/{waiting.pk}/change/"
    )
    assert "it would go to ADMINS" in text(admin_client, f"{BASE}/batch/{fresh.pk}/change/")


@pytest.mark.parametrize(
    "query",
    [
        "batch/?level=x&buffer=%00&status__exact=nope&p=x",
        "batch/?q=%00",
        "batch/?o=99.-99.x",
        "group/?state=nope&level=9e9&logger=%00",
        "group/?p=77777",
        "record/?time=x&level=x&host=%00&buffer=%00",
        "record/?group=x&batch=%00",
        "record/?group=99999999999999999999999",
        "record/?q=%00&p=-3",
        "record/?nonsense=1",
        f"record/?level={5_000 * '9'}",
        f"batch/?level={18 * '9'}",
        "record/?message__regex=(",
        "record/?o=1",
    ],
)
def test_nonsense_in_the_address_breaks_no_list(admin_client: Client, showcase: Showcase, query: str) -> None:
    assert admin_client.get(f"{BASE}/{query}", follow=True).status_code in (200, 400)


def test_filters_and_search_find_their_rows(admin_client: Client, showcase: Showcase) -> None:
    def found(path: str) -> int:
        return int(admin_client.get(f"{BASE}/{path}").context["cl"].result_count)

    group = Group.objects.get(title__startswith="KeyError")
    batch = Batch.objects.open()[0]
    assert found("batch/?q=Voucher") == Batch.objects.filter(subject__icontains="voucher").count() > 0
    assert found("batch/?buffer=payments") == Batch.objects.filter(buffer="payments").count()
    assert found("batch/?level=50") == Batch.objects.filter(level=50).count() > 0
    assert found("group/?state=new") == Group.objects.filter(first_seen_at__date=showcase.now.date()).count()
    assert found("group/?state=silenced") == 1
    assert found("group/?state=resolved") == 1
    assert found("group/?state=active") == 6
    assert found("group/?logger=shop.stock") == 1
    assert found("record/?level=50") == Record.objects.filter(level=50).count() > 0
    assert found(f"record/?group={group.pk}") == group.records.count() > 0
    assert found(f"record/?batch={batch.pk}&group={group.pk}") == group.records.filter(batch=batch).count()
    assert found("record/?host=web1") == Record.objects.filter(host="web1").count()
    assert found("record/?buffer=payments") == Record.objects.filter(group__buffer="payments").count()
    assert found("record/?logger=shop.stock") == Record.objects.filter(logger="shop.stock").count()
    assert found("record/?q=provider") == Record.objects.filter(message__contains="provider").count() > 0
    hour = showcase.now - timedelta(hours=1)
    assert found("record/?time=1") == Record.objects.filter(last_at__gte=hour).count()


def test_a_search_says_that_it_looks_at_the_newest_rows(
    admin_client: Client, showcase: Showcase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_maillog.admin.records.WINDOW", 10)
    monkeypatch.setattr("django_maillog.admin.records.MOST_COUNTED", 20)

    searched = admin_client.get(f"{BASE}/record/?q=e")
    plain = admin_client.get(f"{BASE}/record/")

    assert searched.context["cl"].result_count <= 11
    assert "only the newest 10 rows" in searched.content.decode()
    assert plain.context["cl"].result_count == 20
    assert "Only the newest 20 rows are listed" in plain.content.decode()


def hostile() -> tuple[Batch, Group, Record]:
    now = timezone.now()
    batch = Batch.objects.create(
        buffer=EVIL,
        status=Status.SENT,
        opened_at=now,
        sealed_at=now,
        sent_at=now,
        first_at=now,
        last_at=now,
        record_count=1,
        group_count=1,
        level=40,
        subject=EVIL[:200],
        text=EVIL,
        html="<p>mail</p>",
        recipients=[EVIL],
        sender=EVIL,
        using=EVIL,
        reason="new",
        message_id=EVIL,
        last_error=EVIL,
    )
    Attempt.objects.create(batch=batch, tried_at=now, outcome=Outcome.FAILED, error=EVIL)
    group = Group.objects.create(
        buffer=EVIL,
        fingerprint="ml2:0",
        cause="ml2:0",
        title=EVIL,
        level=40,
        logger=EVIL,
        first_seen_at=now,
        last_seen_at=now,
        episode_at=now,
        silenced_at=now,
        silenced_by=EVIL,
        silence_note=EVIL,
        count=1,
    )
    record = Record.objects.create(
        batch=batch,
        group=group,
        full=True,
        first_at=now,
        last_at=now,
        level=40,
        logger=EVIL,
        message=EVIL,
        messages={EVIL: 3},
        where=EVIL,
        traceback=f'  File "{EVIL}", line 1, in {EVIL}\n    {EVIL}\n{EVIL}',
        request={"method": EVIL, EVIL: EVIL, "GET": {EVIL: EVIL}, "POST": EVIL, "META": [EVIL]},
        extra={EVIL: {EVIL: [EVIL]}},
        details={
            "stack_info": EVIL,
            "formatted": EVIL,
            "context": {"scope": EVIL, "lines": [EVIL, {"level": EVIL, "logger": EVIL, "message": EVIL}]},
            "cut": [EVIL],
            "thread": EVIL,
            "task": EVIL,
            "template": EVIL,
        },
        html=f"<p>{EVIL}</p>",
        host=EVIL,
        process=1,
    )
    group.sample = record
    group.save()
    return batch, group, record


def test_hostile_records_are_escaped_on_every_page(admin_client: Client) -> None:
    batch, group, record = hostile()
    Batch.objects.filter(pk=batch.pk).update(status=Status.FAILED)
    paths = [
        "",
        "batch/",
        f"batch/{batch.pk}/change/",
        "group/",
        f"group/{group.pk}/change/",
        "record/",
        f"record/{record.pk}/change/",
        f"record/?group={group.pk}&batch={batch.pk}",
        f"batch/{batch.pk}/history/",
    ]

    for path in paths:
        page = text(admin_client, f"{BASE}/{path}")
        assert "<script>alert(1)" not in page, path
        assert "<img src=x" not in page, path
        assert "<WSGIRequest" not in page, path


def test_a_hostile_subject_is_escaped_in_messages_and_where_it_is_deleted(admin_client: Client) -> None:
    batch, group, _record = hostile()

    told = [
        admin_client.post(f"{BASE}/batch/{batch.pk}/cancel/", follow=True),
        admin_client.post(f"{BASE}/group/{group.pk}/speak/", follow=True),
        admin_client.get(f"{BASE}/batch/{batch.pk}/delete/"),
    ]

    for answer in told:
        assert answer.status_code == 200
        assert "&lt;script&gt;alert(1)" in answer.content.decode()
        assert "<script>alert(1)" not in answer.content.decode()


def test_a_record_tells_all_that_led_to_it(admin_client: Client, showcase: Showcase) -> None:
    record = Record.objects.filter(full=True)[0]
    began_at = record.first_at.timestamp() - 30
    lines = [
        {"time": began_at + number / 4, "level": 10, "logger": "shop", "message": f"step <{number}>"}
        for number in range(60)
    ]
    Record.objects.filter(pk=record.pk).update(details={"context": {"scope": "task", "lines": lines}})

    page = text(admin_client, f"{BASE}/record/{record.pk}/change/")

    assert "Before it, in this task" in page
    assert page.count("step &lt;") == 60
    assert "-30.000 s DEBUG shop" in page


def test_the_list_of_records_says_what_each_was_about(admin_client: Client, showcase: Showcase) -> None:
    first, second = Record.objects.filter(full=True).order_by("-last_at")[:2]
    for record, title in ((first, "KeyError: 'Mars'"), (second, "KeyError: 'Venus'")):
        details = {**(record.details or {}), "title": title}
        Record.objects.filter(pk=record.pk).update(message="Internal Server Error: /", details=details)

    page = text(admin_client, f"{BASE}/record/")

    assert page.index("KeyError: &#x27;Mars&#x27;") < page.index("KeyError: &#x27;Venus&#x27;")


def test_the_technical_report_is_framed_like_a_mail(admin_client: Client) -> None:
    _batch, _group, record = hostile()

    answer = admin_client.get(f"{BASE}/record/{record.pk}/report.html/")

    assert answer["Content-Security-Policy"].endswith("sandbox")
    assert f'src="{BASE}/record/{record.pk}/report.html/"' in text(
        admin_client, f"{BASE}/record/{record.pk}/change/"
    )


def test_a_group_shows_its_folded_messages_and_hosts(admin_client: Client, showcase: Showcase) -> None:
    group = Group.objects.get(title__startswith="Stock")
    batch = Batch.objects.filter(records__group=group)[0]
    fold = showcase.record(batch, group, showcase.now, full=False, folded=True, host="web9", count=40)
    fold.messages = {"Stock of tea is below zero": 30, "": 10}
    fold.save()

    page = text(admin_client, f"{BASE}/group/{group.pk}/change/")

    assert "Stock of tea is below zero" in page
    assert "others" in page
    assert "web9" in page
    assert "for the others" in page  # the note of a silence


def test_a_group_without_records_opens(admin_client: Client, showcase: Showcase) -> None:
    group = showcase.group(99, ("Old", 40, "x", "mail_admins", 1, 1, "x"))

    assert "Last full sample" not in text(admin_client, f"{BASE}/group/{group.pk}/change/")


def test_a_group_without_a_full_sample_shows_its_newest_record(
    admin_client: Client, showcase: Showcase
) -> None:
    group = showcase.groups[0]
    Group.objects.filter(pk=group.pk).update(sample=None)

    assert "Last full sample" in text(admin_client, f"{BASE}/group/{group.pk}/change/")


def test_the_pages_can_be_translated(admin_client: Client, showcase: Showcase) -> None:
    with translation.override("de"):
        assert admin_client.get(f"{BASE}/batch/", headers={"accept-language": "de"}).status_code == 200


@pytest.fixture
def opened(admin_client: Client) -> Callable[[str], str]:
    return lambda path: text(admin_client, f"{BASE}/{path}")


def test_library_frames_are_folded_on_the_page_of_a_record(
    opened: Callable[[str], str], showcase: Showcase
) -> None:
    record = Record.objects.filter(full=True).exclude(traceback="")[0]

    page = opened(f"record/{record.pk}/change/")

    assert "<summary>3 library frames</summary>" in page
    assert "The whole traceback, to copy" in page
    assert "********************" in page
