"""Two projects on one host, in processes of their own: nobody reads the other's errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sites import LOGGING, Site
from tests.smtp import SMTPServer

LOG = "import logging, os, sys; logging.getLogger('shop').error(sys.argv[1]); os._exit(0)"


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX folders")
def test_what_two_projects_log_into_one_folder_each_mails_for_itself(
    site: Site, smtp: SMTPServer, tmp_path: Path
) -> None:
    (tmp_path / "blog_settings.py").write_text("from tests.settings import *\n")
    blog = {
        "DJANGO_SETTINGS_MODULE": "blog_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), site.env["PYTHONPATH"]]),
    }
    site.run(LOG, "of the shop")
    site.run(LOG, "of the blog", env=blog)

    done = site.manage("flush_maillogs")

    assert ["of the shop" in mail["Subject"] for mail in smtp.wait_for(1)] == [True]
    assert "1 segments in" in done.stderr + done.stdout
    assert "another project wrote it: blog_settings." in done.stderr + done.stdout
    site.manage("flush_maillogs", env=blog)
    assert "of the blog" in smtp.wait_for(2)[1]["Subject"]


def test_an_outbox_makes_no_test_of_a_production_process(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(LOGGING)

    site.run(
        "from django.core import mail; from django.core.mail.backends import locmem; locmem.EmailBackend()\n"
        "assert mail.outbox == []\n"
        "import logging; logging.getLogger('shop').error('real')"
    )

    assert "real" in smtp.wait_for(1)[0]["Subject"]
