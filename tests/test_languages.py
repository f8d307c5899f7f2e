"""German and French: complete catalogues, mails in the project's language, pages in the reader's."""

from __future__ import annotations

import gettext
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation

from django_maillog import digest
from django_maillog.digest import words
from django_maillog.models import Batch, Record
from tests import mail_samples
from tests.catalogues import Entry, read
from tests.databases import lack
from tests.mail_samples import NOON, group, report, sample
from tests.showcase import Showcase
from tests.sites import ROOT
from tests.smtp import SMTPServer

LOCALE = ROOT / "django_maillog" / "locale"
LANGUAGES = sorted(path.name for path in LOCALE.iterdir())
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w*\}|</?code>")
LOCALE_MIDDLEWARE = "django.middleware.locale.LocaleMiddleware"


def catalogue(language: str, kind: str) -> Path:
    return LOCALE / language / "LC_MESSAGES" / f"django.{kind}"


def keys(entries: list[Entry]) -> set[tuple[str, str, str]]:
    return {(entry.context, entry.message, entry.plural) for entry in entries}


def test_there_are_german_and_french() -> None:
    assert LANGUAGES == ["de", "fr"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_untranslated_fuzzy_or_obsolete(language: str) -> None:
    entries = read(catalogue(language, "po"))

    assert len(entries) > 400
    assert [entry.message for entry in entries if not entry.forms or not all(entry.forms)] == []
    assert [entry.comments for entry in entries if re.search("fuzzy|^#[~|]", entry.comments, re.M)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_translation_has_the_message_s_placeholders(language: str) -> None:
    different = {
        form
        for entry in read(catalogue(language, "po"))
        for form in entry.forms
        if set(PLACEHOLDER.findall(form)) != set(PLACEHOLDER.findall(entry.plural or entry.message))
    }

    assert different == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalogue_is_that_of_the_source(language: str) -> None:
    with catalogue(language, "mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)

    for entry in read(catalogue(language, "po")):
        key = f"{entry.context}\x04{entry.message}" if entry.context else entry.message
        found = compiled._catalog  # type: ignore[attr-defined]  # all it holds, which nothing public tells
        forms = [found.get((key, number) if entry.plural else key) for number in range(len(entry.forms))]
        assert forms == entry.forms
    assert len(found) - 1 == sum(len(entry.forms) for entry in read(catalogue(language, "po")))


def test_the_catalogues_are_those_of_the_sources(tmp_path: Path) -> None:
    """As after ``django-admin makemessages``, of which Django has no ``--check``."""
    if not shutil.which("xgettext"):
        lack("xgettext isn't installed (Debian: gettext)")
    copy = tmp_path / "django_maillog"
    shutil.copytree(ROOT / "django_maillog", copy, ignore=shutil.ignore_patterns("__pycache__", "*.mo"))
    options = [option for language in LANGUAGES for option in ("--locale", language)]
    command = [
        sys.executable,
        "-m",
        "django",
        "makemessages",
        *options,
        "--add-location",
        "file",
        "--no-wrap",
    ]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)

    for language in LANGUAGES:
        made = read(copy / "locale" / language / "LC_MESSAGES" / "django.po")
        assert keys(made) == keys(read(catalogue(language, "po")))


@pytest.mark.parametrize(
    ("language", "first_line"),
    [
        ("de", "213 Fehler, 3 Probleme, 2 neu, 10:00–10:10 (Europe/Berlin)"),
        ("fr", "213 erreurs, 3 problèmes, 2 nouveaux, 10:00–10:10 (Europe/Berlin)"),
        ("en-gb", "213 errors in 3 problems, 2 new, 10:00–10:10 (Europe/Berlin)"),
        ("nl", "213 errors in 3 problems, 2 new, 10:00–10:10 (Europe/Berlin)"),
    ],
)
def test_a_mail_is_in_the_project_s_language(settings: Any, language: str, first_line: str) -> None:
    settings.LANGUAGE_CODE, settings.TIME_ZONE = language, "Europe/Berlin"

    with translation.override("pt"):
        rendered = digest.render(mail_samples.three_groups())
        assert translation.get_language() == "pt"

    assert rendered.text.startswith(first_line)
    assert f'<html lang="{language if language in LANGUAGES else "en"}">' in rendered.html
    assert first_line in rendered.html


def test_a_mail_is_in_english_where_a_project_translates_nothing(settings: Any) -> None:
    settings.LANGUAGE_CODE, settings.USE_I18N = "de", False

    text = digest.render(report(group(level=30, count=1204))).text

    assert text.startswith("1,204 warnings in 1 problem")


def test_a_mail_is_in_english_where_django_lacks_the_language(settings: Any) -> None:
    settings.LANGUAGE_CODE = "xx"
    with pytest.raises(OSError, match="No translation files"):
        translation.gettext("problem")

    assert digest.render(report(group(count=2))).text.startswith("2 errors in 1 problem, ")


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("de", ["0 Einträge", "1 Eintrag", "2 Einträge", "1.204 Einträge"]),
        ("fr", ["0 entrée", "1 entrée", "2 entrées", "1\xa0204 entrées"]),
        ("en", ["0 records", "1 record", "2 records", "1,204 records"]),
    ],
)
def test_numbers_and_plurals_are_the_language_s(language: str, said: list[str]) -> None:
    with translation.override(language):
        assert [words.any_records(number) for number in (0, 1, 2, 1204)] == said


