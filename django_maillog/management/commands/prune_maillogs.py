"""``manage.py prune_maillogs``: delete sent batches and their records when they are old."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from tqdm import tqdm

from ... import buffers, conf
from ...database_clock import database_now
from ...prune import prune


class Command(BaseCommand):
    """Parses, prunes, prints."""

    help = (
        "Delete sent and cancelled batches with their records. Failed batches are kept until somebody acts."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days",
            type=_days,
            help="Delete what is older than this many days. Default: MAILLOG_RETENTION_DAYS.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            now = database_now()
            days = options["days"] if options["days"] is not None else conf.retention_days()
            with buffers.muted(), tqdm(unit=" rows", disable=not sys.stderr.isatty()) as bar:
                deleted = prune(now - timedelta(days=days), now, progress=bar.update)
        except Error as error:
            raise CommandError(f"The database can't be used: {error}") from error
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted. What is deleted is deleted.", returncode=130) from None
        self.stdout.write(f"{deleted} rows deleted.")


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1
    if not 0 <= days < 100_000:
        raise ArgumentTypeError(f"{text!r} is not a number of days from 0 to 99999.")
    return days
