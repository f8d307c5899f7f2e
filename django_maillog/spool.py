"""Segments on disk: append, rotate, recover.

A segment is an append-only file of JSON lines that starts with a header line. Its owner, one process, holds a file lock
on it for life; anyone on the host may read it meanwhile. What ``append`` has returned from is in the operating system's
hands: killing the process loses nothing. Where no folder can be written, memory takes over.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import stat
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from django.core.exceptions import ImproperlyConfigured

from . import conf

if TYPE_CHECKING:
    from .handlers import BufferingHandler

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
SEGMENT_BYTES = 4 * 1024 * 1024  # a segment that has grown to this is followed by a new one
MEMORY_BYTES = 16 * 1024 * 1024
MAX_LINE = 2 * 1024 * 1024  # no line that encode() makes comes near; a longer one is not ours
CHUNK_BYTES = 2 * 1024 * 1024
HOST = socket.gethostname()[:255]

log = logging.getLogger("django_maillog")


class UnsafeFolder(OSError):
    """The spool folder can't be used, or isn't private to this user."""


class BadSegment(ValueError):
    """A file in the spool folder isn't a segment that this version wrote."""


class Source(Protocol):
    """A segment to import from: a file, or the memory of this process."""

    id: str
    host: str
    process: int

    def read(self, offset: int) -> tuple[list[bytes], int]: ...
    def remove_if_done(self, offset: int) -> bool: ...
    def reports(self) -> list[dict[str, Any]]: ...
    def add_report(self, report: dict[str, Any]) -> None: ...
    def buffers(self) -> dict[str, dict[str, Any]]: ...
    def set_aside(self, line: bytes) -> None: ...


def private_folder(folder: Path) -> Path:
    """Make the folder if it is missing; raise UnsafeFolder unless it is ours alone (mode 0700, no symlink)."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UnsafeFolder(f"{folder} can't be made: {error}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeFolder(f"{folder} is a symbolic link or a file, not a folder.")
    if os.name != "nt" and found.st_uid != os.geteuid():
        raise UnsafeFolder(f"{folder} belongs to user {found.st_uid}, not to this process's user {os.geteuid()}.")
    if os.name != "nt" and found.st_mode & 0o077:
        raise UnsafeFolder(f"{folder} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}): chmod 700 it.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnsafeFolder(f"{folder} can't be written.")
    return folder


class SegmentFile:
    """A segment in the spool folder, to be read."""

    def __init__(self, path: Path) -> None:
        """Open it; raise BadSegment if it isn't one of ours, FileNotFoundError if it is gone."""
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        try:
            found = os.fstat(self.fd)
            if not stat.S_ISREG(found.st_mode) or (os.name != "nt" and found.st_uid != os.geteuid()):
                raise BadSegment("it isn't a file of this process's user")
            header = _parse(_pread(self.fd, 4096, 0).partition(b"\n")[0])
            if header.get("maillog") != FORMAT or header.get("id") != path.stem:
                raise BadSegment("its first line isn't a header of this version")
            self.id = path.stem
            self.host = str(header.get("host", ""))[:255]
            self.process = int(header.get("process", 0)) & 0x7FFFFFFF
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> SegmentFile:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def read(self, offset: int) -> tuple[list[bytes], int]:
        """The complete lines from ``offset`` on (about CHUNK_BYTES of them), and the offset after them."""
        return _complete_lines(self.fd, offset)

    def remove_if_done(self, offset: int) -> bool:
        """Delete the segment if it has no owner and ``offset`` is behind its last complete line."""
        if not _lock(self.fd):
            return False
        try:
            lines, _end = self.read(offset)
            if lines:
                return False
            for path in (self.path, self._reports_path()):
                with contextlib.suppress(OSError):
                    path.unlink()
            return True
        finally:
            _unlock(self.fd)

    def buffers(self) -> dict[str, dict[str, Any]]:
        """How the buffers in this segment were configured by its owner, by name."""
        offset, found = 0, {}
        while True:
            lines, end = self.read(offset)
            if not lines:
                return found
            for line in lines:
                if line.startswith(b'{"configures"'):
                    with contextlib.suppress(BadSegment):
                        value = _parse(line)
                        found[str(value["configures"])] = value
            offset = end

    def _reports_path(self) -> Path:
        return self.path.with_suffix(".reported")

    def reports(self) -> list[dict[str, Any]]:
        """What was mailed straight from here while the database was away: from, to (bytes), and the mail's facts."""
        try:
            lines = self._reports_path().read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [_parse(line) for line in lines]

    def add_report(self, report: dict[str, Any]) -> None:
        """Note that the bytes ``from`` to ``to`` have been mailed already."""
        _append_private(self._reports_path(), json.dumps(report).encode() + b"\n")

    def set_aside(self, line: bytes) -> None:
        """Keep a line that can't be imported where a person can look at it."""
        _append_private(self.path.with_suffix(".bad"), line + b"\n")


