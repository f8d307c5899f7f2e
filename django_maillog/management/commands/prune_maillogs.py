"""``manage.py prune_maillogs``: delete sent batches and their records when they are old."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import translation

from ... import conf
from ...database_clock import database_now
from ...erase import erase_text, erase_user
from ...prune import count, prune
from ..base import MaillogCommand


class Command(MaillogCommand):
    interrupted = "Interrupted. What is deleted is deleted."
    help = (
        "Delete sent and cancelled batches with their records; failed ones a year after nobody acted. "
        "With --user or --text, erase what records and mails say of somebody instead: import first, with "
        "flush_maillogs, what waits in the spool."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days",
            type=_days,
            help="Delete what is older than this many days. Default: MAILLOG_RETENTION_DAYS.",
        )
        parser.add_argument(
            "--user",
            help="Erase the records of requests by this user, a key or a name, and the mails with them. "
            "Default: nobody's.",
        )
        parser.add_argument(
            "--text",
            help="Erase records, titles and mails that contain this text, such as an address. Default: none.",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="Say how much would be deleted; change nothing. Default: delete.",
        )

    def run(self, options: dict[str, Any]) -> None:
        user, text = options["user"], options["text"]
        now = database_now()
        days = options["days"] if options["days"] is not None else conf.retention_days()
        before = now - timedelta(days=days)
        if options["dry_run"]:
            self.stdout.write(self._would_delete(before, now, erases=bool(user or text)))
            return
        with _counter() as progress:
            if user or text:
                erased = erase_user(user, progress=progress) if user else 0
                erased += erase_text(text, progress=progress) if text else 0
                said = f"{erased} rows erased."
            else:
                said = f"{prune(before, now, progress=progress)} rows deleted."
        self.stdout.write(said)

    def _would_delete(self, before: datetime, now: datetime, *, erases: bool) -> str:
        if erases:
            raise CommandError(
                "--dry-run tells what is old: with --user or --text there is no such look ahead."
            )
        with translation.override(None):
            found = ", ".join(f"{number} {name}" for name, number in count(before, now).items())
        return f"Would be deleted: {found or 'nothing'}."


@contextmanager
def _counter() -> Iterator[Callable[[int], None]]:
    """Count rows on a terminal, in a line of its own that ends with the work; say nothing elsewhere."""
    total = 0

    def count_up(rows: int) -> None:
        nonlocal total
        total += rows
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{total:,} rows")
            sys.stderr.flush()

    try:
        yield count_up
    finally:
        if total and sys.stderr.isatty():
            sys.stderr.write("\n")


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1
    if not 0 <= days < 100_000:
        raise ArgumentTypeError(f"{text!r} is not a number of days from 0 to 99999.")
    return days
