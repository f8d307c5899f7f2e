"""A million records of 50 fingerprints from 4 processes, while a site serves from the same SQLite file.

    python -m tests.benchmarks.storm [--json] [--quick]

Each process logs as fast as it can and imports with its own worker, and afterwards at two paces, the slower
of which leaves the site a processor of two. The site is a process that answers requests which read and write;
its latency is taken before the storm, during each, and while as many processes log at the same pace into
files of their own, which want the same processors and no database. In the end a flush imports what is left,
and every record is accounted for.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.common import arguments, show, timed
from tests.sites import Site
from tests.smtp import SMTPServer

PROCESSES = 4
PACES = (1_250, 5_000)  # records a second of each process
LOG = """
import json, logging, resource, sys, time
count, pace, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
log = logging.getLogger("shop")
if path:
    log.propagate = False
    log.addHandler(logging.FileHandler(path))
log.error("first", extra={"fingerprint": "0"})
time.sleep(2)  # the worker has everything loaded, and the site is ready
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.monotonic()
for number in range(1, count):
    log.error("order %s failed", number, extra={"fingerprint": str(number % 50)})
    if pace and number % 10 == 0:
        time.sleep(max(0, start + number / pace - time.monotonic()))
seconds = time.monotonic() - start
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"seconds": seconds, "MB": grown / 1024}), flush=True)
"""
SERVE = """
import json, sys, time
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
client, times = Client(), []
client.get("/admin/login/")
time.sleep(2)  # as those that log
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
print(json.dumps({"p99": times[len(times) * 99 // 100], "requests": len(times)}), flush=True)
"""
COUNT = """
import json
from django.db.models import Sum
from django_maillog.models import Batch, Record
counts = Batch.objects.aggregate(records=Sum("record_count"))
print(json.dumps({**counts, "rows": Record.objects.count()}))
"""


class Storm:
    """A site, and processes that log beside it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.spool_peak = 0
        self.lasted = 0.0  # seconds until the last processes that logged had ended, their imports included

    def calm(self, seconds: float) -> dict[str, Any]:
        """What the site says of its latency."""
        return _said(self._site.start(SERVE, str(seconds)))

    def rage(
        self, records: int, seconds: float, *, pace: int = 0
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The same, and what the processes say, while they log so many records in all."""
        arguments = str(records // PROCESSES), str(pace), ""
        loggers = [self._site.start(LOG, *arguments) for _each in range(PROCESSES)]
        web = self._site.start(SERVE, str(seconds))
        start = time.monotonic()
        while any(process.poll() is None for process in loggers):
            sizes = [path.stat().st_size for path in self._site.spool_dir.glob("*.jsonl") if path.exists()]
            self.spool_peak = max(self.spool_peak, sum(sizes))
            time.sleep(0.2)
        self.lasted = time.monotonic() - start
        return _said(web), [_said(process) for process in loggers]

    def beside_files(self, seconds: float, *, pace: int = 0) -> dict[str, Any]:
        """The same while as many processes log into files of their own, longer than the site serves."""
        paths = [self._site.folder / f"{number}.log" for number in range(PROCESSES)]
        loggers = [self._site.start(LOG, str(10**9), str(pace), str(path)) for path in paths]
        found = self.calm(seconds)
        for logger, path in zip(loggers, paths, strict=True):
            logger.kill()
            logger.wait()
            path.unlink()
        return found


def _said(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=600)
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def measure(records: int, *, seconds: float) -> dict[str, Any]:
    """Site latency is taken for so many seconds each time, at full speed for a third."""
    with tempfile.TemporaryDirectory() as name, SMTPServer() as server:
        folder = Path(name)
        site = Site(folder=folder, database_url=f"sqlite:///{folder}/db.sqlite3", email_url=server.url)
        site.env["PYTHONDEVMODE"] = ""
        site.manage("migrate", "--verbosity=0")
        storm = Storm(site)
        calm = storm.calm(seconds)
        files = storm.beside_files(seconds / 3)
        raging, logged = storm.rage(records, seconds / 3)
        counted = storm.lasted + timed(lambda: site.manage("flush_maillogs", timeout=600))
        mails = len(server.messages)
        rows = json.loads(site.run(COUNT).stdout)["rows"]
        paced: dict[str, Any] = {}
        for pace in PACES:
            together = f"{PROCESSES * pace:,} records/s"
            beside = storm.beside_files(seconds, pace=pace)
            found, _logged = storm.rage(int(PROCESSES * pace * seconds), seconds, pace=pace)
            paced[f"beside files, {together}"] = 1000 * beside["p99"]
            paced[f"in a storm of {together}"] = 1000 * found["p99"]
            paced[f"storm / calm, {together}"] = found["p99"] / calm["p99"]
            site.manage("flush_maillogs", timeout=600)
        emitted = records + int(PROCESSES * sum(PACES) * seconds)
        counts = json.loads(site.run(COUNT).stdout)
        assert counts["records"] == emitted, counts
        reported = sum(int(message["X-Maillog-Count"]) for message in server.messages)
        assert reported == emitted, reported
        site.stop()
    return {
        "records": records,
        "mails": mails,
        "rows": rows,
        "spool peak MB": storm.spool_peak / 2**20,
        "memory grown MB": max(row["MB"] for row in logged),
        "logged in s": max(row["seconds"] for row in logged),
        "all counted in s": counted,
        "site p99 ms, calm": 1000 * calm["p99"],
        "beside four that log into files": 1000 * files["p99"],
        "in the storm": 1000 * raging["p99"],
        "storm / calm": raging["p99"] / calm["p99"],
        "storm / files": raging["p99"] / files["p99"],
        **paced,
    }


def main() -> None:
    options = arguments(__doc__)
    row = measure(40_000, seconds=4) if options.quick else measure(1_000_000, seconds=30)
    if options.json:
        show([row], as_json=True)
        return
    show([{"": name, "value": value} for name, value in row.items()], as_json=False)


if __name__ == "__main__":
    main()