class MemorySegment:
    """A segment of a process that can't write its folder: the same, but it doesn't outlive the process."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.host = HOST
        self.process = os.getpid()
        self._start = 0  # the offset of the first byte that is still held
        self._data = bytearray()
        self._reports: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def append(self, line: bytes) -> None:
        """Keep a line; raise OSError when MEMORY_BYTES are held."""
        with self._lock:
            if len(self._data) + len(line) > MEMORY_BYTES:
                raise OSError("no memory left for records")
            self._data += line

    def size(self) -> int:
        return self._start + len(self._data)

    def read(self, offset: int) -> tuple[list[bytes], int]:
        with self._lock:
            data = bytes(self._data[offset - self._start : offset - self._start + CHUNK_BYTES])
        end = data.rfind(b"\n") + 1
        return data[:end].splitlines(), offset + end

    def remove_if_done(self, offset: int) -> bool:
        """Forget what is imported; the segment itself stays while the process lives."""
        with self._lock:
            del self._data[: offset - self._start]
            self._start = offset
        return False

    def reports(self) -> list[dict[str, Any]]:
        return list(self._reports)

    def add_report(self, report: dict[str, Any]) -> None:
        self._reports.append(report)

    def buffers(self) -> dict[str, dict[str, Any]]:
        """Nothing: who reads this memory has the handlers, too."""
        return {}

    def set_aside(self, line: bytes) -> None:
        """Drop a line that can't be imported: this process wrote it itself, and the warning shows the error."""


class _Writer:
    """The owner's end of a segment file."""

    def __init__(self, folder: Path) -> None:
        self.id = uuid.uuid4().hex
        self.path = folder / f"{self.id}.jsonl"
        temporary = folder / f".{self.id}.tmp"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self.fd = os.open(temporary, flags, 0o600)
        try:
            _lock(self.fd)  # before the segment gets its name: nobody ever sees it without its owner
            header = {"maillog": FORMAT, "id": self.id, "host": HOST, "process": os.getpid(), "time": time.time()}
            self.size = 0
            self.append(json.dumps(header).encode() + b"\n")
            os.rename(temporary, self.path)
        except BaseException:
            self.close()
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        self.configured: set[str] = set()

    def append(self, line: bytes) -> None:
        """One write(2); a line that the disk takes only in part is taken back, and OSError raised."""
        written = os.write(self.fd, line)
        if written == len(line):
            self.size += written
            return
        os.ftruncate(self.fd, self.size)
        raise OSError(f"the disk took {written} of {len(line)} bytes")

    def is_linked(self) -> bool:
        """Whether the file is still in its folder."""
        return os.name == "nt" or os.fstat(self.fd).st_nlink > 0

    def close(self) -> None:
        os.close(self.fd)


