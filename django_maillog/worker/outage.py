"""While the database is away: a digest straight from the spool, as that news must not need the database."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .. import buffers, digest
from ..capture.captured import CapturedRecord
from ..forks import forks
from ..language import gettext as _
from ..language import gettext_noop, in_project_language
from ..models import Batch
from ..outbox.batches import new_message_id
from ..outbox.connection import Mailers, message
from ..outbox.targets import is_left_to_others, rules_of, target_of
from ..policy import Reason
from ..spool import lines, silenced, sources
from ..spool.configurations import Configuration
from ..spool.journal import journal
from ..spool.segment import HOST
from ..spool.silenced import Silenced
from ..spool.sources import Source
from .turn import Turn

# In one mail; the rest waits for the next.
MAX_RECORDS = 20_000
# After which a mail that did not go out is tried again.
RETRY_SECONDS = 60.0
AWAY = gettext_noop("The database is away, or answers errors.")
NO_CONNECTION = gettext_noop(
    "The database gives no connection: all that it allows, or its pool has, are in use."
)

log = logging.getLogger("django_maillog")


@dataclass
class _Found:
    """What the spool holds of one buffer."""

    values: list[CapturedRecord] = field(default_factory=list)
    lost: int = 0
    silenced: int = 0


@dataclass
class _Harvest:
    """What this host's segments hold that is neither imported nor mailed, and which bytes that is."""

    buffers: dict[str, _Found] = field(default_factory=lambda: defaultdict(_Found))
    configured: dict[str, Configuration] = field(default_factory=dict)
    ranges: list[tuple[Source, int, int]] = field(default_factory=list)
    records: int = 0
    silences: list[Silenced] = field(default_factory=silenced.read)

    def take(self, source: Source) -> None:
        """Read on from where the import is, or a mail was; at most MAX_RECORDS of all sources."""
        self.configured |= source.buffers()
        start = offset = _start(source)
        while self.records < MAX_RECORDS:
            raw_lines, end = source.read(offset)
            if not raw_lines:
                break
            for raw in raw_lines:
                self._add(lines.parse(raw, source))
            offset = end
        if offset > start:
            self.ranges.append((source, start, offset))

    def _add(self, line: lines.Line) -> None:
        if line.lost:
            self.buffers[line.buffer].lost += line.lost
        elif line.value is not None and self._is_silenced(line.buffer, line.value):
            self.buffers[line.buffer].silenced += 1
        elif line.value is not None:
            self.buffers[line.buffer].values.append(line.value)
            self.records += 1

    def _is_silenced(self, buffer: str, value: CapturedRecord) -> bool:
        time = value["time"]
        return any(silenced.covers(each, buffer, value, time, time) for each in self.silences)


class Mailer:
    """Mails what this host's spool holds, at most once in a ``group_interval``, whichever process does."""

    def __init__(self) -> None:
        self._turn = Turn()

    def mail(self, *, crowded: bool = False) -> int:
        """Mail what is neither imported nor mailed yet; the number of mails.

        No process imports a segment between our look at it and our note of what was mailed of it.
        ``crowded``: the database is there, and has no connection for us.
        """
        with ExitStack() as held:
            if not held.enter_context(self._turn.taken()):
                return 0
            harvest = _Harvest()
            for source in sources.everything():
                held.callback(source.close)
                if not source.read(_start(source))[0]:
                    continue
                # While an import of it is being committed: next time.
                with suppress(OSError):
                    held.enter_context(source.mailing())
                    harvest.take(source)
            mails = self._send_all(harvest, NO_CONNECTION if crowded else AWAY)
            for source, start, end in harvest.ranges if mails else ():
                source.add_mailed_range({"from": start, "to": end, "time": time.time(), "mails": mails})
        return len(mails)

    def _send_all(self, harvest: _Harvest, why: str) -> dict[str, dict[str, Any]]:
        """Mail each buffer; the facts of the mails that went out, by buffer."""
        mails = {}
        for buffer, found in harvest.buffers.items():
            if not (found.values or found.lost):
                continue
            known = Batch(buffer=buffer, **harvest.configured.get(buffer, {}))
            if is_left_to_others(known, datetime.now(UTC), everything=True):
                continue
            self._turn.wait(RETRY_SECONDS)
            try:
                mail = _send(buffer, found, target_of(known), why)
            except Exception as error:
                # A buffer with a broken target or template must not keep the others back.
                log.warning(
                    "the spool can't be mailed: buffer=%s error=%s: %s", buffer, type(error).__name__, error
                )
                continue
            if mail is not None:
                mails[buffer] = mail
                self._turn.wait(max(RETRY_SECONDS, rules_of(known).group_interval))
        return mails


def _start(source: Source) -> int:
    mailed = [int(each["to"]) for each in source.mailed_ranges(wait=False)]
    return max([source.imported, journal.imported.get(source.id, 0), *mailed])


@in_project_language
def _note(why: str) -> str:
    said = _(
        "This mail comes straight from the spool of %(host)s; everything will be in the database when it can "
        "be used again, and these records will not be mailed again."
    )
    return f"{_(why)} {said % {'host': HOST}}"


def _send(buffer: str, found: _Found, target: buffers.Target, why: str) -> dict[str, Any] | None:
    """Mail one buffer's records; the mail's facts, or None if it didn't go out."""
    addressee = buffers.addressee(target)
    if not addressee.recipients:
        return None
    report = digest.summarize(found.values, buffer=buffer, reason=Reason.OUTAGE, now=datetime.now(UTC))
    report.record_count += found.lost + found.silenced
    report.lost_count, report.silenced_count = found.lost, found.silenced
    report.note = _note(why)
    report.message_id = new_message_id("outage", addressee.sender)
    rendered = digest.render(report, subject=target.get_digest_subject(report))
    mail = message(rendered, digest.headers(report), sender=addressee.sender, recipients=addressee.recipients)
    with forks.put_off(), closing(Mailers()) as mailers:
        verdict = mailers.send(target, mail)
    if not verdict.sent:
        log.warning("the spool can't be mailed: buffer=%s error=%s", buffer, verdict.error)
        return None
    return {
        "message_id": report.message_id,
        **addressee._asdict(),
        "subject": rendered.subject,
        "text": rendered.text,
        "html": rendered.html,
    }
