"""Import segments: lines become records, groups and the open batch in one transaction with the offset."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from functools import partial
from typing import Any

from django.db import InterfaceError, OperationalError, connections, router, transaction
from django.utils import timezone

from ..models import Segment
from ..spool.folder import segment_paths
from ..spool.journal import journal
from ..spool.segment import Mailed, Source
from ..spool.sources import segments
from ..transactions import Changed, Lost, is_refused, retrying, step_aside
from .history import Configurations
from .reader import MAX_LINES, MAX_ROWS, SQLITE_ROWS, Chunk, Reader
from .store import Part, prepare

GAP = 0.005  # seconds between two transactions in which others may write; reading lines is a part of them
READS_AHEAD = 3  # times that a chunk is read for before SQLite's lock is taken, if others keep writing

log = logging.getLogger("django_maillog")


def import_all(clock: Callable[[], datetime] = timezone.now, *, others: bool = True) -> int:
    """Import every segment on this host and delete those that are done; the number of records.

    ``others=False`` leaves alone what other living processes import themselves.
    """
    return sum(import_chunks(clock, others=others))


def import_chunks(
    clock: Callable[[], datetime] = timezone.now, *, others: bool = True
) -> Generator[int, None, None]:
    """The same step by step: yields the number of records after each chunk.

    Raises django.db.Error if the database can't be used; nothing is imported twice or lost then.
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
        self._alias = router.db_for_write(Segment)
        self._source = source
        self._clock = clock
        self._configurations = Configurations(source)
        self._reports: list[dict[str, Any]] = []
        self._known = False  # whether the segment has its row
        self._unlocked_at = time.monotonic()

    def run(self, offset: int | None) -> Iterator[int]:
        """Import the complete lines from an offset (None: it has no row); yields numbers of records."""
        self._known = offset is not None
        offset = offset or 0
        limit = MAX_LINES
        max_rows = SQLITE_ROWS if connections[self._alias].vendor == "sqlite" else MAX_ROWS
        reader = Reader(self._source, offset, max_rows)
        self._reports = self._source.reports()
        while chunk := reader.read(self._borders(), limit):
            try:
                self._take(chunk)
            except (Lost, Mailed):
                self._reports = self._source.reports()
                offset = _offsets([self._source.id]).get(self._source.id, 0)
                reader.seek(offset)
                continue
            except Exception as error:
                if not is_refused(error):
                    raise
                # One of these lines is poison: halve until it is alone, then keep it for a person to look at.
                reader.seek(chunk.start)
                if chunk.lines > 1:
                    limit = chunk.lines // 2
                    continue
                log.warning("line set aside: segment=%s error=%s", self._source.id, error)
                chunk = reader.skip_line(chunk.start)
                self._take(chunk)
            chunk.note_frequent()
            offset = chunk.end
            limit = MAX_LINES
            yield chunk.records
        self._finish(offset)

    def _take(self, chunk: Chunk) -> None:
        """Everything of a chunk in one transaction; raises Lost if another importer was faster."""
        step_aside(self._alias, max(0, self._unlocked_at + GAP - time.monotonic()))
        self._ensure_row()
        retrying(lambda: self._transact(chunk), self._alias)
        self._unlocked_at = time.monotonic()

    def _transact(self, chunk: Chunk) -> None:
        now, mailed = self._clock(), self._mailed(chunk)
        read = partial(prepare, self._alias, chunk, mailed, self._configurations, now)
        for _try in range(READS_AHEAD if self._reads_ahead(mailed) else 0):
            with suppress(Changed):
                self._commit(chunk, list(read()), now, ahead=True)
                return
        self._commit(chunk, read(), now)

    def _reads_ahead(self, mailed: dict[str, dict[str, Any]]) -> bool:
        """Whether to read before the transaction: where it would lock everybody else out while it reads."""
        connection = connections[self._alias]
        return connection.vendor == "sqlite" and connection.get_autocommit() and not mailed

    def _commit(self, chunk: Chunk, parts: Iterable[Part], now: datetime, *, ahead: bool = False) -> None:
        """The transaction; Changed if parts were read ahead of it, and that isn't true any more."""
        # Held beyond the commit: what is being mailed straight from the spool must be imported as mailed.
        with ExitStack() as held:
            with transaction.atomic(using=self._alias):
                # By compare-and-set, and first, so that SQLite's write lock is waited for.
                mine = Segment.objects.using(self._alias).filter(pk=self._source.id, offset=chunk.start)
                if not mine.update(offset=chunk.end, seen_at=now):
                    raise Lost
                for part in parts:
                    part.write(ahead=ahead)
                held.enter_context(self._source.committing(self._reports))
            journal.note_imported(self._source.id, chunk.end, removed=False)

    def _ensure_row(self) -> None:
        """In a transaction of its own: within a chunk's, MySQL's importers would be each other's deadlock."""
        if not self._known:
            facts = {"id": self._source.id, "host": self._source.host, "process": self._source.process}
            row = Segment(**facts, seen_at=self._clock())
            Segment.objects.using(self._alias).bulk_create([row], ignore_conflicts=True)
            self._known = True

    def _borders(self) -> list[int]:
        """Where what was mailed straight from the spool begins and ends: no chunk goes across."""
        return sorted({border for report in self._reports for border in (report["from"], report["to"])})

    def _mailed(self, chunk: Chunk) -> dict[str, dict[str, Any]]:
        """The mails that reported this chunk already, by buffer."""
        for report in self._reports:
            if report["from"] <= chunk.start and chunk.end <= report["to"]:
                return {buffer: mail | {"time": report["time"]} for buffer, mail in report["mails"].items()}
        return {}

    def _finish(self, offset: int) -> None:
        removed = self._source.remove_if_done(offset)
        journal.note_imported(self._source.id, offset, removed=removed)
        if removed:
            # Again at each visit, should the file be there still: without its row it would be imported anew.
            Segment.objects.using(self._alias).filter(pk=self._source.id).update(finished_at=self._clock())


def _offsets(ids: list[str]) -> dict[str, int]:
    rows = Segment.objects.using(router.db_for_write(Segment)).filter(pk__in=ids)
    return dict(rows.values_list("pk", "offset"))
