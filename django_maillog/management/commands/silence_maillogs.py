"""``manage.py silence_maillogs``: be silent for the length of a deploy, or of a planned stop."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import translation

from ... import moments, silences
from ...database_clock import database_now
from ...models import Silence
from ..base import MaillogCommand, check_buffers

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LONGEST = timedelta(days=30)


class Command(MaillogCommand):
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

    def run(self, options: dict[str, Any]) -> None:
        buffer, match, length = options["buffer"], options["match"], options["length"]
        if options["end"] and length:
            raise CommandError("--for begins a silence and --end ends one: give one of them.")
        if buffer:
            check_buffers([buffer])
        now = database_now()
        if length:
            silences.declare(buffer, match, starts_at=now, ends_at=now + length, note=options["note"])
        elif options["end"] and not silences.end(buffer, match, now):
            raise CommandError("Nothing is silenced so.")
        self._list(list(Silence.objects.active(now)))

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
