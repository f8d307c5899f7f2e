"""Segments to read: files in the spool folder, and the memory of a process that can't write there.

A segment is an append-only file of JSON lines that starts with a header line. Its owner, one process, holds a
file lock on it for life; anyone on the host may read it meanwhile. A second file beside it says what has been
mailed of the segment without the database. Its lock keeps such a mail and the commit of an import apart, so
that no record is in both.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import stat
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from .folder import append_private, lock, open_private, pread, set_aside, unlock

FORMAT = 1
MEMORY_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 2 * 1024 * 1024
MAX_LINE = CHUNK_BYTES - 1
BAD_BYTES = 1024 * 1024  # of lines set aside that are kept, a segment
MAILING_WAIT = 60.0  # seconds that an import waits for a mail being made of the segment
COMMIT_WAIT = 1.0  # seconds that such a mail waits for an import being committed; it may be stuck
HOST = socket.gethostname()[:255]

log = logging.getLogger("django_maillog")


class BadSegment(ValueError):
    """A file in the spool folder isn't a segment."""


class OtherVersion(ValueError):
    """A segment was written by another version, which is left to import it."""


class Mailed(Exception):
    """A mail was made of the segment, or is being made: an import has to look again."""


class Source(Protocol):
    """A segment to import from: a file, or the memory of this process."""

    id: str
    host: str
    process: int

    @property
    def size(self) -> int: ...
    def read(self, offset: int) -> tuple[list[bytes], int]: ...
    def remove_if_done(self, offset: int) -> bool: ...
    def mailing(self) -> contextlib.AbstractContextManager[object]: ...
    def committing(self, reports: list[dict[str, Any]]) -> contextlib.AbstractContextManager[object]: ...
    def reports(self, *, wait: bool = True) -> list[dict[str, Any]]: ...
    def add_report(self, report: dict[str, Any]) -> None: ...
    def buffers(self) -> dict[str, dict[str, Any]]: ...
    def set_aside(self, line: bytes) -> bool: ...
    def close(self) -> None: ...


