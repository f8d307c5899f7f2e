"""Who may see and do what in the admin: nothing without is_staff, no change without its permission."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from django_maillog.models import Batch, Group, Record, Status
from tests.sites import Site

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("showcase")]

BASE = "/admin/django_maillog"
ClientOf = Callable[..., Client]


@pytest.fixture
def client_of() -> ClientOf:
    """A client of a new staff user with these of our permissions."""

    def make(*codenames: str, staff: bool = True, superuser: bool = False) -> Client:
        user = User.objects.create(username="grace", is_staff=staff, is_superuser=superuser)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(user)
        return client

    return make


def pages() -> list[str]:
    batch = Batch.objects.open()[0].pk
    group = Group.objects.all()[0].pk
    record = Record.objects.all()[0].pk
    return [
        f"{BASE}/batch/",
        f"{BASE}/batch/{batch}/change/",
        f"{BASE}/batch/{batch}/mail.html/",
        f"{BASE}/batch/{batch}/mail.txt/",
        f"{BASE}/batch/{batch}/mail.eml/",
        f"{BASE}/batch/{batch}/history/",
        f"{BASE}/group/",
        f"{BASE}/group/{group}/change/",
        f"{BASE}/record/",
        f"{BASE}/record/{record}/change/",
        f"{BASE}/record/{record}/report.html/",
    ]


def buttons() -> list[str]:
    batch, group = Batch.objects.open()[0].pk, Group.objects.all()[0].pk
    of_batch = [f"{BASE}/batch/{batch}/{name}/" for name in ("flush", "retry", "cancel", "again")]
    return of_batch + [f"{BASE}/group/{group}/{name}/" for name in ("silence", "speak", "resolve")]


def state() -> list[object]:
    """All that a button could change."""
    batches = Batch.objects.order_by("pk").values_list("pk", "status", "attempts")
    groups = Group.objects.order_by("pk").values_list("pk", "silenced_at", "resolved_at")
    return [*batches, *groups]


VIEWS = ("view_batch", "view_group", "view_record")


def test_nothing_is_reachable_without_is_staff(client_of: ClientOf) -> None:
    everybody = (Client(), client_of(*VIEWS, "flush_batch", "silence_group", staff=False))

    answers = [client.get(page) for client in everybody for page in [f"{BASE}/", *pages()]]
    answers += [client.post(button) for client in everybody for button in buttons()]

    assert {answer.status_code for answer in answers} == {302}
    assert all(answer["Location"].startswith("/admin/login/") for answer in answers)


def test_staff_without_permissions_sees_nothing(client_of: ClientOf) -> None:
    client = client_of()

    assert {client.get(page).status_code for page in pages()} == {403}
    assert client.get(f"{BASE}/").status_code == 404


def test_the_permission_to_act_does_not_include_the_permission_to_see(client_of: ClientOf) -> None:
    client, before = client_of("flush_batch", "silence_group"), state()

    assert {client.get(page).status_code for page in pages()} == {403}
    assert {client.post(button).status_code for button in buttons()} == {403}
    assert state() == before


def test_view_permission_shows_every_page_without_buttons(client_of: ClientOf) -> None:
    client = client_of(*VIEWS)

    for page in [f"{BASE}/", *pages()[:-1]]:
        answer = client.get(page)
        assert answer.status_code == 200
        content = answer.content.decode(errors="replace")
        assert not any(
            f"/{name}/" in content for name in ("flush", "retry", "cancel", "again", "silence", "resolve")
        )
        assert 'name="action"' not in content
        assert "Delete" not in content


def test_forged_posts_of_somebody_who_may_only_look_are_forbidden(client_of: ClientOf) -> None:
    client, before = client_of(*VIEWS), state()
    batches = [str(pk) for pk in Batch.objects.values_list("pk", flat=True)]
    groups = [str(pk) for pk in Group.objects.values_list("pk", flat=True)]
    forged = [
        (f"{BASE}/batch/", {"action": action, "_selected_action": batches, "index": "0"})
        for action in ("flush_now", "retry_now", "cancel", "send_again", "delete_selected")
    ] + [
        (f"{BASE}/group/", {"action": action, "_selected_action": groups, "index": "0"})
        for action in ("silence_ever", "end_silence", "mark_resolved", "delete_selected")
    ]

    assert {client.post(button, {"length": "ever"}).status_code for button in buttons()} == {403}
    assert {client.post(page, data).status_code for page, data in forged} == {403}
    assert {client.post(page).status_code for page in pages() if page.endswith("/change/")} == {403}
    assert state() == before


def test_each_permission_opens_its_own_buttons_only(client_of: ClientOf) -> None:
    client = client_of(*VIEWS, "silence_group")
    group, batch = Group.objects.filter(silenced_at=None)[0], Batch.objects.open()[0]

    assert "/silence/" in client.get(f"{BASE}/group/{group.pk}/change/").content.decode()
    assert "/flush/" not in client.get(f"{BASE}/batch/{batch.pk}/change/").content.decode()
    assert client.post(f"{BASE}/batch/{batch.pk}/flush/").status_code == 403
    assert client.post(f"{BASE}/group/{group.pk}/resolve/").status_code == 302
    group.refresh_from_db()
    assert group.resolved_at is not None


def test_buttons_take_post_only(client_of: ClientOf) -> None:
    client, before = client_of(superuser=True), state()

    assert {client.get(button).status_code for button in buttons()} == {405}
    assert state() == before


def test_buttons_need_the_csrf_token(client_of: ClientOf) -> None:
    client, before = client_of(superuser=True), state()
    client.handler.enforce_csrf_checks = True

    assert {client.post(button).status_code for button in buttons()} == {403}
    assert state() == before


def test_nobody_adds_or_edits(client_of: ClientOf) -> None:
    client = client_of(superuser=True)

    assert {client.get(f"{BASE}/{name}/add/").status_code for name in ("batch", "group", "record")} == {403}
    assert {client.post(page).status_code for page in pages() if page.endswith("/change/")} == {403}


def test_superusers_delete_sent_batches_only(client_of: ClientOf) -> None:
    client = client_of(superuser=True)
    sent = Batch.objects.filter(status=Status.SENT)[0]
    others = Batch.objects.exclude(status=Status.SENT)

    forbidden = {
        client.post(f"{BASE}/batch/{batch.pk}/delete/", {"post": "yes"}).status_code for batch in others
    }
    client.post(f"{BASE}/batch/{sent.pk}/delete/", {"post": "yes"})

    assert forbidden == {403}
    assert others.count() == 5
    assert not Batch.objects.filter(pk=sent.pk).exists()
    assert not Record.objects.filter(batch_id=sent.pk).exists()


def test_the_list_deletes_nothing_if_one_of_the_chosen_was_not_sent(client_of: ClientOf) -> None:
    client = client_of(superuser=True)
    everything = [str(pk) for pk in Batch.objects.values_list("pk", flat=True)]
    sent = [str(pk) for pk in Batch.objects.filter(status=Status.SENT).values_list("pk", flat=True)]
    form = {"action": "delete_selected", "post": "yes"}

    answer = client.post(f"{BASE}/batch/", {**form, "_selected_action": everything})
    kept = Batch.objects.count()
    client.post(f"{BASE}/batch/", {**form, "_selected_action": sent})

    assert answer.status_code == 200
    assert kept == len(everything)
    assert Batch.objects.count() == len(everything) - len(sent)


def test_groups_and_records_are_never_deleted(client_of: ClientOf) -> None:
    client = client_of(superuser=True)
    urls = [
        page.replace("/change/", "/delete/") for page in pages() if "/group/" in page or "/record/" in page
    ]

    answers = {client.post(url, {"post": "yes"}).status_code for url in urls if url.endswith("/delete/")}

    assert answers == {403}


def test_those_without_view_permission_on_batches_get_no_overview(client_of: ClientOf) -> None:
    client = client_of("view_group")

    answer = client.get(f"{BASE}/")

    assert answer.status_code == 200
    assert "maillog-overview" not in answer.content.decode()


def test_what_records_say_is_shown_with_one_permission_only(client_of: ClientOf) -> None:
    Record.objects.update(message="told-message", traceback="told-traceback", extra={"a": "told-extra"})
    Batch.objects.exclude(text="").update(text="told-text", html="told-html")
    client = client_of("view_batch", "view_group", "flush_batch", "silence_group")
    readable = [page for page in pages() if "/record/" not in page and "/mail." not in page]
    mails = [page for page in pages() if "/mail." in page or "/record/" in page]
    readable += [
        f"{BASE}/{row._meta.model_name}/{row.pk}/change/"
        for row in [*Batch.objects.all(), *Group.objects.all()]
    ]

    for page in readable:
        answer = client.get(page)
        assert answer.status_code == 200
        assert "told-" not in answer.content.decode()
        assert "/record/" not in answer.content.decode()
    assert {client.get(page).status_code for page in mails} == {403}
    assert "django_maillog.view_record" in client.get(readable[-1]).content.decode()
    assert "django_maillog.view_record" in client.get(pages()[1]).content.decode()


def test_who_may_read_records_reads_them_wherever_they_are_shown(client_of: ClientOf) -> None:
    Record.objects.update(message="told-message")
    client = client_of(*VIEWS)
    group = Record.objects.filter(html="").values_list("group", flat=True)[0]

    assert "told-message" in client.get(f"{BASE}/group/{group}/change/").content.decode()


def test_what_a_text_would_hide_or_turn_round_is_visible_on_every_page(client_of: ClientOf) -> None:
    hidden = "\u202etxt.exe\u200b\x1b[31m\u2066"
    Record.objects.update(message=hidden, traceback=hidden, extra={hidden: hidden}, html=hidden)
    Group.objects.update(title=hidden)
    Batch.objects.update(subject=hidden, last_error=hidden)
    client = client_of(superuser=True)

    for page in [*pages(), f"{BASE}/batch/{Batch.objects.filter(status=Status.SENT)[0].pk}/delete/"]:
        if page.endswith(".eml/"):
            continue
        content = client.get(page).content.decode()
        assert not set("\u202e\u200b\x1b\u2066") & set(content), page
    assert "\\u202etxt.exe\\u200b\\x1b[31m" in client.get(f"{BASE}/group/").content.decode()


# All that there is in the admin, as the only user of a project; what each answers.
VISIT = """
import json, logging
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django_maillog.models import Batch, Group, Record
client = Client()
client.force_login(get_user_model().objects.create(number=7, is_admin=True))
client.raise_request_exception = False
logging.getLogger("shop").error("Payment failed")
call_command("flush_maillogs", verbosity=0)
base = "/admin/django_maillog"
rows = {model: model.objects.get().pk for model in (Batch, Group, Record)}
pages = ["/admin/", f"{base}/"]
for model, pk in rows.items():
    url = f"{base}/{model._meta.model_name}"
    pages += [f"{url}/", f"{url}/?q=Payment", f"{url}/{pk}/change/", f"{url}/{pk}/history/"]
