"""Three hosts with eight processes each log 200,000 records, while all that can be killed is, at random.

    python -m tests.benchmarks.fleet [--json] [--quick]

On PostgreSQL. A host is a UTS namespace (its name), a spool folder and a clock that is minutes off
(libfaketime); four services (``flush_maillogs --watch``) flush beside the processes' own threads. Processes
and services are killed with SIGKILL, now and then all of a host at once, and started again. A process writes
down each record before and after it logs it, so it is known between which numbers the total must be.

In the end nothing is left in a spool; the rows, the hourly counts and the mails tell the same number; and
each batch has one mail. Who is killed between a server's yes and the note of it repeats a mail under its
Message-ID: how often that was is told. Needs root.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg

from tests.benchmarks.common import arguments, show
from tests.databases import fresh_database
from tests.sites import LOGGING, SETUP, Site, wait_for
from tests.smtp import SMTPServer

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
# Minutes by which each host's clock is off.
CLOCKS = (-6.0, 0.0, 4.5)
PROCESSES, FLUSHERS, BUFFERS = 8, 4, 8
# Mails every few seconds, so that there are many to be cut off.
RULES = {"group_wait": 1, "group_interval": 3, "repeat_interval": 6, "burst": 1000}
KILL_SECONDS = 3.0
LOG = """
import logging, os, sys, time
who, quota, pace = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
ledger = os.open(sys.argv[4], os.O_RDWR | os.O_CREAT | os.O_APPEND)
done = os.fstat(ledger).st_size // 2
if os.fstat(ledger).st_size % 2:  # killed within a call
    os.write(ledger, b"?")
    done += 1
