"""The last resort of a process that can't write its spool folder."""

from __future__ import annotations

import errno
import os
import threading
import uuid

from .configurations import Configuration
from .mailed import Mailable
from .segment import CHUNK_BYTES, HOST

MEMORY_BYTES = 16 * 1024 * 1024


class MemorySegment(Mailable):
    """A segment that doesn't outlive its process."""

    def __init__(self) -> None:
        super().__init__()
        self.id = uuid.uuid4().hex
        self.host = HOST
        self.process = os.getpid()
        self.imported = 0
        self._start = 0  # the offset of the first byte that is still held
        self._data = bytearray()
        self._lock = threading.RLock()

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

    def note_imported(self, offset: int) -> None:
        """As of a file."""
        self.imported = offset

    def remove_if_done(self, offset: int) -> bool:
        """Forget what is imported; the segment itself stays while the process lives."""
        with self._lock:
            del self._data[: max(0, offset - self._start)]
            self._start = max(self._start, offset)
        return False

    def buffers(self) -> dict[str, Configuration]:
        """Nothing: who reads this memory has the handlers, too."""
        return {}

    def set_aside(self, line: bytes) -> bool:
        """Drop a line that can't be imported: this process wrote it, and the warning shows the error."""
        return True

    def close(self) -> None:
        """Nothing to close."""
