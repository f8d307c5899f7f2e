"""What the app costs a process that logs nothing: django.setup() with it and without, in fresh processes.

    python -m tests.benchmarks.idle [--json] [--quick]

Also: connections opened, threads started and files written by then; and what a worker holds and uses that has
had nothing to do for a minute (not with --quick).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.common import arguments, show
from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

SETUP = """
import json, os, sys, threading, time
from django.conf import settings
settings.INSTALLED_APPS  # read now: not what is measured
apps = [name for name in settings.INSTALLED_APPS if name != "django_maillog" or sys.argv[1] == "with"]
settings.INSTALLED_APPS = apps
import django
start = time.perf_counter()
django.setup()
seconds = time.perf_counter() - start
from django.db import connections
opened = [c for c in connections.all(initialized_only=True) if c.connection is not None]
print(json.dumps({"ms": seconds * 1000, "connections": len(opened), "threads": threading.active_count() - 1,
    "files": os.path.exists(os.environ["MAILLOG_SPOOL_DIR"])}))
os._exit(0)
"""


WORKER = """
import json, logging, os, sys, time
logging.getLogger("shop").error("one")
time.sleep(float(sys.argv[1]))
cpu = time.process_time()
time.sleep(30)
cpu = time.process_time() - cpu
database = os.stat(os.environ["DATABASE_URL"].removeprefix("sqlite:///"))
def is_open(fd):
    try:
        return os.path.samestat(os.fstat(int(fd)), database)
    except OSError:
        return False
held = sum(map(is_open, os.listdir("/dev/fd")))
print(json.dumps({"CPU ms in 30 s": cpu * 1000, "connections": held}), flush=True)
"""
MAILED_AFTER, IDLE = 32, 63  # seconds


def setup(how: str, folder: Path) -> dict[str, Any]:
    """One process."""
    config: dict[str, Any] = LOGGING if how == "with" else {"version": 1, "disable_existing_loggers": False}
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "MAILLOG_SPOOL_DIR": str(folder / "spool"),
        "MAILLOG_TEST_LOGGING": json.dumps(config),
        "PYTHONDONTWRITEBYTECODE": "",  # an installed package is compiled
    }
    done = subprocess.run(
        [sys.executable, "-c", SETUP, how], env=env, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def worker() -> dict[str, Any]:
    """A process that logged once; its mail is out after half a minute."""
    with tempfile.TemporaryDirectory() as name, SMTPServer() as server:
        folder = Path(name)
        site = Site(folder=folder, database_url=f"sqlite:///{folder}/db.sqlite3", email_url=server.url)
        site.env["PYTHONDEVMODE"] = ""
        site.manage("migrate", "--verbosity=0")
        found: dict[str, Any] = json.loads(site.run(WORKER, str(MAILED_AFTER + IDLE), timeout=200).stdout)
        assert len(server.messages) == 1
        return {"a worker": f"idle for {IDLE} s"} | found


def main() -> None:
    options = arguments(__doc__)
    found: dict[str, list[dict[str, Any]]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as folder:
        setup("with", Path(folder))  # compiles what isn't yet
        for _round in range(5 if options.quick else 25):
            for how, results in found.items():
                results.append(setup(how, Path(folder)))
    rows = [
        {
            "django.setup()": how,
            "median ms": statistics.median(result["ms"] for result in results),
            "best ms": min(result["ms"] for result in results),
            "connections": max(result["connections"] for result in results),
            "threads": max(result["threads"] for result in results),
            "files": any(result["files"] for result in results),
        }
        for how, results in found.items()
    ]
    show(rows, as_json=options.json)
    if not options.quick:
        print()
        show([worker()], as_json=options.json)
    if not options.json:
        print(f"\nmore: {rows[1]['median ms'] - rows[0]['median ms']:.1f} ms (median)")


if __name__ == "__main__":
    main()
