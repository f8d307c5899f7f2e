"""Where the spool is, how it is named, and who is told of what waits elsewhere."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from django_maillog import conf
from django_maillog.checks.settings import check_settings
from django_maillog.handlers import BufferingHandler
from django_maillog.spool import project, unattended
from django_maillog.spool.folder import private_folder, spool_folder
from django_maillog.spool.journal import journal
from django_maillog.spool.places import default_folder, folder_name
from django_maillog.spool.sources import segments
from django_maillog.spool.writer import Writer, owner_now

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings  # an older pytest-django has it under another name

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX homes")


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Path]:
    """No test run, no folder in the settings, and a home that the system knows, which isn't HOME."""
    del settings.MAILLOG_SPOOL_DIR
    monkeypatch.setattr(conf, "testing", lambda: False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "cron"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("django_maillog.spool.places.home_folder", lambda: str(tmp_path / "home"))
    for name in ("home", "cron", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    journal.after_fork_in_child()
    yield tmp_path
    journal.after_fork_in_child()


def leave(folder: Path, *, living: bool = False) -> Writer:
    """A segment that a process left in a folder."""
    writer = Writer.create(private_folder(folder), owner_now())
    if not living:
        writer.close()
    return writer


def test_the_folder_is_in_the_home_that_the_system_knows_whatever_the_environment_says(homes: Path) -> None:
    assert spool_folder() == homes / "home" / ".local" / "state" / "django_maillog" / "tests.settings"


def test_a_state_folder_of_the_environment_goes_first(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")

    assert default_folder() == Path("/state/django_maillog/tests.settings")


def test_the_shared_temporary_folder_holds_the_spool_itself_and_no_folder_in_between(
    homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (homes / "home").rmdir()

    assert default_folder() == homes / "tmp" / f"django_maillog-{os.geteuid()}-tests.settings"


def test_another_database_is_the_same_folder_and_another_settings_module_another(
    homes: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = spool_folder()
    monkeypatch.setitem(settings.DATABASES["default"], "HOST", "standby.example.com")
    same = spool_folder()
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.other")

    assert (one, spool_folder().name) == (same, "tests.other")


@pytest.mark.parametrize("name", ["Shop (staging)", "../etc", ".", "a/b", "läden", "x" * 200])
def test_any_name_is_one_safe_file_name_of_its_own(homes: Path, settings: Settings, name: str) -> None:
    settings.MAILLOG_PROJECT = name
    found = folder_name()
    settings.MAILLOG_PROJECT = re.sub(r"[^a-zA-Z]", "-", name[:100])

    assert re.fullmatch(r"[\w~-][\w.~-]{0,110}", found, re.ASCII)
    assert found != folder_name()


def test_what_another_project_wrote_is_left_alone_with_one_warning_and_named(
    homes: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MAILLOG_SPOOL_DIR = str(homes / "spool")
    with monkeypatch.context() as patch:
        patch.setenv("DJANGO_SETTINGS_MODULE", "blog.settings")
        theirs = leave(homes / "spool")
    mine = leave(homes / "spool")

    found = [source.id for _try in range(2) for source in segments()]

    assert found == [mine.id] * 2
    assert theirs.path.exists()
    assert len([record for record in caplog.records if "left alone" in record.getMessage()]) == 1
    sentence = f"1 segments in {homes / 'spool'} are left alone: another project wrote it: blog.settings."
    assert list(unattended.problems()) == [sentence]
    assert [message.id for message in check_settings(spooling=True)] == ["django_maillog.W022"]


@pytest.mark.parametrize(
    ("moved", "changed", "expected"), [(True, False, 1), (False, True, 1), (True, True, 0)]
)
def test_a_project_of_the_same_name_is_another_if_its_place_and_its_database_are_others(
    homes: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    moved: bool,
    changed: bool,
    expected: int,
) -> None:
    settings.MAILLOG_SPOOL_DIR = str(homes / "spool")
    leave(homes / "spool")
    if moved:
        monkeypatch.setattr("tests.settings.__file__", "/srv/releases/2/tests/settings.py")
    if changed:
        monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", {"service": "other"})

    assert len(list(segments())) == expected
    settings.MAILLOG_PROJECT = "tests.settings"
    assert project.current().wrote({"project": "tests.settings", "place": "1", "database": "2"})


@pytest.mark.parametrize(
    "elsewhere",
    [
        "cron/.local/state/django_maillog/tests.settings",
        "home/.local/state/django_maillog/tests-0123456789ab",
        "cron/.local/state/django_maillog/tests-0123456789ab",
        "tmp/django_maillog-{user}-tests.settings",
        "tmp/django_maillog-{user}-tests-0123456789ab",
    ],
)
@pytest.mark.django_db
def test_what_waits_where_no_import_looks_is_named_by_check_and_flush(homes: Path, elsewhere: str) -> None:
    folder = homes / elsewhere.format(user=os.geteuid())
    leave(folder)

    [message] = check_settings(spooling=True)
    output = io.StringIO()
    call_command("flush_maillogs", stdout=output, stderr=output)

    assert message.id == "django_maillog.W021"
    assert message.msg == f"1 segments of this project wait in {folder}, where nobody imports them."
    assert message.hint is not None
    assert message.hint.endswith(f"&& mv {folder}/* {spool_folder()}/")
    assert message.msg in output.getvalue()


def test_what_waits_within_a_named_folder_that_was_open_to_others_is_named(
    homes: Path, settings: Settings
) -> None:
    settings.MAILLOG_SPOOL_DIR = str(homes / "tmp")
    (homes / "tmp").chmod(0o1777)
    folder = spool_folder()
    leave(folder)
    before = unattended.unattended_folders(folder)
    (homes / "tmp").chmod(0o700)

    assert before == {}
    assert spool_folder() == homes / "tmp"
    assert folder.parent == homes / "tmp"
    assert unattended.unattended_folders(spool_folder()) == {folder: 1}


def test_a_folder_that_a_living_process_looks_after_is_not_named_unless_processes_import_nothing(
    homes: Path, settings: Settings
) -> None:
    folder = homes / "cron" / ".local" / "state" / "django_maillog" / "tests.settings"
    leave(folder)
    owner = leave(folder, living=True)

    assert unattended.unattended_folders(spool_folder()) == {}
    settings.MAILLOG_WORKER = "none"
    assert unattended.unattended_folders(spool_folder()) == {folder: 2}
    owner.close()


def test_a_wrong_name_keeps_records_in_memory(homes: Path, settings: Settings) -> None:
    settings.MAILLOG_PROJECT = 7

    journal.append(BufferingHandler(), b"{}\n")

    assert [source.read(0)[0] for source in segments()] == [[b"{}"]]
    assert [message.id for message in check_settings(spooling=True)] == ["django_maillog.E007"]


@pytest.mark.django_db
def test_where_there_is_no_place_for_a_folder_records_are_kept_in_memory(
    homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    (homes / "home").rmdir()
    monkeypatch.setattr("tempfile.gettempdir", nowhere)

    journal.append(BufferingHandler(), b"{}\n")

    assert [source.read(0)[0] for source in segments()] == [[b"{}"]]
    with pytest.raises(CommandError, match="there is no place for it: No usable temporary directory"):
        call_command("flush_maillogs", "--dry-run")
