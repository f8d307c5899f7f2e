"""The subject and the headers of a mail."""

from __future__ import annotations

import logging
import re
from datetime import UTC
from email.utils import format_datetime
from urllib.parse import urlsplit

from .. import conf
from ..language import formatted, in_project_language, ngettext
from ..language import gettext as _
from .excerpts import one_line
from .report import Report
from .words import any_records, level_name

SUBJECT_LIMIT = 120


@in_project_language
def subject_of(report: Report, *, prefix: str = "") -> str:
    """One line of at most 120 characters: "ERROR ×213 ZeroDivisionError: division by zero (+2 more)"."""
    prefix = _prefix(prefix)
    return prefix + _subject(report, SUBJECT_LIMIT - len(prefix))


def headers(report: Report) -> dict[str, str]:
    """All headers but From, To and Subject; no text of a record in any."""
    buffer = _slug(report.buffer)
    result = {
        "Date": format_datetime(report.sealed_at.astimezone(UTC)),
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "OOF, AutoReply",
        "List-Id": f"<{buffer}.maillog.{_host(report)}>",
        "X-Maillog-Buffer": buffer,
        "X-Maillog-Reason": _slug(report.reason),
        "X-Maillog-Level": _slug(level_name(report.level)),
        "X-Maillog-Groups": str(report.group_count),
        "X-Maillog-Count": str(report.record_count),
    }
    if report.message_id:
        result["Message-ID"] = _identifier(report.message_id)
    if report.references:
        result["References"] = _identifier(report.references)
        result["In-Reply-To"] = _identifier(report.references).split(" ")[-1]
    if report.batch_id is not None:
        result["X-Maillog-Batch"] = str(report.batch_id)
    if report.level >= logging.CRITICAL:
        result["Importance"] = "high"
    return result


def _subject(report: Report, room: int) -> str:
    if not report.groups:
        return one_line(f"{level_name(report.level)}: {any_records(report.record_count)}", room)
    worst = report.ranked[0]
    level = level_name(worst.level)
    title = one_line(worst.title, 200) or _("(no message)")
    if report.references and report.group_count == 1 and not worst.is_news:
        return one_line(f"Re: {level} {title}", room)
    head = f"{level} ×{formatted(worst.count)} " if report.reported_count > 1 else f"{level} "
    others = ngettext("+%(number)s more", "+%(number)s more", report.group_count - 1)
    tail = f" ({others})" if report.group_count > 1 else ""
    return one_line(head + one_line(title, max(room - len(head) - len(tail), 10)) + tail, room)


def _prefix(prefix: str) -> str:
    """The prefix on one line with its trailing space, cut where it would leave no room for the subject."""
    line = one_line(prefix, SUBJECT_LIMIT // 2)
    return f"{line} " if line and prefix[-1:].isspace() else line


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text[:200]).strip("-")[:60] or "maillog"


def _identifier(text: str) -> str:
    """A Message-ID, or several with blanks between them, as one printable line."""
    return re.sub(r"[^\x21-\x7e]+", " ", text).strip()[:900]


def _host(report: Report) -> str:
    site = urlsplit(conf.or_default(conf.site_url))
    host = site.hostname or report.message_id.rpartition("@")[2].strip("<> ")
    return ascii_domain(host) or "localhost"


def ascii_domain(domain: str) -> str:
    """A domain as it may stand in a header, in punycode if it must; "" if it is none."""
    try:
        domain = domain.encode("idna").decode()
    except UnicodeError:
        return ""
    return domain if re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", domain) else ""