class SegmentFile:
    """A segment in the spool folder, open to be read."""

    def __init__(self, path: Path) -> None:
        """Open it; raise BadSegment, OtherVersion, or OSError if it can't be opened or is gone."""
        self.path = path
        self.id = path.stem
        self._buffers: dict[str, dict[str, Any]] = {}
        self._buffers_end = 0
        self._broken = False
        self._claimed = False
        self.fd = open_private(path, os.O_RDONLY)
        try:
            found = os.fstat(self.fd)
            if not stat.S_ISREG(found.st_mode) or (os.name != "nt" and found.st_uid != os.geteuid()):
                raise BadSegment("it isn't a file of this process's user")
            self.size = found.st_size
            self.host, self.process = _header(pread(self.fd, 4096, 0), self.id)
            _open.add(self)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self.fd >= 0:
            self._release()
            fd, self.fd = self.fd, -1  # before it is closed: a fork in between must not close another's
            os.close(fd)

    def __enter__(self) -> SegmentFile:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def read(self, offset: int) -> tuple[list[bytes], int]:
        """The complete lines from ``offset`` on (about CHUNK_BYTES of them), and the offset after them.

        A line too long to be ours ends the segment: it is set aside whole, with what follows.
        """
        data = pread(self.fd, CHUNK_BYTES, offset)
        end = data.rfind(b"\n") + 1
        if not end and len(data) == CHUNK_BYTES and not self._broken:
            self._broken = True
            set_aside(self.path, f"a line is longer than {MAX_LINE} bytes")
        return data[:end].split(b"\n")[:-1], offset + end

    def claim(self) -> bool:
        """Make it this reader's until it is closed, unless its owner or another has it; whether it is."""
        if not self._claimed and lock(self.fd):
            self._claimed = True
            self.size = os.fstat(self.fd).st_size  # nobody will write any more
        return self._claimed

    def is_orphan(self) -> bool:
        """Whether its owner is gone, and nobody has claimed it."""
        try:
            return self.claim()
        finally:
            self._release()

    def _release(self) -> None:
        if self._claimed:
            self._claimed = False
            unlock(self.fd)

    def remove_if_done(self, offset: int) -> bool:
        """Delete the segment if nobody else has it and ``offset`` is behind its last complete line."""
        if not self.claim() or self.read(offset)[0]:
            return False
        if os.name == "nt":  # no open file can be deleted there
            self.close()
        for path in (
            self._reports_path,
            self.path,
        ):  # the segment last: while it is there, somebody comes again
            with contextlib.suppress(OSError):
                path.unlink()
        return True

    def buffers(self) -> dict[str, dict[str, Any]]:
        """How the buffers in this segment were configured by its owner, by name."""
        while True:
            lines, self._buffers_end = self.read(self._buffers_end)
            if not lines:
                return self._buffers
            for line in lines:
                if line.startswith(b'{"configures"'):
                    with contextlib.suppress(BadSegment):
                        value = _parse(line)
                        self._buffers[str(value["configures"])] = value

    @property
    def _reports_path(self) -> Path:
        return self.path.with_suffix(".reported")

    @contextlib.contextmanager
    def mailing(self) -> Iterator[None]:
        """Held while a mail is made of this segment; raises BlockingIOError while an import commits."""
        with self._reports_locked(COMMIT_WAIT) as locked:
            if not locked:
                raise BlockingIOError("an import is being committed")
            yield

    @contextlib.contextmanager
    def committing(self, reports: list[dict[str, Any]]) -> Iterator[None]:
        """Held while an import is committed; raises Mailed if there are more reports, or soon will be."""
        with self._reports_locked(0) as locked:
            if not locked or len(self._reports()) != len(reports):
                raise Mailed
            yield

    def reports(self, *, wait: bool = True) -> list[dict[str, Any]]:
        """What was mailed straight from here: from, to (bytes), time, and the mails' facts by buffer.

        Unless told not to, waits until a mail that is being made of this segment is out.
        """
        if wait:
            with self._reports_locked(MAILING_WAIT, create=False):
                return self._reports()
        return self._reports()

    @contextlib.contextmanager
    def _reports_locked(self, seconds: float, *, create: bool = True) -> Iterator[bool]:
        """Whether the lock could be had within this time.

        Who only reads creates no file: another may have removed it with its segment just now.
        """
        give_up_at = time.monotonic() + seconds
        try:
            fd = open_private(self._reports_path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0))
        except OSError:  # no file, or a full or read-only disk: nobody to keep apart but ourselves
            yield True
            return
        locked = False
        try:
            while not (locked := lock(fd)) and time.monotonic() < give_up_at:
                time.sleep(0.02)
            yield locked
        finally:
            if locked:
                unlock(fd)  # a child that was forked meanwhile has the file open, too
            os.close(fd)

    def _reports(self) -> list[dict[str, Any]]:
        try:
            lines = self._reports_path.read_bytes().splitlines()
        except OSError:
            lines = []
        written = [report for report in map(_report, lines) if report is not None]
        return written + _unwritten.get(self.id, [])

    def add_report(self, report: dict[str, Any]) -> None:
        """Note that the bytes ``from`` to ``to`` have been mailed already."""
        try:
            # A line of its own, even behind one that a process was killed over.
            append_private(self._reports_path, b"\n" + json.dumps(report).encode() + b"\n")
        except OSError:  # a full disk, say: what is mailed must not be mailed again, by this process at least
            _unwritten.setdefault(self.id, []).append(report)

    def set_aside(self, line: bytes) -> bool:
        """Keep a line that can't be imported for a person to look at; whether it is the segment's first."""
        path = self.path.with_suffix(".lines.bad")
        known = _known_bad.setdefault(self.id, set())
        if line in known or sum(map(len, known)) > BAD_BYTES:
            return False
        with contextlib.suppress(OSError):  # a full disk: the line is only warned of
            append_private(path, line + b"\n")
        known.add(line)
        return len(known) == 1


_unwritten: dict[str, list[dict[str, Any]]] = {}  # reports that their file would not take, by segment
_known_bad: dict[str, set[bytes]] = {}  # by segment: an import that is tried again meets the same lines again


_open: weakref.WeakSet[SegmentFile] = weakref.WeakSet()


def close_inherited() -> None:
    """In a forked child: what the parent has claimed must not stay claimed for as long as the child lives."""
    for segment in list(_open):
        if segment.fd >= 0:
            with contextlib.suppress(OSError):
                os.close(segment.fd)  # without a word to the lock, which is the parent's, too
            segment.fd = -1


