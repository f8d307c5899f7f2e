"""The spool folder is private, and nothing that lies in it is trusted."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from django_maillog import conf
from django_maillog.checks.settings import check_settings
from django_maillog.handlers import BufferingHandler
from django_maillog.intake.importer import import_all
from django_maillog.models import Group
from django_maillog.spool import lines, sources
from django_maillog.spool.folder import UnsafeFolder, private_folder, segment_paths, spool_folder
from django_maillog.spool.journal import journal
from django_maillog.spool.memory import MemorySegment
from django_maillog.spool.segment import BadSegment, NotOurs, SegmentFile

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings  # an older pytest-django has it under another name


pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")

GOOD = {
    "time": time.time(),
    "level": 40,
    "logger": "shop",
    "message": "good",
    "title": "good",
    "fingerprint": "ml2:1",
    "cause": "ml2:1",
    "host": "web1",
    "process": 1,
    "buffer": "maillog",
}


@pytest.fixture
def folder(spool_dir: Path) -> Iterator[Path]:
    journal.after_fork_in_child()
    yield private_folder(spool_dir)
    journal.after_fork_in_child()


def write(folder: Path, name: str, *values: object, header: object = None) -> Path:
    """A hand-made segment; bytes go in as they are."""
    path = folder / f"{name}.jsonl"
    first = {"maillog": 1, "id": name, "host": "web1", "process": 1} if header is None else header
    rows = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in (first, *values)]
    path.write_bytes(b"".join(row + b"\n" for row in rows))
    return path


def test_folder_and_files_are_for_this_user_only(spool_dir: Path) -> None:
    before = os.umask(0)
    try:
        journal.append(BufferingHandler(), b"{}\n")
    finally:
        os.umask(before)
        journal.rotate()

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (spool_dir, *spool_dir.iterdir())]
    assert modes == [0o700, 0o600]


@pytest.mark.parametrize("umask", [0, 0o077, 0o277, 0o777])
def test_the_default_folder_and_those_made_above_it_are_for_this_user_only(
    umask: int, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAILLOG_SPOOL_DIR = None
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "state"))
    monkeypatch.setattr(conf, "testing", lambda: False)
    before = os.umask(umask)
    try:
        folder = private_folder(spool_folder())
    finally:
        os.umask(before)

    made = [path for path in (folder, *folder.parents) if tmp_path in path.parents]
    assert folder.parent == tmp_path / "home" / "state" / "django_maillog"
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o700}


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(UnsafeFolder, match=r"is open to other users \(mode 0755\): chmod 700 it\."):
        private_folder(tmp_path)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", [0o755, 0o777, 0o1777, 0o2777])
@pytest.mark.parametrize("umask", [0, 0o077])
def test_in_a_named_folder_that_others_can_enter_the_spool_is_a_private_one(
    spool_dir: Path, mode: int, umask: int
) -> None:
    journal.after_fork_in_child()
    spool_dir.mkdir()
    spool_dir.chmod(mode)
    before = os.umask(umask)
    try:
        journal.append(BufferingHandler(), b"{}\n")
    finally:
        os.umask(before)

    [folder] = spool_dir.iterdir()
    assert journal.memory is None
    assert folder.name == f"django_maillog-{os.geteuid()}-tests.settings"
    assert stat.S_IMODE(folder.stat().st_mode) & 0o777 == 0o700
    assert stat.S_IMODE(spool_dir.stat().st_mode) == mode
    assert [path.parent for path in segment_paths()] == [folder]
    assert check_settings(spooling=True) == []
    journal.rotate()
    import_all()
    assert segment_paths() == []


@pytest.mark.parametrize("planted", ["link", "file", "open", "theirs"])
def test_what_lies_in_the_place_of_the_private_folder_is_refused(
    spool_dir: Path, tmp_path: Path, planted: str
) -> None:
    spool_dir.mkdir()
    spool_dir.chmod(0o777)
    place = spool_folder()
    assert place.parent == spool_dir
    (tmp_path / "real").mkdir(mode=0o700)
    if planted == "link":
        place.symlink_to(tmp_path / "real")
    elif planted == "file":
        place.touch(mode=0o700)
    else:
        place.mkdir(mode=0o700)
        place.chmod(0o750 if planted == "open" else 0o700)
    if planted == "theirs":
        if os.geteuid():
            pytest.skip("only root can give a folder to somebody else")
        os.chown(place, 12345, 12345)

    with pytest.raises(UnsafeFolder, match=r"symbolic link or a file|can't be made|is open|belongs to user"):
        private_folder(spool_folder())
    assert [message.id for message in check_settings(spooling=True)] == ["django_maillog.W020"]
    assert list((tmp_path / "real").iterdir()) == []


def test_a_folder_that_a_group_is_to_share_is_the_group_s_or_none(
    spool_dir: Path, settings: Settings
) -> None:
    settings.MAILLOG_SPOOL_GROUP = os.getegid()
    spool_dir.mkdir()
    spool_dir.chmod(0o777)

    assert spool_folder() == spool_dir


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_in_somebody_else_s_open_folder_nothing_is_made(spool_dir: Path) -> None:
    spool_dir.mkdir()
    spool_dir.chmod(0o777)
    os.chown(spool_dir, 12345, 12345)

    with pytest.raises(UnsafeFolder, match="belongs to user 12345, not to this process's user 0"):
        private_folder(spool_folder())
    assert list(spool_dir.iterdir()) == []


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UnsafeFolder, match="is a symbolic link or a file"):
        private_folder(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_somebody_else_s_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 12345, 12345)
    with pytest.raises(UnsafeFolder, match="belongs to user 12345, not to this process's user 0"):
        private_folder(tmp_path / "theirs")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"header": b"not JSON"}, id="no header"),
        pytest.param({"header": []}, id="a list"),
        pytest.param({"header": {"maillog": 1, "id": "another"}}, id="another's id"),
        pytest.param({"header": {"maillog": 1, "id": "bad", "host": "x", "process": "y"}}, id="no process"),
    ],
)
def test_a_file_that_is_no_segment_is_set_aside_with_one_warning(
    folder: Path, bad: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    write(folder, "bad", GOOD, **bad)
    write(folder, "good", GOOD)

    import_all()
    import_all()

    assert [path.name for path in folder.iterdir()] == ["bad.bad"]
    assert len([r for r in caplog.records if "set aside" in r.message]) == 1
    assert Group.objects.get().count == 1


@pytest.mark.django_db(transaction=True)
def test_bad_lines_are_set_aside_with_one_warning_and_the_others_are_imported(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hostile: list[object] = [
        b"{",
        b'"text"',
        b"[" * 100_000,
        b'{"buffer": "maillog"}',
        GOOD | {"time": "yesterday"},
        GOOD | {"time": 1e300},
        GOOD | {"level": [1]},
        GOOD | {"message": {"a": 1}},
        GOOD | {"request": "GET"},
        GOOD | {"process": float("inf")},
        b"\xff\xfe",
    ]
    write(folder, "some", GOOD, *hostile, GOOD)

    import_all()

    assert [path.name for path in folder.iterdir()] == ["some.lines.bad"]
    assert (folder / "some.lines.bad").read_bytes().count(b"\n") == len(hostile)
    assert stat.S_IMODE((folder / "some.lines.bad").stat().st_mode) == 0o600
    assert len([r for r in caplog.records if "set aside" in r.message]) == 1
    assert Group.objects.get().count == 2


@pytest.mark.django_db(transaction=True)
def test_characters_that_no_database_takes_are_replaced(folder: Path) -> None:
    write(folder, "nul", GOOD | {"message": "a\0b\ud800c", "title": "a\0b\ud800c", "extra": {"\0": ["\0"]}})

    import_all()

    assert Group.objects.get().title == "a\ufffdb\ufffdc"


@pytest.mark.django_db(transaction=True)
def test_a_line_too_long_to_be_ours_sets_its_segment_aside_and_what_came_before_is_imported(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder, "huge", GOOD, b"x" * 3_000_000, GOOD)
    write(folder, "good", GOOD)

    import_all()
    import_all()

    assert [path.name for path in folder.iterdir()] == ["huge.bad"]
    assert len([r for r in caplog.records if "set aside" in r.message]) == 1
    assert Group.objects.get().count == 2


@pytest.mark.django_db(transaction=True)
def test_another_version_s_segment_is_left_to_that_version_with_one_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder, "newer", GOOD, header={"maillog": 2, "id": "newer"})
    write(folder, "good", GOOD)

    import_all()
    import_all()

    assert [path.name for path in folder.iterdir()] == ["newer.jsonl"]
    assert len([r for r in caplog.records if "left alone" in r.message]) == 1
    assert Group.objects.get().count == 1


@pytest.mark.django_db(transaction=True)
def test_links_pipes_and_folders_among_the_segments_do_no_harm(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_text("secret")
    (folder / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "folder.jsonl").mkdir()
    write(folder, "good", GOOD)

    import_all()

    assert sorted(path.name for path in folder.iterdir()) == ["folder.bad", "link.bad", "pipe.bad"]
    assert (tmp_path / "secret.jsonl").read_text() == "secret"
    assert Group.objects.get().count == 1


def test_a_segment_that_cannot_be_opened_for_now_is_not_set_aside(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "good", GOOD)

    def refuse(*_args: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert list(sources.segments()) == []

    assert len(list(sources.segments())) == 1


def test_a_huge_number_of_lost_records_is_cut() -> None:
    line = lines.parse(json.dumps({"lost": 10**40, "buffer": "maillog"}).encode(), MemorySegment())

    assert line == lines.Line(buffer="maillog", lost=2**53)


@pytest.mark.django_db(transaction=True)
def test_a_line_with_more_than_one_value_is_set_aside(folder: Path) -> None:
    write(folder, "good", f"{json.dumps(GOOD)} {json.dumps(GOOD)}".encode())

    import_all()

    assert Group.objects.count() == 0
    assert (folder / "good.lines.bad").exists()


def test_the_folder_of_a_test_run_goes_with_the_process(settings: Settings) -> None:
    assert conf.testing()
    assert "django_maillog-tests-" in str(spool_folder())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "configuration",
    [
        {"configures": "other", "recipients": 5},
        {"configures": "other", "recipients": [5]},
        {"configures": "other", "rules": [1]},
        {"configures": "other", "rules": {"group_wait": "soon"}},
        {"configures": "other", "rules": {"no such rule": 1, "burst": 0}},
        {"configures": "other", "sender": {}},
        {"configures": 7},
        {"configures": ["other"], "using": "\ud800"},
    ],
    ids=repr,
)
def test_a_wrong_configuration_fails_alone_with_one_warning(
    folder: Path, configuration: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    known = {"configures": "known", "recipients": ["a\ud800@example.com"], "sender": "b@example.com"}
    path = write(folder, "some", configuration, known, GOOD, GOOD | {"buffer": "other"})

    for _try in range(2):
        with SegmentFile.open(path) as segment:
            found = segment.buffers()
    import_all()

    assert found == {"known": {"recipients": ["a\ufffd@example.com"], "sender": "b@example.com"}}
    assert len([r for r in caplog.records if "configuration ignored" in r.getMessage()]) == 1
    assert sum(Group.objects.values_list("count", flat=True)) == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "header",
    [
        {"maillog": 1, "id": "odd", "host": "web\ud800\0", "process": 1},
        {"maillog": 1, "id": "odd", "host": ["x" * 300], "process": 2**70},
        {"maillog": 1, "id": "odd", "host": "x", "process": float("inf")},
        {"maillog": 1, "id": "odd", "host": "x", "process": 1, "project": ["x"]},
    ],
    ids=repr,
)
def test_a_strange_header_stops_nobody_else_s_segment(folder: Path, header: dict[str, object]) -> None:
    path = write(folder, "odd", GOOD, header=header)
    with contextlib.suppress(BadSegment, NotOurs), SegmentFile.open(path) as segment:
        assert segment.host.isprintable()  # no surrogate is
        assert 0 < len(segment.host) <= 255
        assert 0 <= segment.process < 2**31
    write(folder, "x" * 200, GOOD)
    write(folder, "good", GOOD)

    import_all()

    assert Group.objects.get().count >= 1
    assert not (folder / "good.jsonl").exists()
