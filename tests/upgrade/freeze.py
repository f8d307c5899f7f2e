"""Freeze a database and a spool as the code of now leaves them, for tests/test_upgrade.py.

    python -m tests.upgrade.freeze 0.1.0

writes the folder tests/upgrade/0.1.0: all that a project may have in the middle of its work, by text alone. A
folder is never written again: it shows for ever what that release has left behind.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.smtp import SMTPServer

if TYPE_CHECKING:
    from tests.buffers import Buffer

FOLDER = Path(__file__).parent
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "tests.settings",
    "MAILLOG_PROJECT": "shop",
    "MAILLOG_WORKER": "none",
    "MAILLOG_RELEASE": "1.4.2",
}
# What a flush of a later version has to mail of it, by buffer, and what there is then; see ``fill``. A line
# that can't be read counts as a record that was lost.
EXPECTED = {
    "mailed": {"waiting": 2, "ready": 2, "cut": 2, "open": 35, "sent": 30, "spool": 15},
    # Among the sent: the first one, two straight from the spool, and the one that a server had accepted.
    "statuses": {"sent": 10, "failed": 1, "cancelled": 1},
    "records": 86 + 3 + 4 + 2 + 2 + 2 - 1,
}
# The project's code, from a file that nobody has.
VIEWS = """
def pay(log, number):
    try:
        {}[number]
    except LookupError:
        log.exception("Payment of order %s failed", number, extra={"order": {"number": number}})


def warn(log, number):
    log.error("Stock of article %s is low", number)
"""


def main(name: str) -> None:
    out = FOLDER / name
    out.mkdir()
    with tempfile.TemporaryDirectory() as folder, SMTPServer() as smtp:
        spool, database = Path(folder) / "spool", Path(folder) / "db.sqlite3"
        urls = {"DATABASE_URL": f"sqlite:///{database}", "EMAIL_URL": smtp.url}
        os.environ |= {**ENVIRONMENT, **urls, "MAILLOG_SPOOL_DIR": str(spool)}
        socket.gethostname = lambda: "web1"
        fill(smtp, spool, Path(folder) / "aside")
        (out / "database.sql").write_text(dump(database))
        (out / "expected.json").write_text(json.dumps(EXPECTED, indent=4) + "\n")
        shutil.copytree(spool, out / "spool")


def fill(smtp: SMTPServer, spool: Path, aside: Path) -> None:
    """Batches in each state, problems in each state, and segments imported, in part, not at all, reported."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from django_maillog import silences
    from django_maillog.models import Batch, Group
    from django_maillog.outbox.batches import cancel
    from django_maillog.outbox.claim_lock import ClaimLock
    from django_maillog.outbox.claims import claim
    from django_maillog.spool.journal import journal
    from django_maillog.worker.outage import Mailer
    from tests.buffers import Buffer

    silences.declare("", "deploy", starts_at=NOW, ends_at=NOW.replace(hour=13), note="deploy of 1.4.2")
    buffers = {name: Buffer(name, group_wait=0) for name in STATES}
    for buffer in buffers.values():
        buffer.now = NOW
    log(buffers["sent"], "pay", 3)
    assert buffers["sent"].flush().sent == 1
    for name, answer in (("failed", "550 5.1.1 no such user"), ("waiting", "451 4.3.0 try later")):
        log(buffers[name], "pay", 2)
        smtp.answer(answer)
        buffers[name].flush()
    for name in ("cancelled", "ready", "cut", "accepted"):
        log(buffers[name], "warn", 2)
        seal(buffers[name])
    assert cancel(Batch.objects.get(buffer="cancelled"), NOW)
    for name in ("cut", "accepted"):
        claims, batch = ClaimLock(), Batch.objects.get(buffer=name)
        assert claim(batch, NOW, token=claims.token)
        if name == "accepted":
            claims.note_sent(batch)
    silences.silence(Group.objects.filter(buffer="sent"), until=None, by="ada", note="known", now=NOW)
    silences.resolve(Group.objects.filter(buffer="waiting"), NOW)
    log(buffers["sent"], "pay", 30)
    log(buffers["open"], "pay", 30)
    log(buffers["open"], "warn", 5)
    buffers["open"].import_all()

    # Mailed straight from the spool, in part imported before: the segment of two buffers.
    log(buffers["spool"], "pay", 2)
    buffers["spool"].import_all()
    log(buffers["spool"], "pay", 3)
    log(buffers["open"], "warn", 1)
    assert Mailer().mail() == 2
    journal.rotate()
    spool.rename(aside)
    # Imported in part; not at all, with a line that nobody can read.
    log(buffers["spool"], "warn", 4)
    buffers["spool"].import_all()
    log(buffers["spool"], "warn", 2)
    journal.rotate()
    log(buffers["spool"], "pay", 6)
    journal.rotate()
    newest = max(spool.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
    with newest.open("a") as file:
        file.write('{"time": "never", "buffer": "spool"}\n')
    shutil.copytree(aside, spool, dirs_exist_ok=True)


STATES = ("sent", "failed", "waiting", "cancelled", "ready", "cut", "accepted", "open", "spool")


def log(buffer: Buffer, view: str, times: int) -> None:
    """Have the project's code log through a buffer's handler, at the time that is frozen."""
    project: dict[str, Any] = {"__name__": "shop.views"}
    exec(compile(VIEWS, "/srv/shop/views.py", "exec"), project)
    logger = logging.Logger("shop.views")
    logger.addHandler(buffer.handler)

    def at_that_time(record: logging.LogRecord) -> bool:
        record.created = NOW.timestamp()
        return True

    logger.addFilter(at_that_time)
    for number in range(times):
        project[view](logger, number)
    buffer.handler.close()


def seal(buffer: Buffer) -> None:
    from django_maillog.models import Batch
    from django_maillog.outbox.batches import seal

    buffer.import_all()
    assert seal(Batch.objects.get(open_for=buffer.handler.buffer), NOW)


def dump(path: Path) -> str:
    """Our tables, and that their migrations have been applied."""
    from django.db import connections

    connections.close_all()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            if not name.startswith(("django_maillog_", "django_migrations", "sqlite_")):
                database.execute(f"DROP TABLE {name}")
        database.execute("DELETE FROM django_migrations WHERE app <> 'django_maillog'")
        return "\n".join(database.iterdump()) + "\n"


if __name__ == "__main__":
    main(sys.argv[1])
