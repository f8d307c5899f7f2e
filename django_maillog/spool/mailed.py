"""What was mailed of a segment without the database, so that no record is mailed twice.

Such a mail and the commit of an import exclude each other: both hold the segment's lock meanwhile. An import
that finds more than it knew of starts over.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .files import append_private, open_locked

# Of the file beside a segment; older and newer versions read it, too.
SUFFIX = ".reported"
# An import waits so long for a mail that is being made of the segment.
MAILING_WAIT_SECONDS = 60.0
# Such a mail waits so long for an import that is being committed: it may be stuck.
COMMIT_WAIT_SECONDS = 1.0

# Bytes of a segment ("from", "to"), the "time", and the facts of the "mails" with what they hold, by buffer.
MailedRange = dict[str, Any]


class Mailed(Exception):
    """A mail was made of the segment, or is being made: an import has to look again."""


class Mailable:
    """What mails were made of a segment in memory."""

    def __init__(self) -> None:
        self._mailed_ranges: list[MailedRange] = []
        self._mailing_lock = threading.Lock()

    @contextlib.contextmanager
    def mailing(self) -> Iterator[None]:
        """Held while a mail is made of this segment; raises BlockingIOError while an import commits."""
        with self._locked(COMMIT_WAIT_SECONDS) as locked:
            if not locked:
                raise BlockingIOError("an import is being committed")
            yield

    @contextlib.contextmanager
    def committing(self, known: list[MailedRange]) -> Iterator[None]:
        """Held while an import is committed; raises Mailed if more was mailed, or soon will be."""
        with self._locked(0) as locked:
            if not locked or len(self._read()) != len(known):
                raise Mailed
            yield

    def mailed_ranges(self, *, wait: bool = True) -> list[MailedRange]:
        """What was mailed straight from here; waits until a mail that is being made of it is out."""
        if wait:
            with self._locked(MAILING_WAIT_SECONDS, create=False):
                return self._read()
        return self._read()

    def add_mailed_range(self, mailed: MailedRange) -> None:
        """Note what has been mailed."""
        self._mailed_ranges.append(mailed)

    @contextlib.contextmanager
    def _locked(self, seconds: float, *, create: bool = True) -> Iterator[bool]:
        """Whether the lock could be had within this time."""
        locked = self._mailing_lock.acquire(timeout=seconds)
        try:
            yield locked
        finally:
            if locked:
                self._mailing_lock.release()

    def _read(self) -> list[MailedRange]:
        return list(self._mailed_ranges)


class MailableFile(Mailable):
    """The same of a segment file, in a file beside it that other processes read."""

    def __init__(self, segment: Path) -> None:
        self.path = segment
        self.mailed_path = segment.with_suffix(SUFFIX)
        self._mailed_ranges = _unwritten.get(segment.stem, [])

    def add_mailed_range(self, mailed: MailedRange) -> None:
        """As in memory, which takes over where the disk is full: this process doesn't mail it again."""
        try:
            # A line of its own, even behind one that a process was killed over.
            append_private(self.mailed_path, b"\n" + json.dumps(mailed).encode() + b"\n")
        except OSError:
            self._mailed_ranges = _unwritten.setdefault(self.path.stem, [])
            self._mailed_ranges.append(mailed)

    @contextlib.contextmanager
    def _locked(self, seconds: float, *, create: bool = True) -> Iterator[bool]:
        """As in memory. Who only reads creates no file: another may have removed it with its segment."""
        flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0)
        with contextlib.ExitStack() as stack:
            try:
                _fd, locked = stack.enter_context(open_locked(self.mailed_path, flags, seconds=seconds))
            except OSError:  # no file, or a full or read-only disk: nobody to keep apart but ourselves
                locked = True
            yield locked

    def _read(self) -> list[MailedRange]:
        try:
            lines = self.mailed_path.read_bytes().splitlines()
        except OSError:
            lines = []
        return [*filter(None, map(_parse, lines)), *self._mailed_ranges]


# What their file would not take, by segment.
_unwritten: dict[str, list[MailedRange]] = {}


def _parse(line: bytes) -> MailedRange | None:
    """What a line says; None if its writer was killed while it wrote, or it is nonsense."""
    with contextlib.suppress(ValueError, RecursionError, TypeError, KeyError, AttributeError):
        value: MailedRange = json.loads(line)
        mails = all(mail["message_id"] for mail in value["mails"].values())
        if mails and all(isinstance(value[name], (int, float)) for name in ("from", "to", "time")):
            return value
    return None