answers = {page: client.get(page).status_code for page in pages}
for name, act in (("batch", "send_again"), ("group", "silence_day"), ("group", "mark_resolved")):
    form = {"action": act, "_selected_action": [rows[Batch if name == "batch" else Group]]}
    answers[act] = client.post(f"{base}/{name}/", form, follow=True).status_code
for name, act in (("batch", "again"), ("group", "speak"), ("group", "silence")):
    url = f"{base}/{name}/{rows[Batch if name == 'batch' else Group]}/{act}/"
    answers[url] = client.post(url, {"length": "day"}, follow=True).status_code
print(json.dumps([answers, Group.objects.get().silenced_by, Batch.objects.count()]))
"""


def test_a_projects_own_user_needs_only_what_django_asks_of_one(empty_site: Site) -> None:
    """No is_superuser, and neither the key nor the name is what Django's own user has."""
    empty_site.env |= {"MAILLOG_TEST_APPS": "tests.own_users", "MAILLOG_TEST_USER_MODEL": "own_users.Worker"}
    empty_site.env["MAILLOG_WORKER"] = "none"
    empty_site.manage("migrate", "--run-syncdb", "--verbosity=0", "--skip-checks")

    answers, silenced_by, batches = json.loads(empty_site.run(VISIT).stdout.splitlines()[-1])

    assert {page: status for page, status in answers.items() if status != 200} == {}
    assert (len(answers), silenced_by, batches) == (20, "7", 3)
