"""Many rows at once in the admin, and a database that knows no time zones."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_maillog.models import Batch, Group


@pytest.mark.django_db
def test_ten_thousand_groups_are_silenced_at_once_with_one_line_in_the_log() -> None:
    now = timezone.now()
    Group.objects.bulk_create(
        Group(
            buffer="mail",
            fingerprint=f"ml2:{number}",
            cause="ml2:0",
            title=f"bug {number}",
            level=40,
            first_seen_at=now,
            last_seen_at=now,
            episode_at=now,
        )
        for number in range(10_000)
    )
    client = Client()
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    first = str(Group.objects.earliest("pk").pk)
    form = {"action": "silence_ever", "_selected_action": [first], "select_across": "1", "index": "0"}

    with CaptureQueriesContext(connection) as queries:
        answer = client.post("/admin/django_maillog/group/", form)

    assert answer.status_code == 302
    assert Group.objects.exclude(silenced_at=None).count() == 10_000
    [entry] = LogEntry.objects.all()
    assert entry.object_repr == "10000 problems"
    assert len(queries) < 100


@pytest.mark.django_db
def test_the_list_of_batches_needs_no_time_zones_in_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    Batch.objects.create(buffer="mail", opened_at=timezone.now())
    client = Client()
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    with_zones = client.get("/admin/django_maillog/batch/?q=x")
    monkeypatch.setattr(connection.features, "has_zoneinfo_database", False)

    without = client.get("/admin/django_maillog/batch/")

    assert without.status_code == 200
    assert without.context["cl"].date_hierarchy is None
    assert with_zones.status_code == 200
