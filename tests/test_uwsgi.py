"""uWSGI forks its workers behind Python: what is logged before and after is mailed, and nothing hangs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.sites import LOGGING, Site, wait_for
from tests.smtp import SMTPServer

UWSGI = Path(sys.executable).with_name("uwsgi")
pytestmark = pytest.mark.skipif(not UWSGI.exists(), reason="pip install uwsgi")

APPLICATION = """
import logging
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
logging.getLogger("shop").error("while the app loads")
"""
AT_LOAD = "while the app loads"
COUNTS = """
import json
from django_maillog.models import Group
print(json.dumps(dict(Group.objects.values_list("title", "count"))))
"""


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def counts(site: Site) -> dict[str, int]:
    found: dict[str, int] = json.loads(site.run(COUNTS, env={"MAILLOG_WORKER": "none"}).stdout)
    return found


@pytest.mark.parametrize("options", [[], ["--lazy-apps"]], ids=["forked", "lazy"])
def test_what_is_logged_before_and_after_the_fork_is_mailed(
    site: Site, smtp: SMTPServer, tmp_path: Path, options: list[str]
) -> None:
    (tmp_path / "served.py").write_text(APPLICATION)
    site.env |= {"PYTHONPATH": f"{site.env['PYTHONPATH']}:{tmp_path}", "PYTHONDEVMODE": ""}
    site.configure_logging(
        {**LOGGING, "handlers": {"mail": {**LOGGING["handlers"]["mail"], "group_wait": 0}}}
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = site.popen(
        [
            *(str(UWSGI), f"--http=127.0.0.1:{port}", f"--home={sys.prefix}", "--module=served"),
            *("--master", "--processes=2", "--enable-threads", "--die-on-term", *options),
        ],
        stderr=subprocess.DEVNULL,
    )
    loads = 2 if options else 1

    def is_up() -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", port)) == 0

    wait_for(is_up)
    assert [status(port, "/division/") for _each in range(4)] == [500] * 4
    # Until each has loaded it, uWSGI doesn't let a worker end.
    wait_for(lambda: counts(site).get(AT_LOAD) == loads)
    server.terminate()
    server.communicate(timeout=30)
    site.manage("flush_maillogs")

    found = counts(site)
    assert found.pop(AT_LOAD) == loads
    assert list(found.values()) == [4]
    assert sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages) == 4 + loads
