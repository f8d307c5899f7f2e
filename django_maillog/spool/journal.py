"""This process's end of the spool: append lines, rotate segments, count what can't be kept.

What ``append`` has returned from is in the operating system's hands: killing the process loses nothing. Where
no folder can be written, memory takes over. Everything here may be interrupted by a signal handler that logs,
hence the re-entrant lock.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections import Counter

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from .. import conf
from ..buffers import BufferHandler
from . import configurations
from .folder import folder_bytes, private_folder, spool_folder, sweep
from .lines import encode_lost
from .memory import MemorySegment
from .segment import MAX_LINE_BYTES, SegmentFile, close_inherited
from .writer import Owner, Writer, owner_now

# A segment that has grown to this is followed by a new one; at most a quarter of what the spool may hold.
SEGMENT_BYTES = 16 * 1024 * 1024
# The same for one of this age: where only a command imports, nobody else would give it up.
SEGMENT_SECONDS = 3600.0
# From this size on a segment that is imported to its end is given up, so that it can go.
ROTATE_ABOVE_BYTES = 64 * 1024
# Between two looks at the folder, whether it can be used and how full it is.
LOOK_SECONDS = 1.0
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

log = logging.getLogger("django_maillog")


class _Folder:
    """What was seen of the spool folder at the last look."""

    def __init__(self) -> None:
        self.segment_bytes = 0  # the size from which our segment is followed by a new one
        self._free_bytes = 0  # what it may take beside the others
        self._look_at = 0.0  # monotonic
        self._unusable: tuple[Owner, float] | None = None  # for whom, and until when nobody tries again

    def has_room(self, writer: Writer, length: int, now: float) -> bool:
        """Whether the spool takes so many bytes more."""
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            limit = conf.or_default(conf.spool_max_bytes)
            self.segment_bytes = min(SEGMENT_BYTES, limit // 4)
            self._free_bytes = limit - folder_bytes(writer.path.parent, without=writer.path)
        return writer.size + length <= self._free_bytes

    def start_segment(self, owner: Owner) -> Writer | None:
        """A new segment; None where the folder can't be used."""
        unusable = self._unusable
        if unusable is not None and unusable[0] == owner and time.monotonic() < unusable[1]:
            return None
        self._look_at = 0.0  # the segment that was ours counts as another's now
        try:
            folder = private_folder(spool_folder())
            sweep(folder)
            writer = Writer.create(folder, owner)
        except (OSError, ImproperlyConfigured) as error:
            if unusable is None:
                log.warning("spool folder unusable, records are kept in memory: error=%s", error)
            self._unusable = owner, time.monotonic() + LOOK_SECONDS
            return None
        self._unusable = None
        return writer


class Journal:
    """Appends lines, rotates segments, counts what can't be kept; knows how far this process is imported."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._folder = _Folder()
        self._writer: Writer | None = None
        # Where the folder could not be used.
        self.memory: MemorySegment | None = None
        # Records of each buffer that could not be kept, and are not in the spool as a count yet.
        self.lost: Counter[str] = Counter()
        self.appended = 0  # lines of this process, ever: tells whether there is anything to import
        # This process's segments, until they are removed, and how far each is imported.
        self.imported: dict[str, int] = {}
        self.progress_at = 0.0  # when anything was imported last (monotonic)

    def after_fork_in_child(self) -> None:
        """Leave the parent's segment and memory to the parent."""
        writer = self._writer
        self.__init__()  # type: ignore[misc]
        if writer is not None:
            writer.close()
        close_inherited()

    def append(self, handler: BufferHandler, line: bytes) -> None:
        """Keep one encoded record. What can't be kept is counted and said in the next mail."""
        with self._lock:
            try:
                self._append(handler, line)
            except OSError:
                self.lost[handler.buffer] += 1
            finally:
                self.appended += 1  # afterwards: who has seen the number finds the line

    def _append(self, handler: BufferHandler, line: bytes) -> None:
        now, writer = time.monotonic(), self._writer
        if writer is None or not self._serves(writer, now):
            writer = self._next()
        if len(line) > MAX_LINE_BYTES or (writer and not self._folder.has_room(writer, len(line), now)):
            raise OSError(errno.ENOSPC, "the spool is full, or the line too long")
        try:
            self._write(writer, handler, line)
        except OSError as error:
            if writer is None or error.errno in FULL_DISK:
                raise
            # The file is broken, not the disk full: try another, or memory.
            self._write(self._next(), handler, line)

    def _write(self, writer: Writer | None, handler: BufferHandler, line: bytes) -> None:
        if writer is None:
            self._memory_segment().append(line)
            return
        buffer = handler.buffer
        if buffer not in writer.configured:
            writer.append(configurations.encode(handler))
            writer.configured.add(buffer)
        writer.append(line)

    def _serves(self, writer: Writer, now: float) -> bool:
        """Whether the segment goes on: it is neither large nor old, and still its owner's."""
        return (
            writer.size <= self._folder.segment_bytes
            and now - writer.opened_at <= SEGMENT_SECONDS
            and writer.owner == owner_now()
        )

    def _next(self) -> Writer | None:
        """Start a segment; None if memory must take over."""
        self.rotate()
        self._writer = self._folder.start_segment(owner_now())
        if self._writer is not None:
            self.imported[self._writer.id] = 0
        return self._writer

    def write_lost(self) -> None:
        """Put the counts of records that could not be kept where they are imported, whatever the limit."""
        with self._lock:
            for buffer, count in list(self.lost.items()):
                try:
                    self._put(encode_lost(buffer, count))
                except OSError:
                    return
                del self.lost[buffer]

    def _put(self, line: bytes) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.append(line)
                return
        self._memory_segment().append(line)

    def _memory_segment(self) -> MemorySegment:
        if self.memory is None:
            self.memory = MemorySegment()
            self.imported[self.memory.id] = 0
        return self.memory

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
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()

    def rotate_if_imported(self) -> None:
        """The same if it is imported and large, or if somebody has taken it away."""
        with self._lock:
            writer = self._writer
            if writer is None:
                return
            is_large = writer.size > min(ROTATE_ABOVE_BYTES, self._folder.segment_bytes)
            if (is_large and self.imported.get(writer.id) == writer.size) or not writer.is_in_place():
                self.rotate()

    def is_imported(self, segment: SegmentFile) -> bool:
        """Whether the segment is this process's current one and has nothing new."""
        writer = self._writer
        return (
            writer is not None and writer.id == segment.id and self.imported.get(segment.id) == segment.size
        )


def _setting_changed(*, setting: str, **_kwargs: object) -> None:
    if setting == "MAILLOG_SPOOL_DIR":  # a test has its own folder
        journal.rotate()


journal = Journal()
setting_changed.connect(_setting_changed)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=journal.after_fork_in_child)
