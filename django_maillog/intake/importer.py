"""Import segments: lines become records, groups and the open batch in one transaction with the offset."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError, connections, transaction

from .. import charset
from ..database_clock import DatabaseClock
from ..forks import forks
from ..models import Segment
from ..spool.folder import segment_paths
from ..spool.journal import journal
from ..spool.mailed import Mailed
from ..spool.sources import Source, segments
from ..transactions import (
    Changed,
    Overtaken,
    is_refused,
    is_too_large,
    lacks_character,
    retrying,
    step_aside,
    write_alias,
)
from .history import Configurations
from .reader import MAX_LINES, MAX_ROWS, SQLITE_ROWS, Chunk, Reader
from .sites import Overflowing
from .store import Mails, Part, parts, remove_empty

GAP_SECONDS = 0.005  # between two transactions on SQLite, in which others may write
READS_AHEAD = 3  # times that a chunk is read for before SQLite's lock is taken, if others keep writing

log = logging.getLogger("django_maillog")


def import_all(clock: Callable[[], datetime] | None = None) -> int:
    """Import every segment on this host and delete those that are done; the number of records."""
    return sum(chunk.records for chunk in import_chunks(clock or DatabaseClock()))


def import_chunks(clock: Callable[[], datetime], *, others: bool = True) -> Generator[Chunk, None, None]:
    """The same step by step: yields each chunk once it is imported.

    ``others=False`` leaves alone what other living processes import themselves. Raises django.db.Error if the
    database can't be used; nothing is imported twice or lost then.
    """
    failed: Exception | None = None
    offsets: dict[str, int] | None = None
    for source in segments(others=others):
        if offsets is None:
            offsets = _offsets([path.stem for path in segment_paths()])
        try:
            yield from _Import(source, clock).run(offsets.get(source.id))
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # whatever is wrong with one segment, the others must not wait for it
            log.exception("segment can't be imported: segment=%s", source.id)
            failed = error
    if failed is not None:
        raise failed


class _Import:
    """One pass over one segment."""

    def __init__(self, source: Source, clock: Callable[[], datetime]) -> None:
        self._source = source
        self._clock = clock
        self._configurations = Configurations(source)
        self._mailed_ranges: list[dict[str, Any]] = []
        self._has_row = False
        self._begin = 0
        self._unlocked_at = time.monotonic()

    def run(self, offset: int | None) -> Iterator[Chunk]:
        """Import the complete lines from an offset on; without a row (None) from where the file says.

        It is new then, or its row was pruned, or lost with the database.
        """
        self._has_row = offset is not None
        self._begin = self._source.imported if offset is None else offset
        max_rows = SQLITE_ROWS if connections[write_alias()].vendor == "sqlite" else MAX_ROWS
        reader = Reader(self._source, self._begin, max_rows=max_rows, codec=charset.codec_of(write_alias()))
        self._mailed_ranges = self._source.mailed_ranges()
        limit = MAX_LINES
        while chunk := reader.read(self._borders(), limit):
            try:
                self._take(chunk)
            except (Overtaken, Mailed):
                self._remove_empty(chunk)
                self._mailed_ranges = self._source.mailed_ranges()
                reader.seek(_offsets([self._source.id]).get(self._source.id, 0))
                continue
            except Overflowing as flood:
                reader.overflowing |= flood.sites
                reader.seek(chunk.start)
                continue
            except Exception as error:
                if not _is_refusal(error, chunk):
                    raise
                reader.seek(chunk.start)
                if lacks_character(error) and reader.escape_more():  # it didn't say so when it was asked
                    continue
                # One of these lines is poison: halve until it is alone, then keep it for a person to look at.
                if chunk.lines > 1:
                    limit = chunk.lines // 2
                    continue
                log.warning("line set aside: segment=%s error=%s", self._source.id, error)
                chunk = reader.skip_line(chunk.start)
                self._take(chunk)
            reader.note_stored(chunk)
            limit = MAX_LINES
            yield chunk
        self._finish(reader.offset)

    def _remove_empty(self, chunk: Chunk) -> None:
        """Another importer took the chunk: the batches that were made for it may have nothing to hold."""
        retrying(lambda: remove_empty(chunk.all_buffers()), write_alias())

    def _take(self, chunk: Chunk) -> None:
        """Everything of a chunk in one transaction; raises Overtaken if another importer was faster."""
        self._ensure_row()
        retrying(lambda: self._transact(chunk), write_alias())
        self._unlocked_at = time.monotonic()
        forks.pause()

    def _transact(self, chunk: Chunk) -> None:
        now, mailed = self._clock(), self._mailed(chunk)
        connection = connections[write_alias()]
        # Where a transaction locks everybody else out, all is read before it.
        reads_ahead = connection.vendor == "sqlite" and connection.get_autocommit() and not mailed
        for _try in range(READS_AHEAD if reads_ahead else 0):
            read = list(self._parts(chunk, mailed, now, lock=False))
            step_aside(write_alias(), max(0, self._unlocked_at + GAP_SECONDS - time.monotonic()))
            with suppress(Changed):
                self._commit(chunk, iter(read), now, check=True)
                return
        self._commit(chunk, self._parts(chunk, mailed, now, lock=True), now, check=False)

    def _parts(self, chunk: Chunk, mailed: Mails, now: datetime, *, lock: bool) -> Iterator[Part]:
        """What is to be written, ready; each part before the next is asked for, if rows are locked."""
        for part in parts(chunk, mailed, self._configurations, now):
            part.read(lock=lock)
            yield part

    def _commit(self, chunk: Chunk, ready: Iterator[Part], now: datetime, *, check: bool) -> None:
        """The transaction; Changed if parts were read ahead of it, and that isn't true any more."""
        # Held beyond the commit: what is being mailed straight from the spool must be imported as mailed.
        with ExitStack() as held:
            with transaction.atomic(using=write_alias()):
                # By compare-and-set, and first, so that SQLite's write lock is waited for.
                mine = Segment.objects.filter(pk=self._source.id, offset=chunk.start)
                if not mine.update(offset=chunk.end, seen_at=now):
                    raise Overtaken
                for part in ready:
                    part.write(check=check)
                held.enter_context(self._source.committing(self._mailed_ranges))
            self._source.note_imported(chunk.end)
            journal.note_imported(self._source.id, chunk.end, removed=False)

    def _ensure_row(self) -> None:
        """In a transaction of its own: within a chunk's, MySQL's importers would be each other's deadlock."""
        if not self._has_row:
            facts = {"id": self._source.id, "host": self._source.host, "process": self._source.process}
            row = Segment(**charset.storable_row(Segment, facts), offset=self._begin, seen_at=self._clock())
            Segment.objects.bulk_create([row], ignore_conflicts=True)
            self._has_row = True

    def _borders(self) -> list[int]:
        """Where what was mailed straight from the spool begins and ends: no chunk goes across."""
        return sorted({border for mailed in self._mailed_ranges for border in (mailed["from"], mailed["to"])})

    def _mailed(self, chunk: Chunk) -> Mails:
        """The mails that reported this chunk already, by buffer."""
        for mailed in self._mailed_ranges:
            if mailed["from"] <= chunk.start and chunk.end <= mailed["to"]:
                return {buffer: mail | {"time": mailed["time"]} for buffer, mail in mailed["mails"].items()}
        return {}

    def _finish(self, offset: int) -> None:
        removed = self._source.remove_if_done(offset)
        journal.note_imported(self._source.id, offset, removed=removed)
        if removed:
            # Again at each visit, should the file be there still: without its row it would be imported anew.
            Segment.objects.filter(pk=self._source.id).update(finished_at=self._clock())


def _is_refusal(error: Exception, chunk: Chunk) -> bool:
    """Whether the database will never take this chunk."""
    return is_refused(error) or is_too_large(error, write_alias(), chunk.end - chunk.start)


def _offsets(ids: list[str]) -> dict[str, int]:
    rows = Segment.objects.filter(pk__in=ids)
    return dict(rows.values_list("pk", "offset"))
