"""A report becomes a mail within its limits: text, HTML and attachments."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable
from itertools import product

from ..capture.captured import CapturedRecord
from ..capture.plain import json_line
from ..language import gettext as _
from ..language import in_project_language, ngettext
from .excerpts import one_line
from .headers import SUBJECT_LIMIT, subject_of
from .page import SIZES, Composer
from .report import Attachment, Digest, Report
from .templating import TEMPLATES
from .templating import render as render_templates
from .words import any_records

# Bytes. Gmail clips HTML at about 102 kB.
HTML_LIMIT = 90_000
TEXT_LIMIT = 200_000
# Text and HTML, and what is attached, as they are encoded in the mail: with the headers below 1 MB.
PARTS_LIMIT = 380_000
ATTACHMENTS_LIMIT = 590_000


@in_project_language
def render(report: Report, *, subject: str | None = None) -> Digest:
    """The whole mail, within its limits: HTML below 90 kB, everything below 1 MB."""
    line = subject_of(report) if subject is None else one_line(subject, SUBJECT_LIMIT)
    attachments, remarks = _attachments(report)
    if report.subject_error:
        said = _("The project's getSubject() failed (%(reason)s); this mail's subject is the package's own.")
        remarks.append(said % {"reason": one_line(report.subject_error, 300)})
    text, html = _pages(report, remarks)
    return Digest(subject=line, text=text, html=html, attachments=attachments)


def _pages(report: Report, remarks: list[str]) -> tuple[str, str]:
    """Text and HTML in the first size that fits, by the project's templates if one does."""
    composer = Composer(report)
    too_large = _("The project's templates make this mail too large; these are the package's own.")
    for (own, said), size in product([((), []), (TEMPLATES, [too_large])], SIZES):
        text, html = render_templates(composer.context(size, remarks + said), own=own)
        if _fits(text.encode(), html.encode()):
            break
    return text, html


def _fits(text: bytes, html: bytes) -> bool:
    encoded = encoded_size(text) + encoded_size(html)
    return len(text) < TEXT_LIMIT and len(html) < HTML_LIMIT and encoded < PARTS_LIMIT


def _attachments(report: Report) -> tuple[list[Attachment], list[str]]:
    """The records and the technical reports as far as they fit, and what to say of them."""
    attachments, remarks = _technical_reports(report)
    # What led to a record, the mail shows in short.
    has_context = any(group.sample and group.sample.get("context") for group in report.groups)
    if report.records is None or (report.record_count <= 1 and not has_context):
        return attachments, remarks
    room = ATTACHMENTS_LIMIT - sum(encoded_size(each.content) for each in attachments)
    content, number = compress(report.records(), room * 5 // 7 - 500)
    if content is None:
        said = _("The %(records)s are not attached: they would make this mail larger than 1 MB.")
        remarks.append(said % {"records": any_records(report.record_count)})
    elif number:
        attachments.append(Attachment(name="records.jsonl.gz", content=content, mimetype="application/gzip"))
        remarks.append(
            ngettext(
                "All records are attached: records.jsonl.gz, %(number)s line.",
                "All records are attached: records.jsonl.gz, %(number)s lines.",
                number,
            )
        )
    return attachments, remarks


def _technical_reports(report: Report) -> tuple[list[Attachment], list[str]]:
    """Those of new groups; they take half of the room at most, so that they don't push out the records."""
    attachments: list[Attachment] = []
    missing, room = 0, ATTACHMENTS_LIMIT // 2
    for group in report.ranked if report.include_html else ():
        html = group.is_news and group.sample and group.sample.get("html")
        if not html:
            continue
        content = html.encode("utf-8", "replace")
        if encoded_size(content) > room:
            missing += 1
            continue
        room -= encoded_size(content)
        name = f"report-{len(attachments) + 1}.html"
        attachments.append(Attachment(name=name, content=content, mimetype="text/html"))
    if not missing:
        return attachments, []
    said = ngettext(
        "%(number)s technical report not attached, to keep this mail below 1 MB.",
        "%(number)s technical reports not attached, to keep this mail below 1 MB.",
        missing,
    )
    return attachments, [said]


def encoded_size(content: bytes) -> int:
    """The most that the content can take in a mail, whether as base64 or quoted-printable."""
    quoted = len(content) + 2 * len(content.translate(None, PRINTABLE))
    return max(quoted + quoted // 20, len(content) * 7 // 5) + 500


PRINTABLE = bytes(code for code in range(32, 127) if code != ord("=")) + b"\n"


def compress(records: Iterable[CapturedRecord], room: int) -> tuple[bytes | None, int]:
    """All records as gzipped JSON lines, without their technical reports, and the number of lines.

    As soon as they are more than ``room`` bytes, no further record is read and the content is None.
    """
    buffer = io.BytesIO()
    number = 0
    # No time and no name in the header: the same records make the same bytes at each retry.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=6, mtime=0) as lines:
        for record in records:
            number += 1
            lines.write(json_line({key: value for key, value in record.items() if key != "html"}))
            if buffer.tell() > room:
                return None, number
    content = buffer.getvalue()
    return (content if len(content) <= room else None), number
