"""What an earlier version has left behind is migrated, mailed once and shown: see CONTRIBUTING, "Release"."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import KIND
from tests.sites import Site
from tests.smtp import SMTPServer
from tests.upgrade import freeze

FROZEN = sorted(path for path in freeze.FOLDER.iterdir() if (path / "database.sql").is_file())
STATUSES = """
import json
from django.db.models import Count, Sum
from django_maillog.models import Batch, Group, Record
statuses = Batch.objects.order_by().values_list("status")
print(json.dumps([dict(statuses.annotate(Count("pk"))), Group.objects.aggregate(n=Sum("count"))["n"]]))
"""
PAGES = """
import json
from django.contrib.auth.models import User
from django.test import Client
from django_maillog.models import Batch, Group, Record
User.objects.create_superuser("ada")
client = Client()
client.force_login(User.objects.get())
pages = ["", "batch/", "group/", "record/"]
for model in (Batch, Group, Record):
    name = model._meta.model_name
    pages += [f"{name}/{key}/change/" for key in model.objects.values_list("pk", flat=True)]
bad = {page for page in pages if client.get(f"/admin/django_maillog/{page}").status_code != 200}
print(json.dumps([len(pages), sorted(bad)]))
"""


@pytest.fixture(params=FROZEN, ids=lambda path: path.name)
def folder(request: pytest.FixtureRequest) -> Path:
    if KIND != "sqlite":
        pytest.skip("it is SQLite's dump")
    path: Path = request.param
    return path


@pytest.fixture
def upgraded(folder: Path, empty_site: Site) -> Site:
    """A project a moment after its upgrade: the old database and spool, and the present code."""
    path = Path(empty_site.env["DATABASE_URL"].removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as database:
        database.executescript((folder / "database.sql").read_text())
    shutil.copytree(folder / "spool", empty_site.spool_dir)
    # Git keeps no modes.
    empty_site.spool_dir.chmod(0o700)
    for file in empty_site.spool_dir.iterdir():
        file.chmod(0o600)
    empty_site.env |= {"PYTHONDEVMODE": "", **freeze.ENVIRONMENT}
    empty_site.manage("migrate", "--verbosity=0")
    return empty_site


def test_everything_that_was_pending_is_mailed_once(upgraded: Site, smtp: SMTPServer, folder: Path) -> None:
    first = json.loads(upgraded.manage("flush_maillogs", "--json", check=False).stdout)
    again = json.loads(upgraded.manage("flush_maillogs", "--json", check=False).stdout)

    expected = json.loads((folder / "expected.json").read_text())
    mails = len(expected["mailed"])
    assert (first["sent"], first["pending"], first["failed"], first["sending"]) == (mails, 0, 1, 0)
    assert (again["sent"], again["imported"]) == (0, 0)
    counts = [(mail["X-Maillog-Buffer"], int(mail["X-Maillog-Count"])) for mail in smtp.messages]
    assert sorted(counts) == sorted(expected["mailed"].items())
    assert [envelope.rcpt_tos for envelope in smtp.envelopes] == [["ada@example.com"]] * mails
    assert json.loads(upgraded.run(STATUSES).stdout) == [expected["statuses"], expected["records"]]
    assert {file.suffix for file in upgraded.spool_dir.iterdir()} == {"", ".bad"}


def test_its_pages_are_shown(upgraded: Site) -> None:
    number, bad = json.loads(upgraded.run(PAGES).stdout)

    assert number > 30
    assert bad == []
