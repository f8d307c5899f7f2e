"""What it costs to render and send a batch, by its records; and many small batches against send_messages.

    python -m tests.benchmarks.flush [--json] [--quick]

Batches of 1,000 to 1,000,000 records in 50 groups, imported from a spool as a storm makes it, then rendered
and sent to a local SMTP server in a process of its own; time of the delivery, and how much memory it took.
1,000 small batches: mails a second, and Django's send_messages with the same 1,000 messages ready-made.
300 mails of 300 buffers by ``flush_maillogs``, start of the process included, and the same mails from the
queues of django-mailer (``send_mail``) and post_office (``send_queued_mail``), where these are installed and
the Django is older than 6.1, whose MAILERS django-mailer doesn't know.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django

from tests.benchmarks.common import arguments, databases, fill_spool, project, show, timed
from tests.sites import Site

GROUPS = 50
SERVER = """
import sys
from tests.smtp import SMTPServer
class Sink(SMTPServer):
    def _keep(self, envelope): pass
with Sink() as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""


@contextmanager
def mail_server() -> Iterator[None]:
    """A server in a process of its own, as the project's mailer."""
    from django.conf import settings

    with mail_server_url() as url:
        port = urlsplit(url).port
        backend = "django.core.mail.backends.smtp.EmailBackend"
        if django.VERSION >= (6, 1):
            options = {"host": "127.0.0.1", "port": port, "timeout": 10}
            settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
        else:
            settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = backend, "127.0.0.1", port
        yield


@contextmanager
def mail_server_url() -> Iterator[str]:
    """The URL of a server in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"smtp://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


def large(records: int) -> dict[str, Any]:
    """One batch of so many records."""
    with project(), mail_server():
        from django_maillog.flush import flush
        from django_maillog.intake.importer import import_all

        left = records
        while left:
            part = min(left, 200_000)
            fill_spool(part, GROUPS)
            import_all()
            left -= part
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        summary: list[Any] = []
        seconds = timed(lambda: summary.append(flush()))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        assert summary[0].sent == 1
    return {"case": f"1 x {records:,}", "seconds": seconds, "MB more": grown / 1024}


def small(kind: str, number: int) -> dict[str, Any]:
    """Many batches of one record; before and after, the same mails ready-made through send_messages."""
    with project(kind), mail_server():
        from django.utils import timezone

        from django_maillog import compat
        from django_maillog.intake.importer import import_all
        from django_maillog.models import Batch
        from django_maillog.outbox.batches import seal
        from django_maillog.outbox.delivery import deliver
        from django_maillog.outbox.mails import make_mail
        from django_maillog.outbox.targets import target_of

        for _each in range(number):
            fill_spool(1, 1)
            import_all()
            seal(Batch.objects.get(open_for="mail"), timezone.now())
        now = timezone.now()
        mails = [make_mail(batch, target_of(batch), now) for batch in Batch.objects.all()]
        before = timed(lambda: compat.get_connection().send_messages(mails))
        ours = timed(deliver)
        after = timed(lambda: compat.get_connection().send_messages(mails))
        assert set(Batch.objects.values_list("status", flat=True)) == {"sent"}
    peer = (before + after) / 2
    return {
        "case": f"{number:,} x 1",
        "database": kind,
        "ours/s": number / ours,
        "send_messages/s": number / peer,
        "ratio": peer / ours,
    }


FILL = """
import sys
import django
django.setup()
from django.core.mail import get_connection
from django.utils import timezone
from django_maillog import buffers, handlers
from django_maillog.intake.importer import import_all
from django_maillog.models import Batch
from django_maillog.outbox.batches import seal
from django_maillog.outbox.mails import make_mail
from django_maillog.outbox.targets import target_of
from tests.benchmarks.common import repeat, value
from django_maillog.spool.journal import journal
from django_maillog.spool.lines import encode
kept = []
for number in range(int(sys.argv[1])):
    handler = handlers.BufferingHandler()
    handler.name = f"buffer{number}"
    kept.append(handler)
    journal.append(handler, encode(value(number, number, full=True), handler.name))
journal.rotate()
import_all()
now = timezone.now()
for batch in Batch.objects.open():
    assert seal(batch, now)
mails = [make_mail(batch, target_of(batch), now) for batch in Batch.objects.all()]
for backend in sys.argv[2:]:
    get_connection(backend).send_messages(mails)
"""
COMMANDS = {
    "ours": ("flush_maillogs", ""),
    "django-mailer": ("send_mail", "mailer.backend.DbBackend"),
    "post_office": ("send_queued_mail", "post_office.EmailBackend"),
}


def queues(number: int) -> list[dict[str, Any]]:
    """Mails a second of each queue's command, in turn, start of the process included."""
    with tempfile.TemporaryDirectory() as name, mail_server_url() as url:
        site = Site(folder=Path(name), database_url=f"sqlite:///{name}/db.sqlite3", email_url=url)
        site.env |= {"MAILLOG_TEST_APPS": "mailer,post_office", "MAILLOG_WORKER": "none", "PYTHONDEVMODE": ""}
        site.manage("migrate", "--verbosity=0")
        backends = [backend for _command, backend in COMMANDS.values() if backend]
        site.run(FILL, str(number), *backends)
        rows = []
        for queue, (command, _backend) in COMMANDS.items():
            seconds = timed(lambda command=command: site.manage(command))  # type: ignore[misc]
            rows.append({"queue": queue, "mails": number, "mails/s": number / seconds})
    return rows


def main() -> None:
    options = arguments(__doc__)
    sizes = [1_000, 10_000] if options.quick else [1_000, 10_000, 100_000, 1_000_000]
    rows = [large(records) for records in sizes]
    for row in rows:
        row["ratio"] = row["seconds"] / rows[0]["seconds"]
    show(rows, as_json=options.json)
    print()
    number = 200 if options.quick else 1_000
    show([small(kind, number) for kind in databases()], as_json=options.json)
    if django.VERSION < (6, 1) and find_spec("mailer") and find_spec("post_office"):
        print()
        show(
            [row for _round in range(1 if options.quick else 3) for row in queues(300)], as_json=options.json
        )


if __name__ == "__main__":
    main()
