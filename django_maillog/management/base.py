"""What the commands share: none mails what it logs itself, none shows a traceback where something is away."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import Error

from ..buffers import muted
from ..digest.excerpts import visible
from ..plan import known_buffers
from ..spool.folder import UnsafeFolder
from ..transactions import IN_TRANSACTION, is_in_transaction

# The shell's statuses for SIGINT and SIGTERM.
INTERRUPTED = 130
TERMINATED = 143


class MaillogCommand(BaseCommand):
    """A command that ``run``s and says what went wrong."""

    # Django's check of JSON fields asks SQLite and MySQL, which may be away: the command says so itself.
    requires_system_checks: list[str] = []  # as Django declares it
    interrupted = "Interrupted."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with muted(), spelled_out(self.stdout):
                self.run(options)
        except Error as error:
            raise CommandError(
                f"The database can't be used: {visible(str(error))}\n"
                "Nothing is lost: the records stay in the spool. "
                "If the tables are missing, run: manage.py migrate"
            ) from error
        except (ImproperlyConfigured, UnsafeFolder) as error:
            raise CommandError(visible(str(error))) from error
        except KeyboardInterrupt:
            raise CommandError(self.interrupted, returncode=INTERRUPTED) from None

    def run(self, options: dict[str, Any]) -> None:
        raise NotImplementedError


@contextlib.contextmanager
def spelled_out(stream: OutputWrapper) -> Iterator[None]:
    """While it is entered, what a stream's encoding lacks is written as escapes, as on standard error."""
    if not hasattr(stream, "reconfigure"):  # a text in memory
        yield
        return
    errors = stream.errors
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # nobody reads it any more
            stream.reconfigure(errors=errors)


def refuse_transaction() -> None:
    """Raise CommandError if the command was called in a transaction of the project's."""
    if is_in_transaction():
        raise CommandError(IN_TRANSACTION)


def check_buffers(names: Collection[str]) -> None:
    """Raise CommandError if one of these buffers isn't known."""
    known = known_buffers()
    if unknown := [name for name in names if name not in known]:
        there_is = ", ".join(map(repr, sorted(known))) or "none yet"
        raise CommandError(f"No buffer is called {', '.join(map(repr, unknown))}. There is: {there_is}.")
