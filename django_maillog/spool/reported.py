"""What was mailed of a segment without the database, so that no record is mailed twice.

Such a mail and the commit of an import exclude each other: both hold the segment's lock meanwhile. An import
that finds more than it knew of starts over.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .files import append_private, lock, open_private, unlock

# An import waits so long for a mail that is being made of the segment.
MAILING_WAIT_SECONDS = 60.0
# Such a mail waits so long for an import that is being committed: it may be stuck.
COMMIT_WAIT_SECONDS = 1.0


class Mailed(Exception):
    """A mail was made of the segment, or is being made: an import has to look again."""


class Reported:
    """The mails that were made of a segment in memory."""

    def __init__(self) -> None:
        self._reports: list[dict[str, Any]] = []
        self._reports_lock = threading.Lock()

    @contextlib.contextmanager
    def mailing(self) -> Iterator[None]:
        """Held while a mail is made of this segment; raises BlockingIOError while an import commits."""
        with self._locked(COMMIT_WAIT_SECONDS) as locked:
            if not locked:
                raise BlockingIOError("an import is being committed")
            yield

    @contextlib.contextmanager
    def committing(self, reports: list[dict[str, Any]]) -> Iterator[None]:
        """Held while an import is committed; raises Mailed if there are more reports, or soon will be."""
        with self._locked(0) as locked:
            if not locked or len(self._read()) != len(reports):
                raise Mailed
            yield

    def reports(self, *, wait: bool = True) -> list[dict[str, Any]]:
        """What was mailed straight from here: from, to (bytes), time, and the mails' facts by buffer.

        Unless told not to, waits until a mail that is being made of this segment is out.
        """
        if wait:
            with self._locked(MAILING_WAIT_SECONDS, create=False):
                return self._read()
        return self._read()

    def add_report(self, report: dict[str, Any]) -> None:
        """Note that the bytes ``from`` to ``to`` have been mailed already."""
        self._reports.append(report)

    @contextlib.contextmanager
    def _locked(self, seconds: float, *, create: bool = True) -> Iterator[bool]:
        """Whether the lock could be had within this time."""
        locked = self._reports_lock.acquire(timeout=seconds)
        try:
            yield locked
        finally:
            if locked:
                self._reports_lock.release()

    def _read(self) -> list[dict[str, Any]]:
        return list(self._reports)


class ReportedFile(Reported):
    """The same of a segment file, in a file beside it that other processes read."""

    def __init__(self, segment: Path) -> None:
        self.path = segment
        self._reports = _unwritten.get(segment.stem, [])

    @property
    def reports_path(self) -> Path:
        return self.path.with_suffix(".reported")

    def add_report(self, report: dict[str, Any]) -> None:
        """As in memory, which takes over where the disk is full: this process doesn't mail it again."""
        try:
            # A line of its own, even behind one that a process was killed over.
            append_private(self.reports_path, b"\n" + json.dumps(report).encode() + b"\n")
        except OSError:
            self._reports = _unwritten.setdefault(self.path.stem, [])
            self._reports.append(report)

    @contextlib.contextmanager
    def _locked(self, seconds: float, *, create: bool = True) -> Iterator[bool]:
        """As in memory. Who only reads creates no file: another may have removed it with its segment."""
        give_up_at = time.monotonic() + seconds
        try:
            fd = open_private(self.reports_path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0))
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

    def _read(self) -> list[dict[str, Any]]:
        try:
            lines = self.reports_path.read_bytes().splitlines()
        except OSError:
            lines = []
        return [*filter(None, map(_report, lines)), *self._reports]


# Reports that their file would not take, by segment.
_unwritten: dict[str, list[dict[str, Any]]] = {}


def _report(line: bytes) -> dict[str, Any] | None:
    """A report; None if its writer was killed while it wrote, or it is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("mails"), dict):
        return None
    mails = all(isinstance(mail, dict) and mail.get("message_id") for mail in value["mails"].values())
    numbers = all(isinstance(value.get(name), (int, float)) for name in ("from", "to", "time"))
    return value if mails and numbers else None
