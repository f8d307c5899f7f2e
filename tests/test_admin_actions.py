"""What the buttons and the list's actions do, and what they say: real mail through a real server."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from django_maillog.models import Batch, Group, Outcome, Status
from tests.showcase import Showcase
from tests.smtp import SMTPServer

BASE = "/admin/django_maillog"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("showcase")]


@pytest.fixture
def client() -> Client:
    """Somebody who may flush and silence, and is no superuser."""
    user = User.objects.create(username="grace", is_staff=True)
    names = ("view_batch", "view_group", "view_record", "flush_batch", "silence_group")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    made = Client()
    made.force_login(user)
    return made


def press(client: Client, row: Batch | Group, button: str, **data: str) -> list[tuple[str, str]]:
    """(kind, text) of the messages that follow a button."""
    model = type(row).__name__.lower()
    answer = client.post(f"{BASE}/{model}/{row.pk}/{button}/", data, follow=True)
    assert answer.redirect_chain == [(f"{BASE}/{model}/{row.pk}/change/", 302)]
    return [(message.level_tag, message.message) for message in answer.context["messages"]]


def act(client: Client, rows: Any, action: str, **data: str) -> list[tuple[str, str]]:
    """(kind, text) of the messages that follow an action of the list."""
    model = rows.model.__name__.lower()
    form = {"action": action, "index": "0", "_selected_action": [str(row.pk) for row in rows], **data}
    answer = client.post(f"{BASE}/{model}/", form, follow=True)
    return [(message.level_tag, message.message) for message in answer.context["messages"]]


def test_flush_now_sends_the_open_batch_and_says_to_whom(client: Client, smtp: SMTPServer) -> None:
    batch = Batch.objects.open().get(buffer="mail_admins")

    told = press(client, batch, "flush")

    batch.refresh_from_db()
    (mail,) = smtp.messages
    assert batch.status == Status.SENT
    assert told == [("success", f"“{batch.subject}” was sent to ada@example.com, alan@example.com.")]
    assert mail["Message-ID"] == batch.message_id
    assert LogEntry.objects.get(object_id=str(batch.pk)).user.get_username() == "grace"


def test_a_server_that_refuses_is_quoted_and_the_batch_is_retrying(client: Client, smtp: SMTPServer) -> None:
    smtp.answer("450 4.2.1 mailbox is busy", at="RCPT", times=None)
    batch = Batch.objects.open().get(buffer="mail_admins")

    ((kind, said),) = press(client, batch, "flush")

    batch.refresh_from_db()
    assert (batch.status, batch.attempts) == (Status.READY, 1)
    assert kind == "error"
    assert "was not sent, and is retried at" in said
    assert "450" in said
    assert "mailbox is busy" in said
    page = client.get(f"{BASE}/batch/{batch.pk}/change/").content.decode()
    assert "retrying at" in page


def test_what_an_earlier_mail_holds_back_is_told_and_follows_it(client: Client, smtp: SMTPServer) -> None:
    smtp.answer("450 4.2.1 mailbox is busy", at="RCPT", times=None)
    earlier = Batch.objects.open().get(buffer="mail_admins")
    press(client, earlier, "flush")
    earlier.refresh_from_db()
    groups = list(Group.objects.filter(buffer="mail_admins"))
    later = Showcase(timezone.now()).open(groups, "new", timedelta())

    ((kind, said),) = press(client, later, "flush")
    later.refresh_from_db()
    held_back = later.status
    smtp.behave()
    ((after, _said),) = press(client, later, "flush")

    assert (kind, held_back, after) == ("error", Status.OPEN, "success")
    assert f"waits for “{earlier.subject}”" in said
    assert "mailbox is busy" in said
    first, _second = smtp.messages
    assert first["Message-ID"] == earlier.message_id


def test_a_server_that_is_away_is_reported(client: Client, smtp: SMTPServer) -> None:
    smtp.stop()
    batch = Batch.objects.open().get(buffer="mail_admins")

    ((kind, said),) = press(client, batch, "flush")

    batch.refresh_from_db()
    assert batch.status == Status.READY
    assert kind == "error"
    assert "refused" in said


def test_a_mail_that_is_refused_for_good_is_reported_as_failed(client: Client, smtp: SMTPServer) -> None:
    smtp.answer("550 5.1.1 no such user", at="RCPT", times=None)
    batch = Batch.objects.open().get(buffer="mail_admins")

    ((kind, said),) = press(client, batch, "flush")

    batch.refresh_from_db()
    assert batch.status == Status.FAILED
    assert kind == "error"
    assert "failed for good" in said
    assert "no such user" in said


def test_an_orphaned_batch_goes_to_the_recipients_on_its_row(client: Client, smtp: SMTPServer) -> None:
    batch = Batch.objects.get(status=Status.READY)

    ((kind, _said),) = press(client, batch, "retry")

    (mail,) = smtp.messages
    assert kind == "success"
    assert mail["To"] == "oncall@shop.example, ada@shop.example"


@pytest.mark.parametrize(("button", "status"), [("flush", Status.OPEN), ("retry", Status.FAILED)])
def test_a_batch_that_only_others_can_send_is_left_to_them(
    client: Client, smtp: SMTPServer, button: str, status: str
) -> None:
    batch = Batch.objects.open().get(buffer="mail_admins")
    changes = {"buffer": "elsewhere", "rules": {"own_mailer": True}, "recipients": ["ops@example.com"]}
    Batch.objects.filter(pk=batch.pk).update(**changes, status=status)

    ((kind, said),) = press(client, batch, button)

    batch.refresh_from_db()
    assert (kind, batch.status, smtp.messages) == ("info", Status.READY, [])
    assert said.endswith("” will be sent by a process that has the handler of its buffer.")


def test_retry_now_sends_a_failed_batch_again(client: Client, smtp: SMTPServer) -> None:
    batch = Batch.objects.get(status=Status.FAILED)

    ((kind, _said),) = press(client, batch, "retry")

    batch.refresh_from_db()
    assert (kind, batch.status) == ("success", Status.SENT)
    assert smtp.messages[0]["Message-ID"] == batch.message_id


def test_cancel_keeps_a_batch_from_being_sent(client: Client, smtp: SMTPServer) -> None:
    batch = Batch.objects.get(status=Status.READY)

    told = press(client, batch, "cancel")

    batch.refresh_from_db()
    assert batch.status == Status.CANCELLED
    assert told == [("success", f"“{batch.subject}” was cancelled: it will not be sent.")]
    assert smtp.messages == []


def test_send_again_sends_a_copy_with_a_message_id_of_its_own(client: Client, smtp: SMTPServer) -> None:
    batch = Batch.objects.filter(status=Status.SENT)[0]

    ((kind, _said),) = press(client, batch, "again")

    (mail,) = smtp.messages
    assert kind == "success"
    assert mail["Message-ID"] != batch.message_id
    assert mail["Subject"].strip() == batch.subject


def test_a_batch_without_a_mail_cannot_be_sent_again(client: Client, smtp: SMTPServer) -> None:
    batch = Batch.objects.create(buffer="old", status=Status.SENT, opened_at=timezone.now())

    assert press(client, batch, "again") == [
        ("warning", "“Next mail of old” holds no mail that could be sent again.")
    ]
    assert smtp.messages == []


def test_an_empty_batch_is_not_flushed(client: Client, smtp: SMTPServer) -> None:
    batch = Batch.objects.create(buffer="empty", open_for="empty", opened_at=timezone.now())

    ((kind, said),) = press(client, batch, "flush")

    assert kind == "warning"
    assert "no records" in said


def test_a_button_that_comes_too_late_changes_nothing(client: Client, smtp: SMTPServer) -> None:
    batch = Batch.objects.filter(status=Status.SENT)[0]

    told = [press(client, batch, button) for button in ("flush", "retry", "cancel")]

    assert told == [[("warning", f"“{batch.subject}” is sent: nothing to do.")]] * 3
    assert smtp.messages == []


def test_a_batch_that_somebody_took_meanwhile_is_not_cancelled(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch.objects.get(status=Status.READY)
    monkeypatch.setattr("django_maillog.admin.steps.cancel", lambda batch, now: False)

    ((kind, said),) = press(client, batch, "cancel")

    assert kind == "warning"
    assert "could not be cancelled any more" in said


@pytest.mark.parametrize(
    ("status", "kind", "word"),
    [(Status.SENDING, "info", "another process"), (Status.CANCELLED, "warning", "is cancelled")],
)
def test_what_became_of_it_meanwhile_is_told(
    client: Client, monkeypatch: pytest.MonkeyPatch, status: Status, kind: str, word: str
) -> None:
    batch = Batch.objects.open()[0]

    def overtaken(batch: Batch) -> Batch:
        batch.status = status
        return batch

    monkeypatch.setattr("django_maillog.admin.steps.flush_batch", overtaken)

    ((said_kind, said),) = press(client, batch, "flush")

    assert said_kind == kind
    assert word in said


def test_the_list_flushes_what_fits_and_counts_the_rest(client: Client, smtp: SMTPServer) -> None:
    told = act(client, Batch.objects.all(), "flush_now")

    assert sorted(kind for kind, _said in told) == ["success", "success", "warning"]
    assert ("warning", "Flush now: nothing to do for 9 batches in their state.") in told
    assert len(smtp.messages) == 2


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [("retry_now", Status.FAILED, Status.SENT), ("cancel", Status.READY, Status.CANCELLED)],
)
def test_the_list_retries_and_cancels(
    client: Client, smtp: SMTPServer, action: str, before: Status, after: Status
) -> None:
    batch = Batch.objects.get(status=before)

    ((kind, _said),) = act(client, Batch.objects.filter(pk=batch.pk), action)

    batch.refresh_from_db()
    assert (kind, batch.status) == ("success", after)


def test_the_list_sends_again(client: Client, smtp: SMTPServer) -> None:
    told = act(client, Batch.objects.filter(status=Status.SENT, buffer="payments"), "send_again")

    assert [kind for kind, _said in told] == ["success"] * len(smtp.messages)
    assert smtp.messages


def test_the_list_sends_the_oldest_first(client: Client, smtp: SMTPServer) -> None:
    batches = Batch.objects.filter(status=Status.SENT).order_by("pk")

    act(client, batches, "send_again")

    assert [mail["Subject"].strip() for mail in smtp.messages] == [batch.subject for batch in batches]


def test_the_list_sends_no_more_than_a_handful_at_once(client: Client, smtp: SMTPServer) -> None:
    now = timezone.now()
    Batch.objects.bulk_create(
        [Batch(buffer="b", status=Status.SENT, opened_at=now, text="t", recipients=["x@example.com"])] * 21
    )

    told = act(client, Batch.objects.filter(buffer="b"), "send_again")

    assert told == [("error", "Choose at most 20 batches at once. Nothing was done.")]
    assert smtp.messages == []


@pytest.mark.parametrize(("length", "hours"), [("hour", 1), ("day", 24), ("week", 168)])
def test_silence_notes_until_when_who_and_why(client: Client, length: str, hours: int) -> None:
    group, now = Group.objects.filter(silenced_at=None)[0], timezone.now()

    ((kind, said),) = press(client, group, "silence", length=length, note="the scanner")

    group.refresh_from_db()
    assert kind == "success"
    assert "is silenced for 1 " in said
    assert (group.silenced_by, group.silence_note) == ("grace", "the scanner")
    assert group.silenced_until is not None
    assert abs(group.silenced_until - now - timedelta(hours=hours)) < timedelta(minutes=1)


def test_silence_for_ever_and_its_end(client: Client) -> None:
    group = Group.objects.filter(silenced_at=None)[0]

    press(client, group, "silence", length="ever")
    group.refresh_from_db()
    silenced = group.is_silenced(timezone.now()), group.silenced_until
    page = client.get(f"{BASE}/group/{group.pk}/change/").content.decode()
    ((_kind, said),) = press(client, group, "speak")
    group.refresh_from_db()

    assert silenced == (True, None)
    assert "silenced for ever" in page
    assert "grace" in page
    assert said == f"“{group.title}” is no longer silenced."
    assert not group.is_silenced(timezone.now())


@pytest.mark.parametrize("data", [{}, {"length": "century"}, {"length": "day", "note": "x" * 300}])
def test_a_silence_of_no_known_length_is_refused(client: Client, data: dict[str, str]) -> None:
    group = Group.objects.filter(silenced_at=None)[0]

    ((kind, _said),) = press(client, group, "silence", **data)

    group.refresh_from_db()
    assert kind == "error"
    assert group.silenced_at is None


def test_resolved_is_marked_and_told(client: Client) -> None:
    group = Group.objects.filter(resolved_at=None)[0]

    ((_kind, said),) = press(client, group, "resolve")

    group.refresh_from_db()
    assert group.resolved_at is not None
    assert said == f"“{group.title}” is marked resolved: the next record counts as a regression."


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("silence_hour", "8 problems are silenced for 1 hour."),
        ("silence_day", "8 problems are silenced for 1 day."),
        ("silence_week", "8 problems are silenced for 1 week."),
        ("silence_ever", "8 problems are silenced for ever."),
        ("end_silence", "8 problems are no longer silenced."),
        ("mark_resolved", "8 problems are marked resolved: the next record of each counts as a regression."),
    ],
)
def test_the_list_acts_on_all_chosen_groups(client: Client, action: str, said: str) -> None:
    assert act(client, Group.objects.all(), action, note="x" * 300) == [("success", said)]


def test_the_first_thing_that_happened_stays_on_the_timeline(client: Client, smtp: SMTPServer) -> None:
    batch = Batch.objects.get(status=Status.FAILED)

    press(client, batch, "retry")

    outcomes = list(batch.attempt_set.order_by("pk").values_list("outcome", flat=True))
    assert outcomes == [Outcome.FAILED, Outcome.SENT]
