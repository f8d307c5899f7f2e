"""Checks of the MAILLOG_* settings, and of the spool folder."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Warning

from .. import compat, conf, links
from ..spool import unattended
from ..spool.folder import UnsafeFolder, spool_folder, verify_unmade


def check_settings(*, spooling: bool) -> list[CheckMessage]:
    """The MAILLOG_* settings, and where a BufferingHandler needs it, the spool folder."""
    messages = list(_check_values())
    if any(message.id == "django_maillog.E007" for message in messages):
        return messages
    return [*messages, *_check_tasks(), *_check_links(), *(_check_spool() if spooling else ())]


def _check_values() -> Iterator[CheckMessage]:
    for name, problem in conf.problems():
        if name in conf.DEFAULTS:
            yield Error(problem, hint=f"The default is {conf.DEFAULTS[name]!r}.", id="django_maillog.E007")
        else:
            known = ", ".join(conf.DEFAULTS)
            yield Warning(problem, hint=f"The settings are {known}.", id="django_maillog.W003")


def _check_tasks() -> Iterator[CheckMessage]:
    if conf.delivery() != "task":
        return
    if not compat.has_tasks():
        yield Error(
            'MAILLOG_DELIVERY is "task", and nothing here runs tasks.',
            hint='Use Django 6.0 or later, "pip install celery", or set MAILLOG_DELIVERY = "worker".',
            id="django_maillog.E011",
        )
    elif compat.keeps_tasks():
        yield Warning(
            'MAILLOG_DELIVERY is "task", and the backend in TASKS runs none: nothing is ever mailed.',
            hint='Name a backend in TASKS that runs them, or set MAILLOG_DELIVERY = "worker".',
            id="django_maillog.W010",
        )


def _check_links() -> Iterator[CheckMessage]:
    if links.are_included() and not conf.site_url():
        yield Warning(
            "The URLs of django_maillog are included, and MAILLOG_SITE_URL is not set: no mail has a link.",
            hint='Set MAILLOG_SITE_URL = "https://example.com", where the site is reached from outside.',
            id="django_maillog.W060",
        )


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
