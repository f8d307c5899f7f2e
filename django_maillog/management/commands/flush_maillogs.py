"""``manage.py flush_maillogs``: import, seal and deliver on demand."""

from __future__ import annotations

import json
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from django.core.management.base import CommandError

from ...digest.excerpts import visible
from ...flush import Summary, flush, retry_failed
from ...health import MAX_AGE_SECONDS, check
from ...hosts import forget
from ...models import Host
from ...outbox.options import FlushOptions
from ...plan import Plan, plan, problems, spool_plan
from ...spool.folder import spool_folder
from ...watch import Termination, notify_systemd, watch
from ..base import TERMINATED, MaillogCommand, check_buffers, refuse_transaction

INTERVAL_SECONDS = 5.0


class Command(MaillogCommand):
    """Parses, flushes, prints; the exit status is 1 if a delivery or a line failed."""

    interrupted = "Interrupted. Nothing is lost: the next flush goes on from here."
    help = (
        "Import every spool segment on this host, seal the open batches and deliver what is sealed. "
        "Exit status: 0, or 1 if a delivery failed or is to be tried again, or a line can't be imported."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        flag = partial(parser.add_argument, action="store_true")
        parser.add_argument("buffers", nargs="*", metavar="BUFFER", help="Only these buffers. Default: all.")
        flag(
            "--due",
            help="Keep to the handlers' rules, send only what is due (for cron). Default: send everything.",
        )
        flag("--dry-run", help="Say what would be sent, and to whom; change nothing. Default: send.")
        flag(
            "--watch",
            help="Go on, as a service: flush what is due until SIGTERM or SIGINT. Default: flush once.",
        )
        parser.add_argument(
            "--interval",
            type=_seconds,
            default=INTERVAL_SECONDS,
            metavar="S",
            help="With --watch: seconds between two looks at the spool. Default: %(default)s.",
        )
        parser.add_argument(
            "--limit",
            type=_number,
            metavar="N",
            help="Deliver at most so many batches in a run; the others wait. Default: no limit.",
        )
        flag(
            "--retry-failed",
            help="Try failed batches once more, too. Default: they wait until somebody acts.",
        )
        flag("--json", help="Print one JSON object. Default: print for people.")
        self._add_what_flushes_nothing(parser)

    def _add_what_flushes_nothing(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="Flush nothing; say whether errors reach people, with Nagios' exit status 0, 1 or 2.",
        )
        parser.add_argument(
            "--max-age",
            type=_seconds,
            default=MAX_AGE_SECONDS,
            metavar="S",
            help="With --check: seconds that anything due may wait. Default: %(default)s.",
        )
        parser.add_argument(
            "--forget-host",
            metavar="NAME",
            help="Flush nothing; forget a host that is no more. Default: hosts are pruned.",
        )

    def run(self, options: dict[str, Any]) -> None:
        """Do what is asked for; leaves with an exit status if that isn't 0."""
        everything, as_json = not options["due"], options["json"]
        buffers = options["buffers"] or None
        if options["check"]:
            self._check(options["max_age"], as_json=as_json)
        if options["forget_host"] is not None:
            return self._forget(options["forget_host"])
        if buffers:
            check_buffers(buffers)
        if options["dry_run"]:
            return self._plan(buffers, everything=everything, as_json=as_json)
        refuse_transaction()
        if options["retry_failed"]:
            retry_failed(buffers)
        asked = FlushOptions(buffers=buffers, everything=everything, limit=options["limit"])
        if options["watch"]:
            return self._watch(asked, interval=options["interval"], as_json=as_json)
        return self._flush(asked, as_json=as_json)

    def _flush(self, options: FlushOptions, *, as_json: bool) -> None:
        with Termination(signal.SIGTERM) as stop:
            summary = flush(replace(options, stop=stop.is_asked))
        self._print(summary, as_json=as_json)
        if stop.is_asked():
            raise CommandError(
                "Terminated. Nothing is lost: the next flush goes on from here.", returncode=TERMINATED
            )
        if summary.failed or summary.retrying or summary.set_aside:
            sys.exit(1)

    def _check(self, max_age: float, *, as_json: bool) -> None:
        health = check(max_age)
        reasons = [visible(f"{level.name}: {reason}") for level, reason in health.reasons]
        said = "\n".join(reasons) or "OK: nothing that is due waits."
        self.stdout.write(json.dumps(health.as_dict()) if as_json else said)
        sys.exit(health.level)

    def _forget(self, name: str) -> None:
        if not forget(name):
            names = ", ".join(Host.objects.order_by("name").values_list("name", flat=True)) or "none"
            raise CommandError(visible(f"No host is called {name!r}. There is: {names}."))
        self.stdout.write(visible(f"Forgotten: {name}."))

    def _watch(self, options: FlushOptions, *, interval: float, as_json: bool) -> None:
        def tell(summary: Summary) -> None:
            self._print(summary, as_json=as_json)
            self.stdout.flush()

        def ready() -> None:
            notify_systemd("READY=1")
            self.stdout.write("Watching the spool and the database.")
            self.stdout.flush()

        def warn(message: str, *args: object) -> None:
            self.stderr.write(self.style.WARNING(visible(message % args)))

        due = replace(options, everything=False)
        with Termination(signal.SIGTERM, signal.SIGINT) as stop:
            watch(due, interval=interval, stop=stop, tell=tell, warn=warn, ready=ready)
            notify_systemd("STOPPING=1")
        self.stdout.write("Stopped.")

    def _plan(self, buffers: list[str] | None, *, everything: bool, as_json: bool) -> None:
        planned = plan(buffers, everything=everything)
        spool = spool_plan(buffers)
        number = sum(mail.records for mail in spool)
        if as_json:
            mails, first = [mail.as_dict() for mail in planned], [mail.as_dict() for mail in spool]
            self.stdout.write(json.dumps({"mails": mails, "spooled": number, "spool": first}))
            return
        self._print_plans(planned, nobody="nobody: ADMINS is empty, so it stays pending")
        if not planned:
            self.stdout.write("Nothing that is imported would be sent.")
        if number:
            self.stdout.write(f"{counted(number)} in the spool would be imported first:")
        self._print_plans(spool, nobody="nobody")

    def _print_plans(self, plans: list[Plan], *, nobody: str) -> None:
        for mail in plans:
            addressees = ", ".join(mail.recipients) or nobody
            said = f"{mail.buffer}: {counted(mail.records)} to {addressees}\n    {mail.subject}"
            self.stdout.write(visible(said))

    def _print(self, summary: Summary, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(summary.as_dict()))
            return
        self.stdout.write(
            f"{counted(summary.imported)} imported, {counted(summary.sealed, 'batch', 'batches')} sealed, "
            f"{summary.sent} sent, {summary.retrying} to be tried again, {summary.failed} failed; "
            f"{counted(summary.pending)} pending."
        )
        for warning in chain(_warnings(summary), problems()):
            self.stderr.write(self.style.WARNING(visible(warning)))


def _warnings(summary: Summary) -> Iterator[str]:
    if summary.set_aside:
        lines = f"{counted(summary.set_aside, 'line', 'lines')} of the spool can't be imported"
        yield f"{lines}: kept in *.lines.bad in {spool_folder()}, and counted as lost."
    if summary.held_back:
        waiting = counted(summary.held_back, "batch waits", "batches wait")
        yield f"{waiting} behind an earlier mail that its server did not take."
    if summary.left_alone:
        left = counted(len(summary.left_alone), "batch is", "batches are")
        names = ", ".join(sorted({batch.buffer for batch in summary.left_alone}))
        yield f"{left} left to the processes that have the handler, and its mailer: {names}."
    if summary.sending:
        held = counted(summary.sending, "batch is", "batches are")
        yield f"{held} being sent by another process; if that was killed, a later flush sends it."


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 86_400:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds, above 0 and at most 86400.")
    return seconds


def _number(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is not a whole number of at least 1.")
    return int(text)


def counted(number: int, one: str = "record", many: str = "records") -> str:
    return f"{number} {one if number == 1 else many}"
