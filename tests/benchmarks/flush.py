"""What it costs to render and send a batch, by its records; and many small batches against send_messages.

    python -m tests.benchmarks.flush [--json] [--quick]

Batches of 1,000 to 1,000,000 records in 50 groups, imported from a spool as a storm makes it, then rendered
and sent to a local SMTP server in a process of its own; time of the delivery, and how much memory it took.
1,000 small batches: mails a second, and Django's send_messages with the same 1,000 messages ready-made.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.common import arguments, databases, fill_spool, project, show, timed

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
    import django
    from django.conf import settings

    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        backend = "django.core.mail.backends.smtp.EmailBackend"
        if django.VERSION >= (6, 1):
            options = {"host": "127.0.0.1", "port": port, "timeout": 10}
            settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
        else:
            settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = backend, "127.0.0.1", port
        yield
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


if __name__ == "__main__":
    main()
