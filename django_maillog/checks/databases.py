"""Checks of where the tables are, and those that ask the database, where Django lets checks connect to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections, router

from .. import charset
from ..models import Attempt, Outcome, Segment
from ..transactions import write_alias


def check_routers() -> Iterator[CheckMessage]:
    """What DATABASE_ROUTERS say of our tables: rows of several are written in one transaction."""
    models = apps.get_app_config("django_maillog").get_models()
    aliases = sorted({router.db_for_write(model) for model in models})
    if len(aliases) > 1:
        yield Error(
            f"DATABASE_ROUTERS have the tables of django_maillog in several databases: {', '.join(aliases)}.",
            hint='Let db_for_write() answer the same for each model of the app "django_maillog".',
            id="django_maillog.E012",
        )
    elif not router.allow_migrate_model(aliases[0], Segment):
        yield Warning(
            f"DATABASE_ROUTERS have django_maillog write to {aliases[0]!r}, where migrate makes no tables.",
            hint='Let allow_migrate() allow the app "django_maillog", '
            f"then: manage.py migrate --database={aliases[0]}",
            id="django_maillog.W035",
        )


def check_databases(aliases: Sequence[str] | None) -> list[CheckMessage]:
    """What the database lacks, and what it tells of mails that nobody may have got."""
    if write_alias() not in (aliases or ()):
        return []
    try:
        return [*_check_characters(), *_check_unconfirmed()]
    except Exception:  # it is away, not migrated, or forbidden by a test: whoever asked hears of that
        return []


def _check_characters() -> Iterator[CheckMessage]:
    names = charset.narrow(connections[write_alias()])
    if names:
        yield Warning(
            f"The database {write_alias()!r} stores text as {', '.join(names)}, which lacks characters: "
            "what it lacks is stored and mailed escaped, an emoji as \\U0001f600.",
            hint="Convert it to utf8mb4 (MySQL, MariaDB) or move to one with ENCODING 'UTF8' (PostgreSQL).",
            id="django_maillog.W030",
        )


def _check_unconfirmed() -> Iterator[CheckMessage]:
    unconfirmed = Attempt.objects.filter(outcome=Outcome.UNCONFIRMED)
    number, last = unconfirmed.count(), unconfirmed.order_by("-pk").first()
    if last is not None:
        yield Warning(
            f"{number} mails are not confirmed by the mail backend, the last one at "
            f"{last.tried_at:%Y-%m-%d %H:%M}: it took them and said that it sent 0.",
            hint="Look whether they arrived, and use a backend that returns the number of mails it has sent.",
            id="django_maillog.W031",
        )
