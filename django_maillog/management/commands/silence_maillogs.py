"""``manage.py silence_maillogs``: be silent for the length of a deploy, or of a planned stop."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from django.utils import translation

from ... import moments, silences
from ...buffers import muted
from ...database_clock import database_now
from ...models import Silence
from ...plan import known_buffers

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LONGEST = timedelta(days=30)


class Command(BaseCommand):
    """Parses, declares or ends silences, prints."""

    # Django's check of JSON fields asks SQLite and MySQL, which may be away: the command says so itself.
    requires_system_checks: list[str] = []  # as Django declares it

    help = (
        "Silence a buffer, or what matches, for some time: records are counted, not mailed, and the mail "
        "after it says so. Without --for and --end, list the silences that hold."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("buffer", nargs="?", default="", metavar="BUFFER", help="Default: all buffers.")
        parser.add_argument(
            "--match",
            default="",
            metavar="TEXT",
            help="Only records with this text in title, logger or message. Default: all.",
        )
        parser.add_argument(
            "--for",
            dest="length",
            type=_length,
            metavar="TIME",
            help="For how long, at most 30 days: 90s, 30m, 2h, 1d. It ends by itself.",
        )
        parser.add_argument("--note", default="", metavar="TEXT", help="Why, for the mail that says so.")
        parser.add_argument("--end", action="store_true", help="End what was silenced so, now.")

    def handle(self, *args: Any, **options: Any) -> None:
        buffer, match = options["buffer"], options["match"]
        if options["end"] and options["length"]:
            raise CommandError("--for begins a silence and --end ends one: give one of them.")
        try:
            with muted():
                self._check(buffer)
                now = database_now()
                if options["length"]:
                    silences.declare(
                        buffer, match, starts_at=now, ends_at=now + options["length"], note=options["note"]
                    )
                elif options["end"] and not silences.end(buffer, match, now):
                    raise CommandError("Nothing is silenced so.")
                self._list(list(Silence.objects.active(now)))
        except Error as error:
            raise CommandError(f"The database can't be used: {error}") from error

    def _check(self, buffer: str) -> None:
        if buffer and buffer not in (known := known_buffers()):
            there_is = ", ".join(map(repr, sorted(known))) or "none yet"
            raise CommandError(f"No buffer is called {buffer!r}. There is: {there_is}.")

    def _list(self, active: list[Silence]) -> None:
        for each in active:
            until = f"{moments.local(each.ends_at):%Y-%m-%d %H:%M:%S}"
            note = f" ({each.note})" if each.note else ""
            with translation.override(None):
                self.stdout.write(f"{each} is silenced until {until}{note}.")
        if not active:
            self.stdout.write("Nothing is silenced.")


def _length(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,7})([smhd])", text)
    length = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not timedelta() < length <= LONGEST:
        raise ArgumentTypeError(f"{text!r} is not a time such as 90s, 30m, 2h or 1d, at most 30d.")
    return length
