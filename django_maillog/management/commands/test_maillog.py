"""``manage.py test_maillog``: does an error reach people, and if not, where does it stop?"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ...checks import check_all
from ...checks.live import Found
from ...digest.excerpts import visible
from ...trial import Step, tried_handlers, try_out
from ..base import refuse_transaction, spelled_out


class Command(BaseCommand):
    """Parses, tries, prints; the exit status is 1 if a test mail was not sent."""

    # What is wrong is said by the steps; and Django's check of JSON fields asks SQLite and MySQL.
    requires_system_checks: list[str] = []  # as Django declares it

    help = (
        "Log one test error to each handler that mails, send it in a mail of its own, and say step by step "
        "what happened. What waits to be mailed stays where it is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "handlers", nargs="*", metavar="HANDLER", help="Only these handlers of LOGGING. Default: all."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_transaction()
        with spelled_out(self.stdout):
            self._try_all(options["handlers"])

    def _try_all(self, names: list[str]) -> None:
        handlers = tried_handlers()
        chosen = names or list(handlers)
        if unknown := [name for name in chosen if name not in handlers]:
            known = ", ".join(map(repr, handlers)) or "none"
            raise CommandError(
                f"No handler that mails is called {unknown[0]!r}, or no logger has it. There is: {known}."
            )
        for message in check_all():
            self.stdout.write(self.style.WARNING(visible(str(message))))
        if not chosen:
            raise CommandError("LOGGING has no handler of django_maillog: see the README, Install.")
        failed = [name for name in chosen if not self._try(handlers[name])]
        if failed:
            raise CommandError(f"No test mail from: {', '.join(failed)}.")
        self.stdout.write(self.style.SUCCESS("Look into your mailbox: the server has taken it."))

    def _try(self, tried: Found) -> bool:
        """Print the steps; whether all went well."""
        self.stdout.write(visible(tried.name))
        is_well = True
        for step in try_out(tried):
            self._print(step)
            is_well = is_well and step.is_well
        return is_well

    def _print(self, step: Step) -> None:
        style = self.style.SUCCESS if step.is_well else self.style.ERROR
        sign = "ok" if step.is_well else "FAILED"
        self.stdout.write(style(visible(f"  {sign:6} {step.what:12} {step.said}")))
