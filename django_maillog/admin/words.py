"""How the admin writes what the rows hold: levels, times, states; everything is escaped here."""

from __future__ import annotations

import logging
from datetime import datetime

from django.utils import formats
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from .. import language, moments
from ..digest.words import WHY
from ..models import Batch, Group, Status
from ..policy import Reason

LEVELS = [logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG]


def level_class(level: int) -> str:
    """The CSS class of a level: that of the highest standard level which it reaches."""
    reached = next((standard for standard in LEVELS if level >= standard), logging.DEBUG)
    return logging.getLevelName(reached).lower()


def badge(word: object, kind: str) -> SafeString:
    return format_html('<span class="maillog-badge maillog-{}">{}</span>', kind, word)


def level_badge(level: int) -> SafeString:
    return badge(logging.getLevelName(level), level_class(level))


def clock(moment: datetime, now: datetime) -> str:
    """A time as short as it can be told: "14:05" today, "21 Nov 14:05" this year, else with the year."""
    local, today = moments.local(moment), moments.local(now)
    if local.date() == today.date():
        return formats.date_format(local, "H:i")
    return f"{language.date(local, with_year=local.year != today.year)} {formats.date_format(local, 'H:i')}"


def when(moment: datetime | None, now: datetime) -> SafeString:
    """A time for people, with the exact one for machines and for the pointer."""
    if moment is None:
        return format_html("{}", "–")
    local = moments.local(moment)
    exact = formats.date_format(local, "Y-m-d H:i:s T")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', local.isoformat(), exact, clock(moment, now)
    )


def span(first_at: datetime, last_at: datetime, now: datetime) -> SafeString:
    return format_html("{} – {}", when(first_at, now), when(last_at, now))


def status_badge(batch: Batch, now: datetime) -> SafeString:
    """The state of a batch, "retrying at 14:05" included."""
    if batch.status == Status.READY and batch.attempts and batch.next_attempt_at:
        return badge(_("retrying at %(time)s") % {"time": clock(batch.next_attempt_at, now)}, "retrying")
    return badge(batch.get_status_display(), batch.status)


def group_badge(group: Group, now: datetime) -> SafeString:
    if group.is_silenced(now):
        if group.silenced_until is None:
            return badge(_("silenced for ever"), "silenced")
        until = _("until %(time)s") % {"time": clock(group.silenced_until, now)}
        return format_html('{} <span class="maillog-of">{}</span>', badge(_("silenced"), "silenced"), until)
    if group.resolved_at is not None:
        return badge(_("resolved"), "resolved")
    return badge(pgettext("problem", "active"), "active")


def reason(code: str) -> str:
    return str(WHY[Reason(code)].clause) if code in list(Reason) else code


def subject(batch: Batch) -> str:
    """The subject of a batch, or what stands for it until it is sealed."""
    return batch.subject or _("Next mail of %(buffer)s") % {"buffer": batch.buffer}
