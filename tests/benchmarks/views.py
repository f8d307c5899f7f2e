"""What a site pays whose view always fails: requests a second, and the slowest in a hundred.

    python -m tests.benchmarks.views [--json] [--quick]

gunicorn with one gthread worker serves a view that raises; four connections ask for it without a pause. The
handlers take turns: a FileHandler, ours, and AdminEmailHandler, which mails from within the request.
"""

from __future__ import annotations

import http.client
import logging
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.common import arguments, show
from tests.benchmarks.flush import mail_server_url
from tests.sites import LOGGING, Site

CONNECTIONS = 4
HANDLERS: dict[str, dict[str, Any]] = {
    "FileHandler": {"class": "logging.FileHandler"},
    "BufferingHandler": {"class": "django_maillog.handlers.BufferingHandler"},
    "AdminEmailHandler": {"class": "django.utils.log.AdminEmailHandler"},
}


def serve(handler: str, seconds: float) -> dict[str, Any]:
    """One server with one handler under load for so long."""
    with tempfile.TemporaryDirectory() as name, mail_server_url() as url:
        site = Site(folder=Path(name), database_url=f"sqlite:///{name}/db.sqlite3", email_url=url)
        site.env |= {"PYTHONDEVMODE": "", "HOME": name}
        config = {"level": "ERROR", **HANDLERS[handler]}
        if handler == "FileHandler":
            config["filename"] = f"{name}/errors.log"
        site.configure_logging({**LOGGING, "handlers": {"mail": config}})
        site.manage("migrate", "--verbosity=0")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "--workers=1", "--worker-class=gthread", "--threads=4"]
        command += [f"--bind=127.0.0.1:{port}", "--log-level=critical", "--keep-alive=30"]
        site.popen([*command, "django.core.wsgi:get_wsgi_application()"])
        try:
            wait_for(port)
            load(port, 1)
            times = load(port, seconds)
        finally:
            site.stop()
    cuts = statistics.quantiles(times, n=100)
    return {
        "handler": handler,
        "requests/s": len(times) / seconds,
        "p50 ms": 1000 * cuts[49],
        "p99 ms": 1000 * cuts[98],
    }


def wait_for(port: int) -> None:
    """Until the server answers."""
    give_up_at = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)


def load(port: int, seconds: float) -> list[float]:
    """How long each request took that CONNECTIONS clients made in that time."""
    times: list[float] = []
    until = time.monotonic() + seconds

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while (start := time.monotonic()) < until:
            connection.request("GET", "/division/", headers={"Host": "example.com"})
            response = connection.getresponse()
            response.read()
            assert response.status == 500
            times.append(time.monotonic() - start)
        connection.close()

    threads = [threading.Thread(target=ask) for _each in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def main() -> None:
    options = arguments(__doc__)
    logging.raiseExceptions = False
    rounds, seconds = (1, 5) if options.quick else (3, 15)
    rows = [serve(handler, seconds) for _round in range(rounds) for handler in HANDLERS]
    for row in rows:
        peers = [peer for peer in rows if peer["handler"] == "FileHandler"]
        peer = peers[rows.index(row) // len(HANDLERS)]
        row["requests ratio"] = row["requests/s"] / peer["requests/s"]
        row["p99 ratio"] = row["p99 ms"] / peer["p99 ms"]
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
