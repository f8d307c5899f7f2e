"""``manage.py flush_maillogs``: import, seal and deliver on demand."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from ... import conf, queue


class Command(BaseCommand):
    """Parses, flushes, prints; the exit status is 1 if a delivery failed."""

    help = (
        "Import every spool segment on this host, seal the open batches and deliver what is sealed. "
        "Exit status: 0, or 1 if a delivery failed or is to be tried again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("buffers", nargs="*", metavar="BUFFER", help="Only these buffers. Default: all.")
        parser.add_argument(
            "--due",
            action="store_true",
            help="Keep to the rules of the handlers and send only what is due (for cron). Default: send everything.",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="Say what would be sent, and to whom; change nothing. Default: send.",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object. Default: print for people.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            buffers = self._known(options["buffers"]) if options["buffers"] else None
            if options["dry_run"]:
                self._plan(buffers, everything=not options["due"], as_json=options["json"])
                return
            with conf.muted():
                summary = queue.flush(buffers, everything=not options["due"])
        except DatabaseError as error:
            raise CommandError(
                f"The database can't be used: {error}\nNothing is lost: the records stay in {conf.spool_dir()}. "
                "If the tables are missing, run: manage.py migrate"
            ) from error
        if options["json"]:
            self.stdout.write(json.dumps(summary.as_dict()))
        else:
            self._print(summary)
        if summary.failed or summary.retrying:
            raise SystemExit(1)

    def _known(self, names: list[str]) -> list[str]:
        known = queue.known_buffers()
        unknown = [name for name in names if name not in known]
        if unknown:
            raise CommandError(
                f"No buffer is called {', '.join(map(repr, unknown))}. "
                f"There is: {', '.join(map(repr, sorted(known))) or 'none yet'}."
            )
        return names

    def _plan(self, buffers: list[str] | None, *, everything: bool, as_json: bool) -> None:
        plans = queue.plan(buffers, everything=everything)
        if as_json:
            self.stdout.write(json.dumps([plan.as_dict() for plan in plans]))
            return
        for plan in plans:
            addressees = ", ".join(plan.recipients) or "nobody: ADMINS is empty, so it stays pending"
            self.stdout.write(f"{plan.buffer}: {plan.records} records to {addressees}\n    {plan.subject}")
        if not plans:
            self.stdout.write("Nothing would be sent.")

    def _print(self, summary: queue.Summary) -> None:
        self.stdout.write(
            f"{summary.imported} records imported, {summary.sealed} batches sealed, {summary.sent} sent, "
            f"{summary.retrying} to be tried again, {summary.failed} failed; {summary.pending} records pending."
        )
        for problem in queue.problems():
            self.stderr.write(self.style.WARNING(problem))
