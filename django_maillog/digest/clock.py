"""Times as the people of a project read them."""

from __future__ import annotations

from datetime import datetime

from django.utils.timezone import get_default_timezone, get_default_timezone_name

from .. import language


class Clock:
    """Times as people of the project read them; the date is left out on the day of the mail."""

    def __init__(self, now: datetime) -> None:
        # The default one: a request may have activated its user's.
        self.tz = get_default_timezone()
        self.zone = get_default_timezone_name()
        self.now = now.astimezone(self.tz)

    def date(self, moment: datetime) -> str:
        local = moment.astimezone(self.tz)
        return language.date(local, with_year=local.year != self.now.year)

    def exact(self, moment: datetime) -> str:
        local = moment.astimezone(self.tz)
        time = f"{local:%H:%M:%S}"
        return time if local.date() == self.now.date() else f"{self.date(moment)} {time}"

    def minute(self, moment: datetime) -> str:
        return self.exact(moment)[:-3]

    def range(self, first_at: datetime, last_at: datetime, *, exact: bool = False) -> str:
        said, time = (self.exact, "%H:%M:%S") if exact else (self.minute, "%H:%M")
        first, last = said(first_at), said(last_at)
        if first == last:
            return first
        if self.date(first_at) == self.date(last_at):
            return f"{first}–{last_at.astimezone(self.tz):{time}}"
        return f"{first} – {last}"