class Spool:
    """This process's end of the spool: appends lines, rotates segments, counts what can't be kept."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._writer: _Writer | None = None
        self._testing = conf.testing()
        self._memory: MemorySegment | None = None
        self._lost: Counter[str] = Counter()
        self._others_bytes = 0  # what the folder's other segments took when last looked
        self._looked_at = 0.0
        self._retry_folder_at = 0.0
        self.mailing = threading.Lock()  # held while what the spool holds is mailed without the database
        self.appended = 0  # lines of this process, ever: tells whether there is anything to import
        self.imported: dict[str, int] = {}  # this process's segments that may not be imported to their end, and how far they are

    def after_fork_in_child(self) -> None:
        """Leave the parent's segment and memory to the parent."""
        writer = self._writer
        self._reset()
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()

    def append(self, handler: BufferingHandler, line: bytes) -> None:
        """Keep one encoded record. Never raises; what can't be kept is counted and said in the next mail."""
        buffer = handler.buffer
        with self._lock:
            self.appended += 1
            try:
                self._write(handler, buffer, line)
            except OSError:
                self._lost[buffer] += 1

    def write_lost(self) -> None:
        """Put the counts of records that could not be kept into the spool, as soon as there is room."""
        with self._lock:
            if not self._lost:
                return
            for buffer, count in list(self._lost.items()):
                value = {"lost": count, "buffer": buffer, "time": time.time()}
                try:
                    self._line(json.dumps(value).encode() + b"\n")
                except OSError:
                    return
                del self._lost[buffer]

    def lost(self) -> Counter[str]:
        """How many records of each buffer could not be kept and are not in the spool as a count yet."""
        return Counter(self._lost)

    def _write(self, handler: BufferingHandler, buffer: str, line: bytes) -> None:
        writer = self._writer
        if writer is None or writer.size > SEGMENT_BYTES or conf.testing() is not self._testing:
            writer = self._next_segment()
        if writer is None:
            self._memory_segment().append(line)
            return
        if self._others_bytes + writer.size + len(line) > self._limit():
            raise OSError("the spool is full")
        if buffer not in writer.configured:
            writer.append(_configuration(handler))
            writer.configured.add(buffer)
        writer.append(line)

    def _line(self, line: bytes) -> None:
        if self._writer is not None:
            self._writer.append(line)
        else:
            self._memory_segment().append(line)

    def _limit(self) -> int:
        """The spool's limit in bytes; looks at the folder again at most once a second."""
        try:
            limit = conf.spool_max_bytes()
        except ImproperlyConfigured:  # a system check reports it; the records come first
            limit = int(conf.DEFAULTS["MAILLOG_SPOOL_MAX_BYTES"])
        now = time.monotonic()
        if now - self._looked_at > 1:
            self._looked_at = now
            self._others_bytes = folder_bytes(self._writer.path if self._writer else None)
        return limit

    def _next_segment(self) -> _Writer | None:
        """Start a new segment; None where the folder can't be used (asked again once a second)."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._testing = conf.testing()
        now = time.monotonic()
        if now < self._retry_folder_at:
            return None
        try:
            self._writer = _Writer(private_folder(conf.spool_dir()))
        except (OSError, ImproperlyConfigured) as error:
            if not self._retry_folder_at:
                log.warning("spool folder unusable, records are kept in memory: error=%s", error)
            self._retry_folder_at = now + 1
            return None
        self._retry_folder_at = 0.0
        self.imported[self._writer.id] = 0
        return self._writer

    def _memory_segment(self) -> MemorySegment:
        if self._memory is None:
            self._memory = MemorySegment()
            self.imported[self._memory.id] = 0
        return self._memory

    def memory(self) -> MemorySegment | None:
        """The segment in memory, if the folder could not be used."""
        return self._memory

    def note_imported(self, segment_id: str, offset: int, *, removed: bool) -> None:
        """How far one of this process's segments is imported; others' are not noted."""
        if removed:
            self.imported.pop(segment_id, None)
        elif segment_id in self.imported:
            self.imported[segment_id] = offset

    def rotate(self) -> None:
        """Let go of the current segment, so that it is deleted once imported."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def rotate_if_imported(self, *, larger_than: int) -> None:
        """The same if all of it is imported and it is large, or if somebody has deleted its file."""
        with self._lock:
            writer = self._writer
            if writer is None:
                return
            done = self.imported.get(writer.id) == writer.size > larger_than
            if done or not writer.is_linked():
                writer.close()
                self._writer = None