class MemorySegment:
    """A segment of a process that can't write its folder: the same, but it doesn't outlive the process."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.host = HOST
        self.process = os.getpid()
        self._start = 0  # the offset of the first byte that is still held
        self._data = bytearray()
        self._reports: list[dict[str, Any]] = []
        self._lock = threading.RLock()
        self._reports_lock = threading.Lock()

    @property
    def size(self) -> int:
        """The offset behind its last byte."""
        return self._start + len(self._data)

    def append(self, line: bytes) -> None:
        """Keep a line; raise OSError when MEMORY_BYTES are held."""
        with self._lock:
            if len(self._data) + len(line) > MEMORY_BYTES:
                raise OSError(errno.ENOSPC, "no memory left for records")
            self._data += line

    def read(self, offset: int) -> tuple[list[bytes], int]:
        """As of a file."""
        with self._lock:
            start = max(0, offset - self._start)
            data = bytes(self._data[start : start + CHUNK_BYTES])
        end = data.rfind(b"\n") + 1
        return data[:end].split(b"\n")[:-1], max(offset, self._start) + end

    def remove_if_done(self, offset: int) -> bool:
        """Forget what is imported; the segment itself stays while the process lives."""
        with self._lock:
            del self._data[: max(0, offset - self._start)]
            self._start = max(self._start, offset)
        return False

    @contextlib.contextmanager
    def mailing(self) -> Iterator[None]:
        """As of a file."""
        if not self._reports_lock.acquire(timeout=COMMIT_WAIT):
            raise BlockingIOError("an import is being committed")
        try:
            yield
        finally:
            self._reports_lock.release()

    @contextlib.contextmanager
    def committing(self, reports: list[dict[str, Any]]) -> Iterator[None]:
        """As of a file."""
        if not self._reports_lock.acquire(blocking=False):
            raise Mailed
        try:
            if len(self._reports) != len(reports):
                raise Mailed
            yield
        finally:
            self._reports_lock.release()

    def reports(self, *, wait: bool = True) -> list[dict[str, Any]]:
        """As of a file."""
        if wait and self._reports_lock.acquire(timeout=MAILING_WAIT):
            self._reports_lock.release()
        return list(self._reports)

    def add_report(self, report: dict[str, Any]) -> None:
        """As of a file."""
        self._reports.append(report)

    def buffers(self) -> dict[str, dict[str, Any]]:
        """Nothing: who reads this memory has the handlers, too."""
        return {}

    def set_aside(self, line: bytes) -> bool:
        """Drop a line that can't be imported: this process wrote it, and the warning shows the error."""
        return True

    def close(self) -> None:
        """Nothing to close."""


def open_segment(path: Path) -> SegmentFile | None:
    """The segment in this file; None if it is gone, unreadable, another version's, or none (set aside)."""
    try:
        return SegmentFile(path)
    except FileNotFoundError:
        return None
    except OtherVersion as error:
        if path not in _skipped:
            _skipped.add(path)
            log.warning("segment left alone: path=%s error=%s", path, error)
    except BadSegment as error:
        set_aside(path, str(error))
    except OSError as error:
        if error.errno == errno.ELOOP:
            set_aside(path, "it is a symbolic link")
        else:  # no file descriptors left, say: it is still good
            log.warning("segment unreadable for now: path=%s error=%s", path, error)
    return None


_skipped: set[Path] = set()


def _header(data: bytes, segment_id: str) -> tuple[str, int]:
    """The host and process that a header line names."""
    header = _parse(data.partition(b"\n")[0])
    if header.get("maillog", FORMAT) != FORMAT:
        raise OtherVersion(f"its format is {header['maillog']!r}, this version reads {FORMAT}")
    if "maillog" not in header or header.get("id") != segment_id:
        raise BadSegment("its first line isn't its header")
    try:
        return str(header["host"])[:255], int(header["process"]) & 0x7FFFFFFF
    except (KeyError, TypeError, ValueError) as error:
        raise BadSegment(f"its header is broken: {error!r}") from error


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadSegment(f"a line isn't JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadSegment("a line isn't a JSON object")
    return value


def _report(line: bytes) -> dict[str, Any] | None:
    """A report; None if its writer was killed while it wrote, or it is none."""
    with contextlib.suppress(BadSegment):
        value = _parse(line)
        if (
            all(isinstance(value.get(name), (int, float)) for name in ("from", "to", "time"))
            and isinstance(value.get("mails"), dict)
            and all(isinstance(mail, dict) and mail.get("message_id") for mail in value["mails"].values())
        ):
            return value
    return None
