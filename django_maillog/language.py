"""The language of mails: the project's ``LANGUAGE_CODE``, whatever that of a request is.

A mail may have to be made while Django is still starting, when it can't translate yet: then it is in English.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from django.apps import apps
from django.conf import settings
from django.utils import formats, translation

P = ParamSpec("P")
R = TypeVar("R")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def in_project_language(make: Callable[P, R]) -> Callable[P, R]:
    """A function whose texts are in the project's language."""

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> R:
        with ExitStack() as language:
            if _is_ready():
                with suppress(OSError):
                    language.enter_context(translation.override(settings.LANGUAGE_CODE))
            return make(*args, **kwargs)

    return made


def each_language() -> Iterator[None]:
    """Go through the languages that a mail may be in: English, those of our catalogues, the project's own."""
    ours = (folder.name for folder in (Path(__file__).parent / "locale").iterdir())
    for language in sorted({"en", *ours, settings.LANGUAGE_CODE}):
        with translation.override(language):
            yield


def gettext_noop(message: str) -> str:
    """Mark a text that is translated later; Django's own asks for settings, before there are any."""
    return message


def gettext(message: str) -> str:
    return _said(message, translation.gettext, message)


def pgettext(context: str, message: str) -> str:
    return _said(message, translation.pgettext, context, message)


def ngettext(singular: str, plural: str, number: int) -> str:
    """A message in the form for a number, which is its ``%(number)s``."""
    english = singular if number == 1 else plural
    said = _said(english, translation.ngettext, singular, plural, number)
    return said % {"number": formatted(number)}


def formatted(number: int) -> str:
    """A count with its thousands apart."""
    return formats.number_format(number, force_grouping=True) if _is_ready() else f"{number:,}"


def date(local: datetime, *, with_year: bool) -> str:
    """A day as short as it can be told: "21 Nov", "21 Nov 2026"."""
    if not _is_ready():
        return f"{local.day} {MONTHS[local.month - 1]}" + (f" {local.year}" if with_year else "")
    # Translators: dates as Django's date filter writes them.
    return formats.date_format(local, gettext("j M Y") if with_year else gettext("j M"))


def code() -> str:
    """The code, for HTML, of the language that texts really are in."""
    # Translators: the code of your language, as "de".
    return pgettext("language code", "en")


def _said(english: str, translate: Callable[..., str], *message: object) -> str:
    # OSError: Django's own catalogues went with a release that was deployed away.
    if _is_ready():
        with suppress(OSError):
            return translate(*message)
    return english


def _is_ready() -> bool:
    return apps.ready and settings.USE_I18N
