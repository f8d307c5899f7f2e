"""The spool alone: append, rotate, limits, descriptors and folders that are taken away."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model
from django.utils.functional import lazystr

from django_maillog import conf
from django_maillog.handlers import BufferingHandler, SMTPHandler
from django_maillog.spool import journal as journal_module
from django_maillog.spool import mailed, memory, segment, sources, writer
from django_maillog.spool.folder import private_folder
from django_maillog.spool.journal import Journal, journal
from django_maillog.spool.mailed import Mailed
from django_maillog.spool.memory import MemorySegment
from django_maillog.spool.segment import SegmentFile
from django_maillog.spool.sources import Source

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings  # an older pytest-django has it under another name


@pytest.fixture
def handler(spool_dir: Path) -> Iterator[BufferingHandler]:
    """A handler with the process's spool to itself."""
    journal.after_fork_in_child()
    yield BufferingHandler()
    journal.after_fork_in_child()


def put(handler: BufferingHandler, *texts: str) -> None:
    for text in texts:
        journal.append(handler, json.dumps({"text": text}).encode() + b"\n")


def texts(source: Source) -> list[str]:
    lines, _end = source.read(0)
    return [value["text"] for value in map(json.loads, lines) if "text" in value]


def current() -> writer.Writer:
    assert journal._writer is not None
    return journal._writer


def everything() -> list[str]:
    return [text for source in sources.segments() for text in texts(source)]


def test_a_segment_starts_with_its_header_and_its_owner_s_configuration(
    handler: BufferingHandler, spool_dir: Path
) -> None:
    put(handler, "one", "two")

    [path] = spool_dir.iterdir()
    header, configuration, *lines = map(json.loads, path.read_text().splitlines())
    assert header["maillog"] == 1
    assert header["id"] == path.stem
    assert header["process"] == os.getpid()
    assert configuration["configures"] == "maillog"
    assert configuration["recipients"] == ["ada@example.com", "alan@example.com"]
    assert [line["text"] for line in lines] == ["one", "two"]


def test_each_buffer_in_a_segment_is_described_in_it(handler: BufferingHandler, spool_dir: Path) -> None:
    other = BufferingHandler()
    other.name = "other"
    put(handler, "one")
    put(other, "two")
    put(handler, "three")

    [path] = spool_dir.iterdir()
    with SegmentFile.open(path) as segment:
        assert segment.buffers().keys() == {"maillog", "other"}


def test_a_test_environment_gets_a_segment_of_its_own_at_its_first_record(
    handler: BufferingHandler, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conf, "testing", lambda: False)
    put(handler, "one")
    monkeypatch.setattr(conf, "testing", lambda: True)
    put(handler, "two", "three")

    assert sorted(map(texts, sources.segments())) == [["one"], ["two", "three"]]


def test_only_complete_lines_are_read(handler: BufferingHandler, spool_dir: Path) -> None:
    put(handler, "one", "two")
    [path] = spool_dir.iterdir()
    with path.open("ab") as file:
        file.write(b'{"text": "tor')

    with SegmentFile.open(path) as segment:
        assert texts(segment) == ["one", "two"]


def test_a_large_segment_is_followed_by_another(
    handler: BufferingHandler, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1000)

    put(handler, *["x" * 100] * 30)

    assert len(list(spool_dir.glob("*.jsonl"))) > 3
    assert len(everything()) == 30


def test_an_owned_segment_stays_and_one_given_up_goes_once_it_is_imported(
    handler: BufferingHandler, spool_dir: Path
) -> None:
    put(handler, "one")
    [path] = spool_dir.iterdir()
    with SegmentFile.open(path) as segment:
        assert not segment.is_orphan()
        assert not segment.remove_if_done(segment.size)

    journal.rotate()

    with SegmentFile.open(path) as segment:
        assert segment.is_orphan()
        assert not segment.remove_if_done(0)
        assert path.exists()
        assert segment.remove_if_done(segment.size)
    assert not path.exists()


def test_a_full_spool_counts_and_says_so_when_there_is_room(
    handler: BufferingHandler, settings: Settings
) -> None:
    settings.MAILLOG_SPOOL_MAX_BYTES = 1500

    put(handler, *["x" * 100] * 30)
    kept = len(everything())
    journal.write_lost()

    assert 0 < kept < 30
    [line] = [line for s in sources.segments() for line in s.read(0)[0] if b'"lost"' in line]
    assert json.loads(line)["lost"] == 30 - kept
    assert journal.lost == {}


