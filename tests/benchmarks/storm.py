"""A million records of 50 fingerprints from 4 processes, while a site serves from the same SQLite file.

    python -m tests.benchmarks.storm [--json] [--quick]

Each process logs as fast as it can and imports with its own worker. The site is a process that answers
requests which read and write; its latency is taken before the storm, during it, and while as many processes
log as fast as they can into files of their own, which want the same processors and no database. In the end a
flush imports what is left, and every record is accounted for.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.common import arguments, show
from tests.sites import Site
from tests.smtp import SMTPServer

PROCESSES = 4
LOG = """
import json, logging, resource, sys, time
log = logging.getLogger("shop")
log.error("first", extra={"fingerprint": "0"})
time.sleep(2)  # the worker has everything loaded
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.monotonic()
for number in range(1, int(sys.argv[1])):
    log.error("order %s failed", number, extra={"fingerprint": str(number % 50)})
seconds = time.monotonic() - start
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"seconds": seconds, "MB": grown / 1024}), flush=True)
"""
LOG_TO_A_FILE = """
import logging, sys
log = logging.getLogger("shop")
log.propagate = False
log.addHandler(logging.FileHandler(sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    number += 1
    log.error("order %s failed", number, extra={"fingerprint": str(number % 50)})
"""
SERVE = """
import json, sys, time
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
client, times = Client(), []
print("ready", flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    start = time.perf_counter()
    assert client.get("/admin/login/").status_code == 200
    session = SessionStore()
    session["visits"] = 1
    session.save()
    times.append(time.perf_counter() - start)
    time.sleep(0.02)
times.sort()
print(json.dumps({"p99": times[len(times) * 99 // 100], "max": times[-1]}), flush=True)
"""
COUNT = """
import json
from django.db.models import Sum
from django_maillog.models import Batch, Record
counts = Batch.objects.aggregate(records=Sum("record_count"))
print(json.dumps({**counts, "rows": Record.objects.count()}))
"""


def serve(site: Site, seconds: float) -> subprocess.Popen[str]:
    """A site that answers for so long; returns when it does."""
    process = site.start(SERVE, str(seconds))
    assert process.stdout is not None
    process.stdout.readline()
    return process


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=600)
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def beside_files(site: Site, folder: Path) -> dict[str, Any]:
    """What the site says of its latency while others log into files."""
    loggers = [site.start(LOG_TO_A_FILE, str(folder / f"{number}.log")) for number in range(PROCESSES)]
    for logger in loggers:
        assert logger.stdout is not None
        logger.stdout.readline()
    found = said(serve(site, 5))
    for logger in loggers:
        logger.kill()
        logger.wait()
    return found


def measure(records: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name, SMTPServer() as server:
        folder = Path(name)
        site = Site(folder=folder, database_url=f"sqlite:///{folder}/db.sqlite3", email_url=server.url)
        site.env["PYTHONDEVMODE"] = ""
        site.manage("migrate", "--verbosity=0")
        calm = said(serve(site, 5))
        files = beside_files(site, folder)
        start = time.monotonic()
        loggers = [site.start(LOG, str(records // PROCESSES)) for _each in range(PROCESSES)]
        time.sleep(2)
        web = serve(site, 15 if records > 200_000 else 4)
        spool = 0
        while any(process.poll() is None for process in loggers):
            sizes = [path.stat().st_size for path in site.spool_dir.glob("*.jsonl") if path.exists()]
            spool = max(spool, sum(sizes))
            time.sleep(0.2)
        logged = [said(process) for process in loggers]
        storm = said(web)
        site.manage("flush_maillogs", timeout=600)
        seconds = time.monotonic() - start
        counts = json.loads(site.run(COUNT).stdout)
        assert counts["records"] == records, counts
        reported = sum(int(message["X-Maillog-Count"]) for message in server.messages)
        assert reported == records, reported
        mails = len(server.messages)
        site.stop()
    return {
        "records": records,
        "mails": mails,
        "rows": counts["rows"],
        "spool peak MB": spool / 2**20,
        "memory grown MB": max(row["MB"] for row in logged),
        "logged in s": max(row["seconds"] for row in logged),
        "all counted in s": seconds,
        "site p99 ms, calm": 1000 * calm["p99"],
        "beside processes that log into files": 1000 * files["p99"],
        "in the storm": 1000 * storm["p99"],
        "of calm": storm["p99"] / calm["p99"],
        "of files": storm["p99"] / files["p99"],
        "max ms": 1000 * storm["max"],
    }


def main() -> None:
    options = arguments(__doc__)
    row = measure(40_000 if options.quick else 1_000_000)
    if options.json:
        show([row], as_json=True)
        return
    show([{"": name, "value": value} for name, value in row.items()], as_json=False)


if __name__ == "__main__":
    main()
