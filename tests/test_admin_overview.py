"""The overview above the admin's lists: what fails, what waits too long, and the strip of hours."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from django_maillog.admin.overview import overview
from django_maillog.models import Batch, Status, Tally
from tests.showcase import Showcase
from tests.sites import ROOT

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings  # an older pytest-django has it under another name

pytestmark = pytest.mark.django_db

BASE = "/admin/django_maillog"
STRIP = 'class="maillog-overview"'


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return answer.content.decode()


def test_an_empty_log_says_what_to_try(admin_client: Client) -> None:
    for path in ("", "batch/"):
        page = text(admin_client, f"{BASE}/{path}")
        assert "Nothing has been logged yet</h2>" in page
        assert "<code>python manage.py test_maillog</code>" in page
        assert "Oldest pending" not in page


@pytest.mark.parametrize("name", ["batch", "group", "record"])
def test_an_empty_list_says_why(admin_client: Client, name: str) -> None:
    tried = "try <code>python manage.py test_maillog</code>"

    assert tried in text(admin_client, f"{BASE}/{name}/")
    filtered = text(admin_client, f"{BASE}/{name}/?level=40")
    assert "Nothing here matches." in filtered
    assert tried not in filtered


def test_a_quiet_day_says_so(admin_client: Client) -> None:
    Batch.objects.create(buffer="b", opened_at=timezone.now())
    page = text(admin_client, f"{BASE}/")

    assert "Nothing was logged." in page
    assert "never" in page
    assert "Nothing has been logged yet" not in page


@pytest.mark.parametrize("name", ["request", "auth"])
def test_the_strip_needs_no_context_processor(admin_client: Client, settings: Settings, name: str) -> None:
    """Django asks for them only with its own sidebar, and with users of its own."""
    settings.TEMPLATES = deepcopy(settings.TEMPLATES)
    processors = settings.TEMPLATES[0]["OPTIONS"]["context_processors"]
    processors[:] = [each for each in processors if not each.endswith(f".{name}")]

    shown = {path: STRIP in text(admin_client, f"{BASE}/{path}") for path in ("", "batch/", "batch/?q=x")}

    assert shown == {"": True, "batch/": True, "batch/?q=x": False}


def test_who_may_see_the_list_may_see_its_strip(client: Client) -> None:
    user = User.objects.create(username="grace", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="change_batch"))
    client.force_login(user)

    assert STRIP in text(client, f"{BASE}/batch/")


def ready_since(now: Any, **late: float) -> None:
    Batch.objects.create(
        buffer="b",
        status=Status.READY,
        opened_at=now,
        sealed_at=now,
        next_attempt_at=now - timedelta(**late),
        record_count=12,
    )


def test_batches_that_nobody_flushes_are_warned_of() -> None:
    now = timezone.now()
    ready_since(now, hours=3)

    assert overview(now)["warnings"] == [
        "Nothing was flushed for 3\xa0hours although 12 records are due: "
        "does any process's worker run, or flush_maillogs?"
    ]


def test_batches_that_were_due_a_minute_ago_are_nothing_to_warn_of() -> None:
    now = timezone.now()
    ready_since(now, minutes=1)

    assert overview(now)["warnings"] == []


def test_a_batch_that_waits_for_an_earlier_mail_is_nothing_to_warn_of(admin_client: Client) -> None:
    now = timezone.now()
    due_at, later = now - timedelta(minutes=11), now + timedelta(minutes=50)
    earlier = Batch.objects.create(
        buffer="b", status=Status.READY, opened_at=due_at, next_attempt_at=later, attempts=6, record_count=5
    )
    Batch.objects.create(buffer="b", open_for="b", opened_at=due_at, due_at=due_at, record_count=5)

    warnings = overview(now)["warnings"]
    page = text(admin_client, f"{BASE}/batch/")
    Batch.objects.filter(pk=earlier.pk).update(status=Status.CANCELLED)

    assert (warnings, len(overview(now)["warnings"])) == ([], 1)
    assert "waits for an earlier mail" in page
    assert "waits for an earlier mail" not in text(admin_client, f"{BASE}/batch/")


def test_failures_are_summed_up_by_their_error() -> None:
    now = timezone.now()
    for error in ("550 mailbox unavailable\nmore", "550 mailbox unavailable", ""):
        Batch.objects.create(buffer="b", status=Status.FAILED, opened_at=now, last_error=error)

    seen = overview(now)

    assert seen["warnings"] == [
        "2 batches failed: 550 mailbox unavailable",
        "1 batch failed: no reason was given",
    ]
    assert seen["failed_count"] == 3


def test_a_batch_without_records_collects_nothing_yet() -> None:
    now = timezone.now()
    for buffer, records in (("empty", 0), ("mail", 2)):
        Batch.objects.create(buffer=buffer, open_for=buffer, opened_at=now, record_count=records)

    assert [card["batch"].buffer for card in overview(now)["cards"]] == ["mail"]


def test_the_strip_counts_by_hour_and_level() -> None:
    now = timezone.now()
    group = Showcase(now).group(1, ("Rare", 40, "x", "b", 0, 0, "x"))
    Tally.objects.all().delete()
    hour = now.replace(minute=0, second=0, microsecond=0)
    for back, level, count in ((0, 40, 600), (2, 45, 6), (2, 30, 7), (23, 10, 1), (24, 50, 5)):
        Tally.objects.create(group=group, hour_at=hour - timedelta(hours=back), level=level, count=count)

    seen = overview(now)

    assert [number for _badge, number in seen["levels"]] == ["606", "7", "1"]
    assert seen["peak"] == "10 a minute"
    assert seen["strip"].count('class="maillog-error"') == 2
    assert 'aria-label="614 records in the last 24 hours"' in seen["strip"]


def test_a_project_without_the_admin_has_its_templates() -> None:
    code = """
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django_maillog"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)

import django
from django.template import engines

django.setup()
print(engines["django"].from_string("{{ shop }}").render({"shop": "open"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.stdout, done.stderr) == ("open\n", "")
