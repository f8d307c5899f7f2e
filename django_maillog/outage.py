"""While the database is away: a digest straight from the spool, so that "the database is down" doesn't need the database."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import make_msgid
from typing import Any

from . import conf, digest, lines
from .delivery import Connection, message
from .policy import Reason
from .spool import SegmentFile, Source, segment_paths, spool

MAX_RECORDS = 20_000  # in one mail; the rest waits for the next
NOTE = (
    "The database is away, or answers errors. This mail comes straight from the spool of one process; "
    "everything will be in the database when it is back, and these records will not be mailed again."
)

log = logging.getLogger("django_maillog")


@dataclass
class _Found:
    """What the spool holds of one buffer, and from where."""

    values: list[dict[str, Any]] = field(default_factory=list)
    lost: int = 0


class Mailer:
    """Mails what this process's spool holds, each buffer at most once in its ``group_interval``."""

    def __init__(self) -> None:
        self._next_at: dict[str, float] = {}  # by buffer, monotonic

    def mail(self) -> int:
        """Mail what is neither imported nor mailed yet; the number of mails."""
        with spool.mailing:
            return sum(self._mail_segment(source) for source in _own_segments())

    def _mail_segment(self, source: Source) -> int:
        start = max([spool.imported.get(source.id, 0)] + [report["to"] for report in source.reports()])
        found, end = _read(source, start)
        now = time.monotonic()
        if not found or any(now < self._next_at.get(buffer, 0) for buffer in found):
            return 0
        mails = {}
        for buffer, content in found.items():
            handler = conf.find_buffer(buffer)
            if handler is None:
                continue
            self._next_at[buffer] = now + handler.rules.group_interval
            sent = _send(buffer, content, handler.target)
            if sent:
                mails[buffer] = sent
        if mails:
            source.add_report({"from": start, "to": end, "time": time.time(), "mails": mails})
        return len(mails)


def _own_segments() -> list[Source]:
    memory = spool.memory()
    sources: list[Source] = [memory] if memory is not None else []
    return sources + [SegmentFile(path) for path in segment_paths() if path.stem in spool.imported]


def _read(source: Source, start: int) -> tuple[dict[str, _Found], int]:
    found: dict[str, _Found] = defaultdict(_Found)
    number, offset = 0, start
    while number < MAX_RECORDS:
        raw_lines, end = source.read(offset)
        if not raw_lines:
            break
        for raw in raw_lines:
            line = lines.parse(raw, source)
            if line.lost:
                found[line.buffer].lost += line.lost
            elif line.value is not None:
                found[line.buffer].values.append(line.value)
                number += 1
        offset = end
    return found, offset


def _send(buffer: str, content: _Found, target: Any) -> dict[str, Any] | None:
    """Mail one buffer's records; the mail's facts, or None if it didn't go out."""
    recipients = target.get_recipients()
    if not recipients:
        return None
    report = digest.summarize(content.values, buffer=buffer, reason=Reason.OUTAGE, now=datetime.now(UTC))
    report.record_count += content.lost
    report.lost_count = content.lost
    report.note = NOTE
    report.message_id = make_msgid("maillog-outage")
    sender = target.get_sender()
    rendered = digest.render(report, subject=target.get_digest_subject(report))
    connection = Connection(target)
    try:
        verdict = connection.send(message(rendered, digest.headers(report), sender=sender, recipients=recipients))
    finally:
        connection.close()
    if not verdict.sent:
        log.warning("the spool can't be mailed: buffer=%s error=%s", buffer, verdict.error)
        return None
    return {
        "message_id": report.message_id,
        "sender": sender,
        "recipients": recipients,
        "using": target.using or "",
        "subject": rendered.subject,
        "text": rendered.text,
        "html": rendered.html,
    }
