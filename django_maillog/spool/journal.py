"""This process's end of the spool: append lines, rotate segments, count what can't be kept.

What ``append`` has returned from is in the operating system's hands: killing the process loses nothing. Where
no folder can be written, memory takes over. Everything here may be interrupted by a signal handler that logs,
hence the re-entrant lock.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from .. import conf
from .folder import UnsafeFolder, folder_bytes, private_folder, segment_paths
from .segment import MAX_LINE, MemorySegment, SegmentFile, Source, close_inherited, open_segment
from .writer import Writer

if TYPE_CHECKING:
    from ..handlers import BufferingHandler

__all__ = [
    "Source",
    "Spool",
    "UnsafeFolder",
    "append",
    "private_folder",
    "segment_paths",
    "segments",
    "spool",
]

SEGMENT_BYTES = 16 * 1024 * 1024  # a segment that has grown to this is followed by a new one
SEGMENT_SECONDS = (
    3600.0  # the same for one of this age: where only a command imports, nobody else would give it up
)
MOST_FULL = 32  # complete segments that are held open
PATIENCE = 60.0  # seconds without any import after which others may have them
ROTATE_ABOVE = (
    64 * 1024
)  # bytes from which a segment that is imported to its end is given up, so that it can go
PAUSE = 20e-6  # seconds after a record while an import is being written
CLOSE = 200e-6  # seconds between two records that leave others no time by themselves
LOOK_EVERY = 1.0  # seconds between two looks at the folder, whether it can be used and how full it is
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

log = logging.getLogger("django_maillog")


class Full(OSError):
    """The spool has reached MAILLOG_SPOOL_MAX_BYTES."""


class Spool:
    """Appends lines, rotates segments, counts what can't be kept; knows how far this process is imported."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._writer: Writer | None = None
        self._testing = conf.testing()
        self._memory: MemorySegment | None = None
        self._full: dict[str, Writer] = {}  # segments that are complete, and kept from others by their lock
        self._lost: Counter[str] = Counter()
        self._room = 0  # bytes that our segment may take beside the folder's others
        self._look_at = 0.0  # when to look at the folder again (monotonic)
        self._folder_failed_at: float | None = None
        self._gives_way = False
        self._gave_way_at = 0.0  # or would have (monotonic)
        self.appended = 0  # lines of this process, ever: tells whether there is anything to import
        self.imported: dict[
            str, int
        ] = {}  # this process's segments, until they are removed, and how far each is imported
        self.progress_at = 0.0  # when anything was imported last (monotonic)

    def after_fork_in_child(self) -> None:
        """Leave the parent's segment and memory to the parent."""
        writers = [self._writer, *self._full.values()]
        self.__init__()  # type: ignore[misc]
        for writer in writers:
            if writer is not None:
                writer.close()
        close_inherited()

    def append(self, handler: BufferingHandler, line: bytes) -> None:
        """Keep one encoded record. What can't be kept is counted and said in the next mail."""
        with self._lock:
            try:
                self._append(handler, line)
            except OSError:
                self._lost[handler.buffer] += 1
            finally:
                self.appended += 1  # afterwards: who has seen the number finds the line

    def _append(self, handler: BufferingHandler, line: bytes) -> None:
        writer = self._writer
        if (
            writer is not None
            and writer.size + len(line) <= self._room
            and writer.size <= SEGMENT_BYTES
            and time.monotonic() < self._look_at
            and conf.testing() is self._testing
            and handler.buffer in writer.configured
        ):
            try:
                writer.append(line)
                if self._gives_way:
                    self._give_way()
                return
            except OSError:  # the longer way finds out what to do
                pass
        self._write(handler, line)

    def _give_way(self) -> None:
        if time.monotonic() - self._gave_way_at < CLOSE:
            time.sleep(PAUSE)
        self._gave_way_at = time.monotonic()

    @contextlib.contextmanager
    def giving_way(self) -> Iterator[None]:
        """Let this thread have the interpreter between logging calls close together: it locks the database.

        A loop that logs without pause would have it wait 5 ms at each statement, and others for the lock.
        """
        self._gives_way = True
        try:
            yield
        finally:
            self._gives_way = False

    def is_roomy(self) -> bool:
        """Whether less than half of what MAILLOG_SPOOL_MAX_BYTES allows is used."""
        writer = self._writer
        return writer is not None and 2 * (self._room - writer.size) > _limit()

    def write_lost(self) -> None:
        """Put the counts of records that could not be kept where they are imported, if there is room."""
        with self._lock:
            for buffer, count in list(self._lost.items()):
                value = {"lost": count, "buffer": buffer, "time": time.time()}
                try:
                    self._put(json.dumps(value).encode() + b"\n")
                except OSError:
                    return
                del self._lost[buffer]

    def lost(self) -> Counter[str]:
        """How many records of each buffer could not be kept and are not in the spool as a count yet."""
        return Counter(self._lost)

    def _write(self, handler: BufferingHandler, line: bytes) -> None:
        writer = self._current(len(line))
        try:
            self._write_to(writer, handler, line)
        except OSError as error:
            if writer is None or isinstance(error, Full) or error.errno in FULL_DISK:
                raise
            self._give_up()  # the file is broken, not the disk full: try another, or memory
            self._write_to(self._next(), handler, line)

    def _write_to(self, writer: Writer | None, handler: BufferingHandler, line: bytes) -> None:
        if writer is None:
            self._memory_segment().append(line)
            return
        buffer = handler.buffer
        if buffer not in writer.configured:
            writer.append(_configuration(handler))
            writer.configured.add(buffer)
        writer.append(line)

    def _put(self, line: bytes) -> None:
        """Append a line of our own, whatever the limit."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.append(line)
                return
        self._memory_segment().append(line)

    def _current(self, length: int) -> Writer | None:
        """The segment to append so many bytes to; None if memory must take over. Raises Full."""
        writer, now = self._writer, time.monotonic()
        if writer is None or not self._serves(writer, now):
            writer = self._next()
        if writer is None:
            return None
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self._room = _limit() - folder_bytes(writer.path.parent, without=writer.path.name)
        if writer.size + length > self._room or length > MAX_LINE:
            raise Full(errno.ENOSPC, "the spool is full, or the line too long")
        return writer

    def _serves(self, writer: Writer, now: float) -> bool:
        """Whether the segment goes on: it is neither large nor old, and this is no test but its own."""
        young = now - writer.opened_at <= SEGMENT_SECONDS
        return young and writer.size <= SEGMENT_BYTES and conf.testing() is self._testing

    def _next(self) -> Writer | None:
        """Start a new segment; None where the folder can't be used (asked again once a second)."""
        self._complete()
        now, failed_at = time.monotonic(), self._folder_failed_at
        if failed_at is not None and now - failed_at < LOOK_EVERY and self._testing is conf.testing():
            return None
        self._testing = conf.testing()
        self._look_at = 0.0  # the segment that was ours counts as another's now
        try:
            self._writer = Writer(private_folder(conf.spool_dir()))
        except (OSError, ImproperlyConfigured) as error:
            if failed_at is None:
                log.warning("spool folder unusable, records are kept in memory: error=%s", error)
            self._folder_failed_at = now
            return None
        self._folder_failed_at = None
        self.imported[self._writer.id] = 0
        return self._writer

    def _complete(self) -> None:
        """Append no more to the current segment; our worker, if it gets on, imports it, and no other."""
        writer = self._writer
        gets_on = time.monotonic() - self.progress_at < PATIENCE and self.is_roomy()
        if not gets_on:
            for segment_id in list(self._full):
                self.let_go(segment_id)
        elif writer is not None and len(self._full) < MOST_FULL and _has_worker():
            self._full[writer.id] = writer
            self._writer = None
        self._give_up()

    def let_go(self, segment_id: str) -> None:
        """A segment of ours is about to be imported: whoever does it may have its lock."""
        writer = self._full.pop(segment_id, None)
        if writer is not None:
            writer.close()

    def _give_up(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _memory_segment(self) -> MemorySegment:
        if self._memory is None:
            self._memory = MemorySegment()
            self.imported[self._memory.id] = 0
        return self._memory

    def memory(self) -> MemorySegment | None:
        """The segment in memory, if the folder could not be used."""
        return self._memory

    def note_imported(self, segment_id: str, offset: int, *, removed: bool) -> None:
        """How far a segment is imported, told after each commit: a mail without the database begins there."""
        self.progress_at = time.monotonic()
        if removed:
            self.imported.pop(segment_id, None)
        elif segment_id in self.imported:
            self.imported[segment_id] = offset

    def rotate(self) -> None:
        """Let go of the current segment, so that it is deleted once imported."""
        with self._lock:
            self._give_up()

    def rotate_if_imported(self) -> None:
        """The same if it is imported and large, or if somebody has taken it away.

        All of it must be imported, but where room is scarce: until it is given up it can't be deleted.
        """
        with self._lock:
            writer = self._writer
            if writer is None:
                return
            imported = self.imported.get(writer.id, 0)
            large = min(ROTATE_ABOVE, _limit() // 4)
            is_done = imported == writer.size or not self.is_roomy()
            if (is_done and imported > large) or not writer.is_in_place():
                self._give_up()

    def is_imported(self, segment: SegmentFile) -> bool:
        """Whether the segment is this process's current one and has nothing new."""
        writer = self._writer
        return (
            writer is not None and writer.id == segment.id and self.imported.get(segment.id) == segment.size
        )

    def own(self) -> list[Source]:
        """This process's segments, memory included; the files are open, and the caller's to close."""
        paths = {path.stem: path for path in segment_paths()}
        files = [open_segment(paths[segment_id]) for segment_id in list(self.imported) if segment_id in paths]
        return [source for source in (self._memory, *files) if source is not None]


def segments(*, others: bool = True) -> Generator[Source, None, None]:
    """Every segment on this host that may hold something new: this process's, then others, oldest first.

    Each file is open for its turn, and claimed if nobody has it. ``others=False`` leaves out those that a
    living process has: its owner, or one that imports it just now.
    """
    if memory := spool.memory():
        yield memory
    for path in sorted(segment_paths(), key=lambda path: path.stem not in spool.imported):
        segment = open_segment(path)
        if segment is None:
            continue
        with segment:
            spool.let_go(path.stem)
            mine = path.stem in spool.imported
            if (segment.claim() or others or mine) and not spool.is_imported(segment):
                yield segment


def orphans() -> set[Path]:
    """The segments on this host whose owner is gone: what a process that ended has left to be imported."""
    found = set()
    for path in segment_paths():
        if segment := open_segment(path):
            with segment:
                if segment.is_orphan():
                    found.add(path)
    return found


def _has_worker() -> bool:
    """Whether a thread of this process imports."""
    try:
        return conf.worker() == "thread" and not conf.testing()
    except ImproperlyConfigured:  # a system check reports it
        return False


def _limit() -> int:
    try:
        return conf.spool_max_bytes()
    except ImproperlyConfigured:  # a system check reports it; the records come first
        return int(conf.DEFAULTS["MAILLOG_SPOOL_MAX_BYTES"])


def _configuration(handler: BufferingHandler) -> bytes:
    """A line that lets a process without this handler import and mail what this segment holds."""
    value: dict[str, Any] = {"configures": handler.buffer, "rules": handler.rules._asdict()}
    try:
        target = handler.target
        value |= {
            "recipients": target.get_recipients(),
            "sender": target.get_sender(),
            "using": target.using or "",
        }
        return json.dumps(value).encode() + b"\n"
    except Exception as error:  # a target that is wrong must not cost the record: a system check reports it
        return json.dumps({"configures": handler.buffer, "error": str(error)}).encode() + b"\n"


def _setting_changed(*, setting: str, **_kwargs: object) -> None:
    if setting == "MAILLOG_SPOOL_DIR":  # a test has its own folder
        spool.rotate()


spool = Spool()
append = spool.append
setting_changed.connect(_setting_changed)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=spool.after_fork_in_child)