def test_what_other_processes_hold_counts_towards_the_limit(
    handler: BufferingHandler, spool_dir: Path, settings: Settings
) -> None:
    settings.MAILLOG_SPOOL_MAX_BYTES = 5000
    private_folder(spool_dir)
    (spool_dir / "other.jsonl").write_bytes(b"x" * 5000)

    put(handler, "one")

    assert journal.lost == {"maillog": 1}


def test_a_wrong_limit_is_no_reason_to_lose_a_record(handler: BufferingHandler, settings: Settings) -> None:
    settings.MAILLOG_SPOOL_MAX_BYTES = "much"

    put(handler, "one")

    assert everything() == ["one"]


def test_a_deleted_folder_is_made_again(
    handler: BufferingHandler, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "VERIFIED_SECONDS", 0)
    put(handler, "one")
    shutil.rmtree(spool_dir)

    put(handler, "two")

    assert everything() == ["two"]


@pytest.mark.parametrize("seconds", [0, 60], ids=["by its identity", "by its mark"])
def test_a_descriptor_that_was_closed_and_given_to_another_file_is_not_written_to(
    handler: BufferingHandler, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "VERIFIED_SECONDS", seconds)
    put(handler, "one")
    fd = current()._fd
    with (tmp_path / "precious").open("wb") as precious:
        os.dup2(precious.fileno(), fd)  # what a daemon does that closes all and opens its own

        put(handler, "two")
        journal.rotate()

        assert os.fstat(fd).st_size == 0
        os.close(fd)
    assert sorted(everything()) == ["one", "two"]


def test_a_write_that_fails_is_tried_in_another_segment(
    handler: BufferingHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(handler, "one")
    real, failures = os.write, iter([OSError(errno.ESTALE, "stale")])

    def write(fd: int, data: bytes) -> int:
        for failure in failures:
            raise failure
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    put(handler, "two")

    assert sorted(everything()) == ["one", "two"]


@pytest.mark.skipif(os.name == "nt", reason="needs a limit of the size of files")
def test_a_line_that_the_disk_takes_in_part_is_taken_back(handler: BufferingHandler) -> None:
    import resource

    put(handler, "one")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (current().size + 5, before[1]))
    try:
        put(handler, "two")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    put(handler, "three")

    assert everything() == ["one", "three"]
    assert journal.lost == {"maillog": 1}


def test_a_line_beyond_all_bounds_is_only_counted(handler: BufferingHandler) -> None:
    put(handler, "x" * (segment.MAX_LINE_BYTES + 1))

    assert everything() == []
    assert journal.lost == {"maillog": 1}


