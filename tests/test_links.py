"""Signed links in mails: who has one may silence or resolve one problem, and nothing else."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core import checks
from django.core.cache import cache
from django.core.signing import TimestampSigner
from django.test import Client
from django.urls import clear_script_prefix, get_script_prefix, reverse, set_script_prefix
from django.utils import timezone

from django_maillog import links
from django_maillog.models import Batch, Group, Status
from tests.buffers import Buffer
from tests.smtp import SMTPServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("spool_dir", "site_url")]

LINK = re.compile(r"https://shop\.example(/maillog/problem/\S+?/)(?=[\s\"])")


@pytest.fixture
def site_url(settings: Any) -> None:
    settings.MAILLOG_SITE_URL = "https://shop.example"
    settings.ROOT_URLCONF = "tests.urls_links"
    cache.clear()


@pytest.fixture
def phone() -> Client:
    """A browser without cookies, which has nothing but the link."""
    return Client(enforce_csrf_checks=True)


def mailed_links(smtp: SMTPServer) -> list[str]:
    """The links in the text of the newest mail; its HTML has the same."""
    bodies = [smtp.messages[-1].get_body((kind,)) for kind in ("plain", "html")]
    text, html = (str(body.get_content()) for body in bodies if body is not None)
    assert LINK.findall(text) == LINK.findall(html)
    return LINK.findall(text)


def mail_two_problems(smtp: SMTPServer) -> list[str]:
    buffer = Buffer()
    buffer.log("card 4711 was refused", fingerprint="a", level=50)
    buffer.log("no hats", fingerprint="b")
    buffer.flush()
    return mailed_links(smtp)


def group(title: str = "card") -> Group:
    return Group.objects.get(title__contains=title)


def test_each_problem_in_a_mail_has_a_link_that_silences_and_resolves_it(
    smtp: SMTPServer, phone: Client
) -> None:
    of_card, of_hats = mail_two_problems(smtp)

    page = phone.get(of_card)
    assert page.status_code == 200
    assert not group().is_silenced(timezone.now())
    assert "4711" not in page.text
    assert page["Referrer-Policy"] == "no-referrer"
    assert "no-store" in page["Cache-Control"]

    assert phone.post(of_card, {"do": "day"}, follow=True).redirect_chain == [(of_card, 303)]
    silenced = group()
    assert silenced.silenced_until is not None
    assert timedelta(hours=23) < silenced.silenced_until - timezone.now() <= timedelta(days=1)
    assert silenced.silenced_by == "whoever has the mail"
    assert "Silenced until" in phone.get(of_card).text
    assert not group("hats").is_silenced(timezone.now())

    phone.post(of_card, {"do": "end"})
    assert not group().is_silenced(timezone.now())
    phone.post(of_hats, {"do": "resolve"})
    assert group("hats").resolved_at is not None
    assert "Resolved at" in phone.get(of_hats).text
    assert group().resolved_at is None


def test_problems_that_are_told_in_one_line_have_links_too(smtp: SMTPServer) -> None:
    buffer = Buffer()
    for number in range(60):
        buffer.log(f"no hats of size {number}", fingerprint=str(number))
    buffer.flush()

    html = str(smtp.messages[-1].get_body(("html",)).get_content())  # type: ignore[union-attr]
    assert len(set(LINK.findall(html))) == 60


def test_what_is_no_button_changes_nothing(smtp: SMTPServer, phone: Client) -> None:
    link = mail_two_problems(smtp)[0]
    before = Group.objects.values().get(pk=group().pk)

    for data in ({}, {"do": "delete"}, {"do": "forever"}, {"day": "1"}):
        assert phone.post(link, data).status_code == 400
    assert phone.head(link).status_code == 200
    assert phone.put(link).status_code == 405
    assert phone.delete(link).status_code == 405

    assert Group.objects.values().get(pk=group().pk) == before


@pytest.mark.parametrize("damage", ["other key", "cut", "other salt", "no key", "case"])
def test_a_link_that_was_tampered_with_is_refused(smtp: SMTPServer, phone: Client, damage: str) -> None:
    link = mail_two_problems(smtp)[0]
    token = link.split("/")[-2]
    value = token.rsplit(".", 2)[0]
    damaged = {
        "other key": f"{group('hats').pk}.{token.partition('.')[2]}",
        "cut": token[:-1],
        "other salt": TimestampSigner(sep=".", salt="another").sign(value),
        "no key": TimestampSigner(sep=".", salt="django_maillog.links").sign("x.0"),
        "case": token.swapcase(),
    }[damage]

    answer = phone.post(link.replace(token, damaged), {"do": "day"})

    assert answer.status_code == 404
    assert not Group.objects.exclude(silenced_at=None).exists()


def test_a_link_ends_after_two_weeks_with_its_secret_key_and_with_its_problem(
    smtp: SMTPServer, phone: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, other = mail_two_problems(smtp)
    now = timezone.now().timestamp()
    with monkeypatch.context() as patched:
        patched.setattr("django.core.signing.time.time", lambda: now + 14 * 86_400 - 60)
        assert phone.get(link).status_code == 200
        patched.setattr("django.core.signing.time.time", lambda: now + 14 * 86_400 + 60)
        assert phone.post(link, {"do": "day"}).status_code == 410

    old, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    assert phone.get(link).status_code == 404
    settings.SECRET_KEY_FALLBACKS = [old]
    assert phone.get(link).status_code == 200

    Group.objects.filter(pk=group().pk).update(fingerprint="another bug that has got this key")
    assert phone.post(link, {"do": "day"}).status_code == 410
    group("hats").delete()
    assert phone.get(other).status_code == 410
    assert not Group.objects.exclude(silenced_at=None).exists()


def test_a_link_and_an_address_with_wrong_ones_are_answered_so_often_a_minute(
    smtp: SMTPServer, phone: Client
) -> None:
    link, other = mail_two_problems(smtp)

    answers = [phone.get(link).status_code for _each in range(31)]
    wrong = [phone.get(f"/maillog/problem/{number}/").status_code for number in range(31)]

    assert answers == [200] * 30 + [429]
    assert phone.post(link, {"do": "day"}).status_code == 429
    assert wrong == [404] * 30 + [429]
    assert phone.get(other).status_code == 200


def test_a_cache_that_is_away_locks_nobody_out(smtp: SMTPServer, phone: Client, settings: Any) -> None:
    link = mail_two_problems(smtp)[0]
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "redis://127.0.0.1:9"}}

    assert phone.post(link, {"do": "hour"}).status_code == 303
    assert group().is_silenced(timezone.now())


def test_where_all_views_need_a_login_the_link_needs_none(
    smtp: SMTPServer, phone: Client, settings: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    link = mail_two_problems(smtp)[0]

    assert phone.get(link).status_code == 200
    assert phone.get("/ok/").status_code == 302


def test_who_may_only_look_at_mails_in_the_admin_gets_no_link(smtp: SMTPServer) -> None:
    token = mail_two_problems(smtp)[0].split("/")[-2]
    batch = Batch.objects.get(status=Status.SENT)
    assert token in batch.text
    waiting = Buffer("other")
    waiting.log("not mailed yet")
    waiting.import_all()
    user = User.objects.create(username="grace", is_staff=True)
    names = ("view_batch", "view_group", "view_record")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user)

    for each in Batch.objects.all():
        for page in ("change", "mail_txt", "mail_html", "mail_eml"):
            answer = client.get(reverse(f"admin:django_maillog_batch_{page}", args=[each.pk]))
            said = answer.content.decode().replace("=\n", "")
            assert answer.status_code == 200
            assert not re.search(r"\.[\w-]{43}/", said), page
            assert "maillog/problem/" not in said
            for found in Group.objects.filter(batch=each):
                address = reverse("admin:django_maillog_group_change", args=[found.pk])
                assert page == "change" or f"https://shop.example{address}" in said


@pytest.mark.parametrize("missing", ["MAILLOG_SITE_URL", "urls"])
def test_without_address_or_urls_there_is_no_link(smtp: SMTPServer, settings: Any, missing: str) -> None:
    if missing == "urls":
        settings.ROOT_URLCONF = "tests.urls"
    else:
        settings.MAILLOG_SITE_URL = ""

    assert mail_two_problems(smtp) == []
    found = [message.id for message in checks.run_checks() if message.id == "django_maillog.W060"]
    assert found == ([] if missing == "urls" else ["django_maillog.W060"])


@pytest.mark.parametrize("value", ["example.com", "https://[example.com", 7])
def test_a_wrong_address_is_none_in_mails_and_on_the_pages_of_mails(
    smtp: SMTPServer, settings: Any, admin_client: Client, value: object
) -> None:
    mail_two_problems(smtp)
    settings.MAILLOG_SITE_URL = value

    assert mail_two_problems(smtp) == []
    batch = Batch.objects.latest("pk")
    assert (batch.status, len(smtp.messages)) == (Status.SENT, 2)
    for page in ("change", "mail_txt", "mail_html", "mail_eml"):
        for each in Batch.objects.all():
            address = reverse(f"admin:django_maillog_batch_{page}", args=[each.pk])
            assert admin_client.get(address).status_code == 200


@pytest.mark.parametrize("prefix", ["/shop", "/shop/", None])
@pytest.mark.parametrize("within", ["/", "/shop", "/of-a-request"])
@pytest.mark.parametrize("site", ["https://example.com", "https://example.com/shop/"])
def test_an_address_has_the_script_name_of_the_settings_once_whichever_thread_makes_it(
    settings: Any, prefix: str | None, within: str, site: str
) -> None:
    settings.FORCE_SCRIPT_NAME, settings.MAILLOG_SITE_URL = prefix, site
    set_script_prefix(within)
    try:
        with ThreadPoolExecutor() as pool:
            in_thread = pool.submit(links.admin_url, "group", 1).result()
        here, after = links.admin_url("group", 1), get_script_prefix()
    finally:
        clear_script_prefix()

    shop = "/shop" if prefix or "shop" in site else ""
    assert here == in_thread == f"https://example.com{shop}/admin/django_maillog/group/1/change/"
    assert after.rstrip("/") == within.rstrip("/")


def test_a_project_whose_urls_cant_be_imported_is_mailed_without_links(
    smtp: SMTPServer, settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.urls_broken"

    assert mail_two_problems(smtp) == []
    assert not links.are_included()
    assert "card 4711" in str(smtp.messages[-1]["Subject"])
