"""Segments to read: the files in the spool folder.

A segment is an append-only file of JSON lines that starts with a header line. Its owner, one process, holds a
file lock on it for life; anyone on the host may read it meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from ..capture.text import safe_text
from . import configurations
from .configurations import Configuration
from .files import (
    append_private,
    is_ours,
    leave_alone,
    lock,
    open_private,
    pread,
    set_aside,
    unlock,
    warn_once,
)
from .lines import OFFSET_DIGITS, BadSegment, Header, NotOurs, imported_in
from .mailed import MailableFile

__all__ = ["BadSegment", "NotOurs", "SegmentFile", "open_segment"]

HEADER_BYTES = 4096
CHUNK_BYTES = 2 * 1024 * 1024
MAX_LINE_BYTES = CHUNK_BYTES - 1
# Of the lines that are set aside so many bytes are kept, for each segment.
BAD_BYTES = 1024 * 1024
HOST = safe_text(socket.gethostname(), 255)


class SegmentFile(MailableFile):
    """A segment in the spool folder, open to be read."""

    def __init__(self, path: Path, fd: int, header: Header, size: int) -> None:
        super().__init__(path)
        self.fd = fd
        self.id, self.host, self.process = header
        self.size = size
        self._claimed = False
        self._configured: dict[str, Configuration] | None = None

    @classmethod
    def open(cls, path: Path) -> SegmentFile:
        """Open it; raise BadSegment, NotOurs, or OSError if it can't be opened or is gone."""
        fd = open_private(path, os.O_RDONLY)
        try:
            found = os.fstat(fd)
            if not is_ours(found):
                raise NotOurs(f"it belongs to user {found.st_uid}")
            if not stat.S_ISREG(found.st_mode) or not re.fullmatch(r"[\w-]{1,32}", path.stem, re.ASCII):
                raise BadSegment("it isn't a file with a segment's name")
            header = Header.parse(_first_line(fd), path.stem)
        except BaseException:
            os.close(fd)
            raise
        segment = cls(path, fd, header, found.st_size)
        _open.add(segment)
        return segment

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
        if not end and len(data) == CHUNK_BYTES:
            set_aside(self.path, f"a line is longer than {MAX_LINE_BYTES} bytes")
        return data[:end].split(b"\n")[:-1], offset + end

    @property
    def imported(self) -> int:
        """Up to which byte it is imported, as the last import noted; an older version noted nothing."""
        noted, _position = imported_in(_first_line(self.fd))
        return noted if noted <= self.size else 0

    def note_imported(self, offset: int) -> None:
        """Note in the header how far it is imported; after a killed import it is behind the truth."""
        _noted, position = imported_in(_first_line(self.fd))
        if position < 0:
            return
        with (
            contextlib.suppress(OSError),  # a read-only or full disk
            # Without a buffer, which a fork would copy.
            open(open_private(self.path, os.O_RDWR), "r+b", buffering=0) as file,
        ):
            file.seek(position)
            file.write(f"{offset:0{OFFSET_DIGITS}}".encode())

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
        # The segment last: while it is there, somebody comes again.
        for path in (self.mailed_path, self.path):
            with contextlib.suppress(OSError):
                path.unlink()
        return True

    def buffers(self) -> dict[str, Configuration]:
        """How the buffers in this segment were configured by its owner, by name; read once, to its end."""
        if self._configured is None:
            self._configured = dict(self._configurations())
        return self._configured

    def _configurations(self) -> Iterator[tuple[str, Configuration]]:
        lines, offset = self.read(0)
        while lines:
            for line in lines:
                if line.startswith(configurations.LINE_START):
                    try:
                        yield configurations.parse(line)
                    except (TypeError, ValueError) as error:  # BadSegment is one
                        warn_once("configuration ignored: segment=%s error=%s", self.path, error)
            lines, offset = self.read(offset)

    def set_aside(self, line: bytes) -> bool:
        """Keep a line that can't be imported for a person to look at; whether it is the segment's first."""
        known = _known_bad.setdefault(self.id, set())
        if line in known or sum(map(len, known)) > BAD_BYTES:
            return False
        with contextlib.suppress(OSError):  # a full disk: the line is only warned of
            append_private(self.path.with_suffix(".lines.bad"), line + b"\n")
        known.add(line)
        return len(known) == 1


def _first_line(fd: int) -> bytes:
    return pread(fd, HEADER_BYTES, 0).partition(b"\n")[0]


# By segment: an import that is tried again meets the same lines again.
_known_bad: dict[str, set[bytes]] = {}
_open: weakref.WeakSet[SegmentFile] = weakref.WeakSet()


def close_inherited() -> None:
    """In a forked child: what the parent has claimed must not stay claimed for as long as the child lives."""
    for segment in list(_open):
        if segment.fd >= 0:
            with contextlib.suppress(OSError):
                os.close(segment.fd)  # without a word to the lock, which is the parent's, too
            segment.fd = -1


def open_segment(path: Path) -> SegmentFile | None:
    """The segment in this file; None if it is gone, unreadable, somebody else's, or none (set aside)."""
    try:
        return SegmentFile.open(path)
    except (FileNotFoundError, ImproperlyConfigured):  # a wrong MAILLOG_PROJECT: a system check reports it
        return None
    except BadSegment as error:
        set_aside(path, str(error))
    except (NotOurs, OSError) as error:
        if getattr(error, "errno", None) == errno.ELOOP:
            set_aside(path, "it is a symbolic link")
        else:  # another's; or no file descriptors are left, say, and the next import tries again
            leave_alone(path, error)
    return None