def test_memory_takes_over_with_one_warning_until_the_folder_can_be_used(
    handler: BufferingHandler,
    spool_dir: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spool_dir.write_text("in the way")
    put(handler, "one", "two")
    monkeypatch.setattr(journal_module, "LOOK_SECONDS", 0)
    put(handler, "three")
    spool_dir.unlink()

    put(handler, "four")

    assert everything() == ["one", "two", "three", "four"]
    assert [r.message for r in caplog.records if "in memory" in r.message] == [caplog.records[0].message]


def test_memory_is_bounded_and_freed_by_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMORY_BYTES", 30)
    held = MemorySegment()
    held.append(b"0123456789\n")
    held.append(b"0123456789\n")
    with pytest.raises(OSError, match="no memory"):
        held.append(b"0123456789\n")

    held.remove_if_done(11)
    held.append(b"abc\n")

    assert held.read(11) == ([b"0123456789", b"abc"], 26)
    assert held.read(0) == held.read(11)


def test_a_wrong_target_does_not_cost_the_record(handler: BufferingHandler) -> None:
    handler.target = "no such handler"

    put(handler, "one")

    assert everything() == ["one"]


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_mail_and_an_import_of_one_segment_exclude_each_other(
    handler: BufferingHandler, spool_dir: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    monkeypatch.setattr(mailed, "COMMIT_WAIT_SECONDS", 0.05)
    if in_memory:
        private_folder(spool_dir.parent)
        spool_dir.write_text("")
    put(handler, "one")
    [source] = sources.everything()
    [other] = [source] if in_memory else sources.everything()
    fact: dict[str, Any] = {"from": 0, "to": 9, "time": 1.0, "mails": {"maillog": {"message_id": "<1@x>"}}}

    with source.mailing(), pytest.raises(Mailed), other.committing([]):
        pass
    with source.committing([]), pytest.raises(BlockingIOError), other.mailing():
        pass
    with source.mailing():
        source.add_mailed_range(fact)
    with pytest.raises(Mailed), other.committing([]):
        pass

    assert other.mailed_ranges() == [fact]
    with other.committing([fact]):
        pass
    source.close()
    other.close()


def test_a_note_of_a_mail_that_a_process_left_torn_is_skipped(
    handler: BufferingHandler, spool_dir: Path
) -> None:
    put(handler, "one")
    fact = {"from": 0, "to": 9, "time": 1.0, "mails": {}}
    [path] = spool_dir.iterdir()
    path.with_suffix(".reported").write_bytes(b'{"from": 0, "to": 5, "ti')
    with SegmentFile.open(path) as segment:
        segment.add_mailed_range(fact)

        assert segment.mailed_ranges() == [fact]


def test_a_note_of_a_mail_that_the_disk_does_not_take_holds_in_this_process(
    handler: BufferingHandler, spool_dir: Path
) -> None:
    put(handler, "one")
    fact = {"from": 0, "to": 9, "time": 1.0, "mails": {}}
    [path] = spool_dir.iterdir()
    path.with_suffix(".reported").mkdir()
    with SegmentFile.open(path) as segment:
        with segment.mailing():
            segment.add_mailed_range(fact)

        assert segment.mailed_ranges() == [fact]


def test_what_a_dead_process_left_half_made_is_swept_out(handler: BufferingHandler, spool_dir: Path) -> None:
    private_folder(spool_dir)
    rubbish = [spool_dir / ".dead.tmp", spool_dir / "dead.reported"]
    for path in rubbish:
        path.touch()
        os.utime(path, (0, 0))
    fresh = spool_dir / ".fresh.tmp"
    fresh.touch()

    put(handler, "one")

    assert everything() == ["one"]
    assert [path.exists() for path in [*rubbish, fresh]] == [False, False, True]


def test_segments_of_living_processes_are_left_to_them_unless_all_are_asked_for(
    handler: BufferingHandler, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(handler, "mine")
    monkeypatch.setattr(sources, "journal", Journal())  # as another process sees it

    assert [source.id for source in sources.segments(others=False)] == []
    assert len(list(sources.segments())) == 1
    journal.rotate()
    assert len(list(sources.segments(others=False))) == 1
    assert {path.suffix for path in sources.orphans()} == {".jsonl"}


def test_a_segment_without_an_owner_is_left_to_the_reader_that_came_first(
    handler: BufferingHandler, spool_dir: Path
) -> None:
    put(handler, "one")
    journal.rotate()
    journal.imported.clear()  # as another process sees it
    readers = sources.segments(others=False)
    first = next(readers)

    assert [source.id for source in sources.segments(others=False)] == []
    assert [source.id for source in sources.segments()] == [first.id]
    assert sources.orphans() == set()
    readers.close()
    assert [source.id for source in sources.segments(others=False)] == [first.id]


def test_a_segment_of_this_process_is_imported_whoever_holds_its_lock(
    handler: BufferingHandler, spool_dir: Path
) -> None:
    put(handler, "one")
    [path] = spool_dir.glob("*.jsonl")
    journal.rotate()
    with SegmentFile.open(path) as elsewhere:
        assert elsewhere.claim()

        assert [texts(source) for source in sources.segments(others=False)] == [["one"]]


def test_a_line_is_in_the_segment_before_it_is_counted(
    handler: BufferingHandler, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = writer.Writer.append

    def watched(self: writer.Writer, line: bytes) -> None:
        seen.append(journal.appended)
        real(self, line)
        seen.append(journal.appended)

    before = journal.appended
    put(handler, "one")  # the header and the handler's configuration come first
    monkeypatch.setattr(writer.Writer, "append", watched)
    put(handler, "two")

    assert seen == [before + 1, before + 1]
    assert journal.appended == before + 2


def test_this_process_s_segments_come_first(
    handler: BufferingHandler, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 0)
    put(handler, "another's", "another's, too")
    journal.rotate()
    journal.imported.clear()
    put(handler, "mine")
    journal.rotate()

    assert everything() == ["mine", "another's", "another's, too"]


def test_who_asks_what_was_mailed_leaves_no_file_behind(handler: BufferingHandler, spool_dir: Path) -> None:
    put(handler, "one")
    [path] = spool_dir.glob("*.jsonl")

    with SegmentFile.open(path) as segment:
        assert segment.mailed_ranges() == []

    assert list(spool_dir.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_does_not_keep_a_commit_s_lock(handler: BufferingHandler, spool_dir: Path) -> None:
    put(handler, "one")
    [path] = spool_dir.glob("*.jsonl")
    come, end = os.pipe()
    with SegmentFile.open(path) as segment:
        with segment.committing([]):
            pid = os.fork()
            if not pid:
                os.close(end)
                os.read(come, 1)  # until the test is over
                os._exit(0)
        with segment.committing([]):
            pass  # raises Mailed if somebody holds the lock
    os.close(end)
    os.close(come)
    os.waitpid(pid, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_does_not_keep_what_its_parent_was_importing(
    handler: BufferingHandler, spool_dir: Path
) -> None:
    put(handler, "one")
    journal.rotate()
    come, end = os.pipe()
    ready, tell = os.pipe()
    pid = os.fork()
    if not pid:  # a process that forks while it imports, and is killed
        readers = sources.segments(others=False)
        next(readers)
        child = os.fork()
        if not child:
            os.close(end)
            os.write(tell, b"!")
            os.read(come, 1)  # until the test is over
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    os.read(ready, 1)

    assert len(sources.orphans()) == 1
    for fd in (come, end, ready, tell):
        os.close(fd)


def test_a_segment_that_is_imported_and_large_is_given_up(
    handler: BufferingHandler, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "ROTATE_ABOVE_BYTES", 0)
    put(handler, "one")
    [source] = sources.everything()
    source.close()

    journal.rotate_if_imported()
    assert sources.orphans() == set()
    journal.note_imported(source.id, journal._writer.size, removed=False)  # type: ignore[union-attr]
    journal.rotate_if_imported()

    assert len(sources.orphans()) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_writes_a_segment_of_its_own_and_leaves_its_parent_s_locked(
    handler: BufferingHandler, spool_dir: Path
) -> None:
    put(handler, "parent")
    pid = os.fork()
    if not pid:
        put(handler, "child")
        os._exit(0)
    os.waitpid(pid, 0)

    assert sorted(everything()) == ["child", "parent"]
    assert len(sources.orphans()) == 1


class AsksTheDatabase(SMTPHandler):
    def get_recipients(self) -> list[str]:
        return [user.email for user in get_user_model().objects.all()]


class Lazy(SMTPHandler):
    def get_recipients(self) -> Any:
        return (address for address in [lazystr("you@example.com")])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("target", "expected"), [(AsksTheDatabase, None), (Lazy, ["you@example.com"])], ids=["query", "lazy"]
)
def test_what_a_target_s_own_recipients_are_is_written_unless_they_ask_the_database(
    handler: BufferingHandler, target: type[SMTPHandler], expected: list[str] | None
) -> None:
    handler.target = target()

    put(handler, "one")

    with SegmentFile.open(current().path) as segment:
        configuration = segment.buffers()["maillog"]
    assert configuration.get("recipients") == expected
    assert configuration["rules"]["group_wait"] == 30
    assert everything() == ["one"]


def test_where_the_spool_may_hold_little_its_segments_are_small(
    handler: BufferingHandler, spool_dir: Path, settings: Settings
) -> None:
    settings.MAILLOG_SPOOL_MAX_BYTES = 40_000

    put(handler, *["x" * 1000] * 30)

    assert max(path.stat().st_size for path in spool_dir.glob("*.jsonl")) < 12_000
    assert len(everything()) == 30


def test_a_call_gives_up_the_interpreter_for_one_write_as_a_file_handler_s_does(
    handler: BufferingHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Counter[str]()

    def counted(name: str) -> Callable[..., Any]:
        function = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    put(handler, "the first makes the file")
    # Each of them may have a thread that computes run for as long as it pleases.
    for name in ("write", "fstat", "stat", "lstat", "lseek", "scandir", "open", "ftruncate"):
        monkeypatch.setattr(os, name, counted(name))
    monkeypatch.setattr(writer, "VERIFIED_SECONDS", 60.0)
    put(handler, *["x" * 300] * 100)

    assert calls.pop("write") == 100
    assert sum(calls.values()) <= 4
