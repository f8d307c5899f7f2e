"""A project's record factory (OpenTelemetry, request ids): logging alone calls it; what it adds is extra."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.sites import LOGGING, ROOT, Site
from tests.smtp import SMTPServer

# It reads its arguments, as a factory may: a logger gives every record a name, a level and a message.
SHOP_LOGGING = """
import logging

original = logging.getLogRecordFactory()

def factory(name, level, fn, lno, msg, args, exc_info, func=None, sinfo=None, **kwargs):
    record = original(name, level, fn, lno, msg, args, exc_info, func, sinfo, **kwargs)
    record.trace_id = f"{name.lower()}-{level + 1}-{len(msg)}"
    return record

logging.setLogRecordFactory(factory)

from django_maillog.handlers import SMTPHandler

class Handler(SMTPHandler):
    def getSubject(self, record):
        return f"{record.levelname} in {record.name}: {record.getMessage()}"
"""

CODE = """
import logging, django
django.setup()
logging.getLogger("shop").error("100%% of %s failed", "payments")
logging.getLogger("shop").error("100%% of %s failed", "refunds")
"""


def test_a_factory_that_reads_its_arguments_stops_nothing_and_its_fields_are_shown(
    site: Site, smtp: SMTPServer, tmp_path: Path
) -> None:
    (tmp_path / "shop_logging.py").write_text(SHOP_LOGGING)
    buffering = {**LOGGING["handlers"]["mail"], "target": "shop"}
    site.configure_logging(
        {**LOGGING, "handlers": {"shop": {"class": "shop_logging.Handler"}, "mail": buffering}}
    )

    process = site.popen(
        [sys.executable, "-c", CODE], env={"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    )

    assert process.wait(60) == 0
    (mail,) = smtp.wait_for(1)
    assert mail["Subject"] == "[Django] ERROR in shop: 100% of payments failed"
    assert "shop-41-18" in mail.get_body(["plain"]).get_content()  # type: ignore[union-attr]
