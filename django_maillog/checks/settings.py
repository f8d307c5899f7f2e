"""Checks of the MAILLOG_* settings, and of the spool folder."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Warning

from .. import compat, conf
from ..spool import unattended
from ..spool.folder import UnsafeFolder, spool_folder, verify_unmade
from .links import check_links


def check_settings(*, spooling: bool) -> list[CheckMessage]:
    """The MAILLOG_* settings, and where a BufferingHandler needs it, the spool folder."""
    messages: list[CheckMessage] = []
    for name, problem in conf.problems():
        known = name in conf.DEFAULTS
        others = ", ".join(conf.DEFAULTS)
        hint = f"The default is {conf.DEFAULTS[name]!r}." if known else f"The settings are {others}."
        kind, number = (Error, "E007") if known else (Warning, "W003")
        messages.append(kind(problem, hint=hint, id=f"django_maillog.{number}"))
    if any(message.id == "django_maillog.E007" for message in messages):
        return messages
    if conf.delivery() == "task" and not compat.has_tasks():
        messages.append(
            Error(
                'MAILLOG_DELIVERY is "task", and nothing here runs tasks.',
                hint='Use Django 6.0 or later, "pip install celery", or set MAILLOG_DELIVERY = "worker".',
                id="django_maillog.E011",
            )
        )
    elif conf.delivery() == "task" and compat.keeps_tasks():
        messages.append(
            Warning(
                'MAILLOG_DELIVERY is "task", and the backend in TASKS runs none: nothing is ever mailed.',
                hint='Name a backend in TASKS that runs them, or set MAILLOG_DELIVERY = "worker".',
                id="django_maillog.W010",
            )
        )
    messages += check_links()
    return [*messages, *_check_spool()] if spooling else messages


def _check_spool() -> Iterator[CheckMessage]:
    """Warnings, since another user's commands can do without the spool; nothing is made."""
    try:
        folder = spool_folder()
        verify_unmade(folder)
    except UnsafeFolder as error:
        yield Warning(
            f"The spool folder can't be used, so records are kept in memory: {error}",
            hint="Set MAILLOG_SPOOL_DIR to a folder of this user's own, with mode 0700, "
            "or let several users share it with MAILLOG_SPOOL_GROUP.",
            id="django_maillog.W020",
        )
        return
    for other, number in unattended.unattended_folders(folder).items():
        yield Warning(
            f"{number} segments of this project wait in {other}, where nobody imports them.",
            hint=f"If they are still to be mailed: mkdir -p -m 700 {folder} && mv {other}/* {folder}/",
            id="django_maillog.W021",
        )
    for why, number in unattended.strange_segments(folder).items():
        yield Warning(
            f"{number} segments in {folder} are left alone: {why}.",
            hint="Give each project a MAILLOG_PROJECT or a MAILLOG_SPOOL_DIR of its own.",
            id="django_maillog.W022",
        )