@pytest.mark.parametrize(
    ("language", "day"), [("de", "4. Mär 10:10"), ("fr", "4 Mar 10:10"), ("en", "4 Mar 10:10")]
)
def test_dates_are_the_language_s(settings: Any, language: str, day: str) -> None:
    settings.LANGUAGE_CODE, settings.TIME_ZONE = language, "Europe/Berlin"
    shown = report(group(1, count=2, first_at=NOON - timedelta(days=1), last_at=NOON), group(2))

    assert day in digest.render(shown).text.splitlines()[0]


@pytest.mark.parametrize(
    ("scope", "heading"),
    [
        ("request", "Davor, in diesem Request, die letzten 20 von 30 Zeilen:"),
        ("task", "Davor, in diesem Task, die letzten 20 von 30 Zeilen:"),
        ("", "Davor, an derselben Stelle, die letzten 20 von 30 Zeilen:"),
    ],
)
def test_what_came_before_has_a_heading_in_the_language(settings: Any, scope: str, heading: str) -> None:
    settings.LANGUAGE_CODE = "de"
    lines = [{"time": NOON.timestamp(), "level": 10, "logger": "shop", "message": str(n)} for n in range(30)]

    rendered = digest.render(report(group(sample=sample(context={"scope": scope, "lines": lines}))))

    assert f"\n{heading}\n" in rendered.text


@pytest.fixture
def follows_the_browser(settings: Any) -> None:
    """A German project whose pages are in the language that the browser asks for."""
    settings.LANGUAGE_CODE = "de"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, LOCALE_MIDDLEWARE]


def test_the_mail_of_a_french_request_is_in_the_project_s_german(
    follows_the_browser: None,
    smtp: SMTPServer,
    configure_logging: Callable[[dict[str, Any]], None],
) -> None:
    configure_logging(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"mail": {"class": "django_maillog.handlers.MemoryHandler", "capacity": 1}},
            "loggers": {"django.request": {"handlers": ["mail"]}},
        }
    )
    client = Client(raise_request_exception=False)

    answer = client.get("/division/", headers={"accept-language": "fr"})

    assert (answer.status_code, answer.headers["Content-Language"]) == (500, "fr")
    (mail,) = smtp.wait_for(1)
    text = mail.get_body(("plain",)).get_content().replace("\r", "")  # type: ignore[union-attr]
    assert "\n  View: tests.views.division (division/)\n" in text
    assert "Zeiten in UTC." in text


@pytest.mark.django_db
def test_pages_are_in_the_reader_s_language_and_the_mail_on_them_is_not(
    follows_the_browser: None, showcase: Showcase, admin_client: Client
) -> None:
    base, french = "/admin/django_maillog/batch/", {"accept-language": "fr"}
    batch = Batch.objects.open().filter(record_count__gt=0)[0]

    page = admin_client.get(f"{base}{batch.pk}/change/", headers=french).content.decode()
    mail = admin_client.get(f"{base}{batch.pk}/mail.txt/", headers=french).content.decode()

    assert "<h2>Chronologie</h2>" in page
    assert "Envoyer maintenant" in page
    assert "Zeiten in UTC." in mail


@pytest.mark.django_db
@pytest.mark.parametrize(("language", "separator"), [("de", "."), ("fr", "\xa0")])
def test_counts_have_the_language_s_thousands_and_addresses_have_none(
    settings: Any, showcase: Showcase, admin_client: Client, language: str, separator: str
) -> None:
    settings.LANGUAGE_CODE, settings.USE_THOUSAND_SEPARATOR = language, True
    batch = Batch.objects.create(pk=123_456, buffer="b", opened_at=timezone.now(), record_count=7_890)
    Record.objects.filter(batch__status="sent").update(batch=batch)

    page = admin_client.get(f"/admin/django_maillog/batch/{batch.pk}/change/").content.decode()

    assert f"7{separator}890" in page
    assert "record/?batch=123456&amp;group=" in page
    assert f"123{separator}456" not in page
