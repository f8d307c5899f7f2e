"""Several users on one host: who gives up root, who shares, and who must not touch what."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sites import Site
from tests.smtp import SMTPServer

grp = pytest.importorskip("grp", reason="needs users and groups")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")

WEB, CRON = 12_345, 12_346
GROUP = grp.getgrall()[-1]

# Everything is imported as root, who alone may be able to read the interpreter's folders.
START = """
import logging, os, sys
from django.core import checks, management
from django_maillog.flush import flush
from django_maillog.spool.journal import journal
from django_maillog.worker import thread
log = logging.getLogger("shop")
log.error("as root")
flush()
def be(user, *groups):
    os.setgroups(groups)
    os.setgid(user)
    os.setuid(user)
"""
CHILDREN = """
import traceback
def run(user, *groups, work):
    pid = os.fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0, user
        return
    try:
        be(user, *groups)
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)
"""


@pytest.fixture
def shared_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site whose folder, database included, every user can use, as pytest's own folders can't be."""
    # Another user can't write down what was covered.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)
    folder = Path(tempfile.mkdtemp(prefix="maillog-", dir="/tmp"))
    folder.chmod(0o777)
    database = Path(site.env["DATABASE_URL"].removeprefix("sqlite:///"))
    if database.exists():
        shutil.move(database, folder / "db.sqlite3")
        (folder / "db.sqlite3").chmod(0o666)
        site.env["DATABASE_URL"] = f"sqlite:///{folder}/db.sqlite3"
    site.spool_dir = folder / "spool"
    site.env |= {"MAILLOG_SPOOL_DIR": str(site.spool_dir), "MAILLOG_WORKER": "none", "HOME": "/nonexistent"}
    yield site
    shutil.rmtree(folder)


def test_who_gives_up_root_starts_a_segment_and_a_folder_of_the_new_user(
    shared_site: Site, smtp: SMTPServer
) -> None:
    del shared_site.env["MAILLOG_SPOOL_DIR"]
    home = shared_site.spool_dir.parent / "home"
    home.mkdir()
    os.chown(home, WEB, WEB)
    code = f"""import os
from django_maillog.spool import places
homes = {{0: {str(home.parent)!r}, {WEB}: {str(home)!r}}}
places.home_folder = lambda: homes[os.geteuid()]
{START}
log.error("left by root")
be({WEB})
log.error("as web")
from django_maillog.spool.folder import segment_paths, spool_folder
print(spool_folder(), *[path.stat().st_uid for path in segment_paths()])
print(flush().imported)
"""

    done = shared_site.run(code)

    folder = home / ".local/state/django_maillog/tests.settings"
    assert done.stdout.splitlines() == [f"{folder} {WEB}", "1"]
    assert done.stderr == ""
    assert "as web" in str(smtp.wait_for(2)[1])


def test_two_users_share_a_spool_whatever_their_umask(shared_site: Site, smtp: SMTPServer) -> None:
    shared_site.env["MAILLOG_SPOOL_GROUP"] = GROUP.gr_name
    code = f"""{START}{CHILDREN}
os.umask(0o077)
run({WEB}, {GROUP.gr_gid}, work=lambda: log.error("as web"))
run({CRON}, {GROUP.gr_gid}, work=lambda: (log.error("as cron"), print(flush().imported, flush=True)))
def work():
    log.error("as a stranger")
    print(journal.memory is not None, flush().imported)
run({CRON + 1}, work=work)
"""

    done = shared_site.run(code)

    found = shared_site.spool_dir.stat()
    assert done.stdout.split() == ["2", "True", "1"]
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (GROUP.gr_gid, 0o2770)
    assert {path.suffix for path in shared_site.spool_dir.iterdir()} == {".jsonl", ".reported"}


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o2777])
def test_in_a_folder_that_root_made_for_everybody_each_user_has_a_private_one(
    shared_site: Site, mode: int
) -> None:
    shared_site.spool_dir.mkdir()
    shared_site.spool_dir.chmod(mode)
    code = f"""{START}{CHILDREN}
def work():
    from django_maillog.spool.folder import spool_folder
    log.error("as this user")
    ids = [message.id for message in checks.run_checks(tags=["django_maillog"])]
    found = os.lstat(spool_folder())
    print(journal.memory, flush().imported, ids, found.st_uid, oct(found.st_mode & 0o777), flush=True)
run({WEB}, work=work)
run({CRON}, work=work)
"""

    done = shared_site.run(code)

    assert done.stdout.splitlines() == [f"None 1 [] {user} 0o700" for user in (WEB, CRON)]
    names = {path.name for path in shared_site.spool_dir.iterdir()}
    assert names == {f"django_maillog-{user}-tests.settings" for user in (0, WEB, CRON)}


def test_files_that_users_share_are_the_group_s(shared_site: Site) -> None:
    shared_site.env["MAILLOG_SPOOL_GROUP"] = str(GROUP.gr_gid)
    code = f"""{START}{CHILDREN}
os.umask(0o077)
run({WEB}, {GROUP.gr_gid}, work=lambda: log.error("as web"))
[path] = [path for path in os.scandir(os.environ["MAILLOG_SPOOL_DIR"]) if path.stat().st_uid == {WEB}]
print(oct(path.stat().st_mode), path.stat().st_gid)
"""

    assert shared_site.run(code).stdout.split() == ["0o100660", str(GROUP.gr_gid)]


def test_another_user_s_folder_and_segments_stay_as_they_are(shared_site: Site) -> None:
    code = f"""{START}{CHILDREN}
folder = os.environ["MAILLOG_SPOOL_DIR"]
def check():
    print([message.id for message in checks.run_checks(tags=["django_maillog"])], flush=True)
run({WEB}, work=check)
log.error("not imported yet")
theirs = journal._writer.path
journal.rotate()
os.chown(theirs, {WEB}, {WEB})
os.symlink(theirs, os.path.join(folder, "link.jsonl"))
os.chown(os.path.join(folder, "link.jsonl"), {WEB}, {WEB}, follow_symlinks=False)
print(flush().imported)
os.chown(folder, {WEB}, {WEB})
log.error("in memory")
run({CRON}, work=flush)
print(theirs.exists(), [name for name in os.listdir(folder) if name.endswith(".bad")])
"""

    done = shared_site.run(code)

    assert done.stdout.splitlines() == ["['django_maillog.W020']", "0", "True []"]


def test_check_and_commands_of_another_user_end_well_and_make_nothing(shared_site: Site) -> None:
    logged = shared_site.manage("check")
    assert not shared_site.spool_dir.exists()
    shared_site.spool_dir.mkdir(mode=0o700)
    os.chown(shared_site.spool_dir, WEB, WEB)

    refused = shared_site.manage("check")

    assert "no issues" in logged.stdout
    assert "django_maillog.W020" in refused.stderr
    assert f"belongs to user {WEB}, not to this process's user 0" in refused.stderr