def segments(folder: Path | None = None) -> Iterator[Source]:
    """Every segment on this host, oldest first, and this process's memory; each file is open for its turn.

    A file that isn't a segment of this version is set aside with a warning.
    """
    memory = spool.memory()
    if memory is not None:
        yield memory
    for path in segment_paths(folder):
        try:
            with SegmentFile(path) as segment:
                yield segment
        except FileNotFoundError:
            continue
        except (BadSegment, OSError) as error:
            log.warning("segment set aside: path=%s error=%s", path, error)
            set_aside(path)


def segment_paths(folder: Path | None = None) -> list[Path]:
    """The segment files in the spool folder, oldest first."""
    found = []
    try:
        with os.scandir(folder or private_folder(conf.spool_dir())) as entries:
            for entry in entries:
                if entry.name.endswith(".jsonl"):
                    with contextlib.suppress(OSError):
                        found.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
    except OSError:
        return []
    return [Path(path) for _mtime, path in sorted(found)]


def folder_bytes(without: Path | None = None) -> int:
    """What the segments on this host take, in bytes, without one of them."""
    total = 0
    for path in segment_paths():
        if path != without:
            with contextlib.suppress(OSError):
                total += path.stat().st_size
    return total


def _append_private(path: Path, line: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def set_aside(path: Path) -> None:
    """Rename a file so that no import looks at it again; a person may."""
    with contextlib.suppress(OSError):
        path.rename(path.with_suffix(".bad"))


def _configuration(handler: BufferingHandler) -> bytes:
    """A line that lets a process without this handler import and mail what this segment holds."""
    value: dict[str, Any] = {"configures": handler.buffer, "rules": asdict(handler.rules)}
    try:
        target = handler.target
        value |= {"recipients": target.get_recipients(), "sender": target.get_sender(), "using": target.using or ""}
    except Exception as error:  # a target that is wrong must not cost the record: a system check reports it
        value["error"] = str(error)
    return json.dumps(value).encode() + b"\n"


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadSegment(f"a line isn't JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadSegment("a line isn't a JSON object")
    return value


def _complete_lines(fd: int, offset: int) -> tuple[list[bytes], int]:
    data = _pread(fd, CHUNK_BYTES, offset)
    end = data.rfind(b"\n") + 1
    if not end and len(data) >= CHUNK_BYTES:
        raise BadSegment(f"a line is longer than {MAX_LINE} bytes")
    return data[:end].split(b"\n")[:-1] if end else [], offset + end


def _pread(fd: int, length: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, length, offset)
    os.lseek(fd, offset, os.SEEK_SET)  # Windows; only one thread reads through a SegmentFile
    return os.read(fd, length)


def _lock(fd: int) -> bool:
    """Take the lock that a segment's owner holds; whether it was free."""
    try:
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            _lock_far_byte(fd, lock=True)
    except OSError:
        return False
    return True


def _unlock(fd: int) -> None:
    if fcntl is not None:
        fcntl.flock(fd, fcntl.LOCK_UN)
    else:
        _lock_far_byte(fd, lock=False)


def _lock_far_byte(fd: int, *, lock: bool) -> None:
    """Windows: lock one byte far behind the end, since its locks would keep readers out."""
    import msvcrt  # only there

    position = os.lseek(fd, 0, os.SEEK_CUR)
    os.lseek(fd, 0x7FFF0000, os.SEEK_SET)
    msvcrt.locking(fd, msvcrt.LK_NBLCK if lock else msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
    os.lseek(fd, position, os.SEEK_SET)


spool = Spool()
append = spool.append

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=spool.after_fork_in_child)