start = time.monotonic()
for turn, number in enumerate(range(done, quota)):
    os.write(ledger, b"(")
    logging.getLogger(f"service{number % 8}").error("order %s of %s failed", number, who,
        extra={"fingerprint": str(number // 8 % 25)})
    os.write(ledger, b")")
    time.sleep(max(0, start + turn / pace - time.monotonic()))
print("done", flush=True)
sys.stdin.read()
"""
# libfaketime, told to leave the monotonic clock alone, breaks clock_nanosleep(), which time.sleep() calls.
SLEEP = "import select, time; time.sleep = lambda seconds: select.select([], [], [], seconds) and None"
FIGURES = """
import json
from django.db import connection
from django.db.models import Count, Sum
from django_maillog.models import Batch, Group, Record, Tally
sums = [Batch.objects.aggregate(n=Sum("record_count")), *(model.objects.aggregate(n=Sum("count"))
    for model in (Group, Record, Tally))]
rows, size = 0, 0
with connection.cursor() as cursor:
    for table in connection.introspection.table_names():
        if table.startswith("django_maillog_"):
            cursor.execute(f"SELECT count(*), pg_total_relation_size('{table}') FROM {table}")
            found = cursor.fetchone()
            rows, size = rows + found[0], size + found[1]
print(json.dumps({"sums": [each["n"] for each in sums], "rows": rows, "bytes": size,
    "statuses": dict(Batch.objects.order_by().values_list("status").annotate(Count("pk")))}))
"""
SESSIONS = """
SELECT application_name, count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'fleet-%' GROUP BY 1
"""


class Fleet:
    """The processes by their name, each started again under the next number when it was killed."""

    def __init__(self, site: Site, quota: int, pace: float) -> None:
        self._site = site
        self._quota, self._pace = quota, pace
        self._started = 0
        self.loggers = [f"web{host}-{n}" for host in range(len(CLOCKS)) for n in range(PROCESSES)]
        self.flushers = [f"web{n % len(CLOCKS)}-flusher{n}" for n in range(FLUSHERS)]
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.names: dict[str, str] = {}
        self.kills = 0

    def spool(self, host: int) -> Path:
        return self._site.folder / f"spool{host}"

    def ledger(self, name: str) -> Path:
        return self._site.folder / f"{name}.ledger"

    def start(self, name: str) -> None:
        self._started += 1
        self.names[name] = f"fleet-{name}-{self._started}"
        arguments = ["-m", "django", "flush_maillogs", "--watch", "--interval=1"]
        if name in self.loggers:
            each = [name, str(self._quota), str(self._pace), str(self.ledger(name))]
            arguments = ["-c", SETUP + LOG, *each]
        self.processes[name] = self.on_host(_host(name), arguments, self.names[name])

    def on_host(self, host: int, arguments: list[str], name: str) -> subprocess.Popen[str]:
        """Start Python on a host; ``name``: what the database calls it."""
        clock = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME": f"{CLOCKS[host] * 60:+.0f}",
            "FAKETIME_NO_CACHE": "1",
        }
        clock |= dict.fromkeys(("DONT_FAKE_MONOTONIC", "FAKETIME_DONT_FAKE_MONOTONIC"), "1")
        script = ["unshare", "--uts", "sh", "-c", f'hostname web{host}; exec "$@"', "sh", "env"]
        script += [f"{key}={value}" for key, value in clock.items()]
        env = {"MAILLOG_SPOOL_DIR": str(self.spool(host)), "PGAPPNAME": name}
        return self._site.popen([*script, sys.executable, *arguments], env=env, stderr=subprocess.DEVNULL)

    def kill(self, names: list[str]) -> None:
        """Kill them and start them again; the kernel tells nobody before."""
        for name in names:
            self.processes[name].send_signal(signal.SIGKILL)
            self.kills += 1
        for name in names:
            with self.processes[name] as process:
                process.wait(60)
            self.start(name)

    def end(self, name: str) -> None:
        """Let a process that has logged everything end by itself."""
        pipe = self.processes[name].stdin
        assert pipe is not None
        pipe.close()

    def victims(self) -> list[str]:
        """One process, or one service, or all of a host."""
        kind = random.random()
        if kind < 0.1:
            host = random.randrange(len(CLOCKS))
            return [name for name in self.processes if _host(name) == host]
        return [random.choice(self.loggers if kind < 0.6 else self.flushers)]

    def written(self) -> tuple[int, int]:
        """How many logging calls have returned, and how many may have."""
        ledgers = [self.ledger(name).read_bytes() for name in self.loggers if self.ledger(name).exists()]
        returned = sum(ledger.count(b")") for ledger in ledgers)
        return returned, returned + sum(ledger.count(b"?") for ledger in ledgers)

    def is_done(self) -> bool:
        sizes = [path.stat().st_size for path in map(self.ledger, self.loggers) if path.exists()]
        return sum(sizes) == 2 * self._quota * len(self.loggers)


def _host(name: str) -> int:
    return int(name[3])


def measure(records: int, seconds: float) -> dict[str, Any]:
    """One run: so many records, logged within about this time."""
    quota = records // (len(CLOCKS) * PROCESSES) + 1
    with (
        tempfile.TemporaryDirectory() as name,
        SMTPServer() as smtp,
        fresh_database("postgresql", Path(name)) as url,
        psycopg.connect(url, autocommit=True) as database,
    ):
        site = Site(folder=Path(name), database_url=url, email_url=smtp.url)
        site.env |= {"PYTHONDEVMODE": "", "MAILLOG_PROJECT": "fleet"}
        (Path(name) / "sitecustomize.py").write_text(SLEEP)
        site.env["PYTHONPATH"] += f"{os.pathsep}{name}"
        site.configure_logging(_logging())
        site.manage("migrate", "--verbosity=0")
        fleet = Fleet(site, quota, quota / seconds)
        began_at = time.monotonic()
        try:
            most, peak = _storm(fleet, database)
            logged_after = time.monotonic() - began_at
            found = _settle(fleet, site, database)
        finally:
            site.stop()
        return _row(fleet, smtp, found) | {
            "logged in s": logged_after,
            "kills": fleet.kills,
            "connections of a process, most": max(most.values()),
            "connections, most at once": peak,
        }


def _storm(fleet: Fleet, database: Any) -> tuple[Counter[str], int]:
    """Log and kill until all is logged; the most connections that each process had, and all together."""
    for name in (*fleet.loggers, *fleet.flushers):
        fleet.start(name)
    most: Counter[str] = Counter()
    peak, kill_at = 0, time.monotonic() + 5 * KILL_SECONDS
    while not fleet.is_done():
        sessions = dict(database.execute(SESSIONS).fetchall())
        most |= Counter(sessions)
        peak = max(peak, sum(sessions.values()))
        if time.monotonic() > kill_at:
            fleet.kill(fleet.victims())
            kill_at = time.monotonic() + random.uniform(0, 2 * KILL_SECONDS)
        time.sleep(0.2)
    return most, peak


def _settle(fleet: Fleet, site: Site, database: Any) -> dict[str, Any]:
    """Wait until the idle processes hold no connection, then mail everything on each host."""
    for name in fleet.flushers:
        fleet.processes[name].send_signal(signal.SIGTERM)
        fleet.processes[name].communicate(timeout=120)
    began_at = time.monotonic()
    # After the last record each has half a minute.
    wait_for(lambda: not database.execute(SESSIONS).fetchall(), 300)
    idle_after = time.monotonic() - began_at
    for name in fleet.loggers:
        fleet.end(name)
    for name in fleet.loggers:
        fleet.processes[name].wait(120)
    for host in range(len(CLOCKS)):
        flush = fleet.on_host(host, ["-m", "django", "flush_maillogs"], "fleet-last")
        flush.communicate(timeout=300)
    left = [path.name for host in range(len(CLOCKS)) for path in fleet.spool(host).glob("*.*")]
    assert not left, left
    found: dict[str, Any] = json.loads(site.run(FIGURES, env={"MAILLOG_WORKER": "none"}).stdout)
    return found | {"idle after s": idle_after}


def _row(fleet: Fleet, smtp: SMTPServer, found: dict[str, Any]) -> dict[str, Any]:
    """What must agree does, or this raises; the figures."""
    returned, begun = fleet.written()
    mails = {mail["Message-ID"]: int(mail["X-Maillog-Count"]) for mail in smtp.messages}
    (total,) = {*found["sums"], sum(mails.values())}
    assert returned <= total <= begun, (returned, total, begun)
    assert found["statuses"] == {"sent": len(mails)}, found["statuses"]
    return {
        "records": total,
        "calls that a kill cut off": begun - returned,
        "mails": len(mails),
        "repeated under their Message-ID": len(smtp.messages) - len(mails),
        "rows": found["rows"],
        "MB in the database": found["bytes"] / 2**20,
        "idle without a connection after s": found["idle after s"],
    }


def _logging() -> dict[str, Any]:
    handlers = {f"mail{n}": {**LOGGING["handlers"]["mail"], **RULES} for n in range(BUFFERS)}
    loggers = {f"service{n}": {"handlers": [f"mail{n}"], "propagate": False} for n in range(BUFFERS)}
    return {**LOGGING, "handlers": handlers, "root": {}, "loggers": {**LOGGING["loggers"], **loggers}}


def main() -> None:
    options = arguments(__doc__)
    if LIBRARY is None or os.geteuid() != 0:
        sys.exit("It needs libfaketime (apt install faketime), and root for the hosts' names.")
    row = measure(12_000, seconds=20) if options.quick else measure(200_000, seconds=180)
    rows = [row] if options.json else [{"": name, "value": value} for name, value in row.items()]
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
