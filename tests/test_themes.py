"""Every page of the admin, and every list, under the themes that people use."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tests.sites import ROOT, Site

SETTINGS = """
from tests.settings import *
INSTALLED_APPS = [*{apps}, *INSTALLED_APPS]
ROOT_URLCONF = "themed.urls"
"""
URLS = """
from django.urls import include, path
from tests.urls import urlpatterns
if "{theme}" == "grappelli":
    urlpatterns = [path("grappelli/", include("grappelli.urls")), *urlpatterns]
"""
VISIT = """
import json
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django_maillog.models import Batch, Group, Record
from tests.showcase import Showcase
Showcase(timezone.now()).build()
client = Client(raise_request_exception=False)
client.force_login(User.objects.create(username="ada", is_staff=True, is_superuser=True))
base = "/admin/django_maillog"
pages = [f"{base}/{model.__name__.lower()}/" for model in (Batch, Group, Record)]
pages += [f"{base}/{row._meta.model_name}/{row.pk}/change/" for model in (Batch, Group, Record)
          for row in model.objects.all()[:8]]
pages += [f"{base}/group/?state=active&level=40", f"{base}/batch/?status__exact=sent"]
sent = Batch.objects.filter(status="sent")[0].pk
pages += [f"{base}/record/?time=24", f"{base}/batch/{sent}/delete/", f"{base}/batch/{sent}/history/"]
answers = {page: client.get(page) for page in pages}
marks = {page: answer.status_code if answer.status_code != 200 else "maillog" in answer.content.decode()
         for page, answer in answers.items()}
print(json.dumps(marks))
"""
THEMES = {
    "unfold": ["unfold", "unfold.contrib.filters"],
    "grappelli": ["grappelli"],
    "jazzmin": ["jazzmin"],
}


@pytest.mark.parametrize("theme", THEMES)
def test_all_pages_are_shown_under_a_theme(theme: str, site: Site, tmp_path: Path) -> None:
    if importlib.util.find_spec(theme) is None:
        pytest.skip(f"{theme} isn't installed: tox run -e themes")
    folder = tmp_path / "themed"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "settings.py").write_text(SETTINGS.format(apps=THEMES[theme]))
    (folder / "urls.py").write_text(URLS.format(theme=theme))
    given = site.env["PYTHONPATH"]
    site.env |= {"DJANGO_SETTINGS_MODULE": "themed.settings", "PYTHONPATH": f"{given}:{ROOT}:{tmp_path}"}

    shown = json.loads(site.run(VISIT).stdout.splitlines()[-1])

    assert {page: mark for page, mark in shown.items() if mark is not True} == {}
    assert len(shown) > 20
