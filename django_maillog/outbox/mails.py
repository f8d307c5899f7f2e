"""The mail of a batch: made once for all its retries, shown to people, saved as a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.core.mail import EmailMultiAlternatives
from django.utils import timezone

from .. import buffers, digest, links
from ..language import gettext as _
from ..language import in_project_language
from ..models import Batch, Status
from .connection import message
from .contents import report
from .notes import Notes
from .targets import target_of


def preview(batch: Batch) -> digest.Digest:
    """The mail of a batch: as it was sent, or as it would be now; its links are hidden from who looks."""
    if batch.text:
        found = digest.Digest(subject=batch.subject, text=batch.text, html=batch.html)
    else:
        with buffers.muted():
            shown = report(batch, timezone.now())
            shown.records = None  # what would be attached is not looked at
            found = _render(shown, target_of(batch))
    _hide_links(found)
    return found


def eml(batch: Batch) -> bytes:
    """The mail of a batch as a file that mail programs open."""
    with buffers.muted():
        target = target_of(batch)
        rendered, headers = _digest(batch, target, timezone.now())
        _hide_links(rendered)
        return _addressed(batch, target, rendered, headers).message().as_bytes()


def make_mail(
    batch: Batch, target: buffers.Target, now: datetime, notes: Notes | None = None
) -> EmailMultiAlternatives:
    """The batch's mail; what is rendered once is kept on the batch, so that every retry says the same."""
    return _addressed(batch, target, *_digest(batch, target, now, notes))


def _digest(
    batch: Batch, target: buffers.Target, now: datetime, notes: Notes | None = None
) -> tuple[digest.Digest, dict[str, str]]:
    """What the batch's mail says, and its headers."""
    shown = report(batch, now, include_html=target.include_html, notes=notes)
    rendered = _render(shown, target)
    headers = batch.headers or digest.headers(shown)
    if batch.text:
        rendered.subject, rendered.text, rendered.html = batch.subject, batch.text, batch.html
    elif batch.status != Status.OPEN:
        batch.subject, batch.text, batch.html = rendered.subject, rendered.text, rendered.html
        batch.headers = headers
    return rendered, headers


def _addressed(
    batch: Batch, target: buffers.Target, rendered: digest.Digest, headers: dict[str, str]
) -> EmailMultiAlternatives:
    addressee = buffers.addressee(target)
    recipients, sender = batch.recipients or addressee.recipients, batch.sender or addressee.sender
    return message(rendered, headers, sender=sender, recipients=list(recipients))


def _hide_links(mail: digest.Digest) -> None:
    """Who may see a mail need not be allowed what its links allow."""
    mail.text, mail.html = links.hidden(mail.text), links.hidden(mail.html)


def reduced(mail: EmailMultiAlternatives) -> Iterator[EmailMultiAlternatives]:
    """The mail, then the same without its attachments, then its text alone; each says what was left out."""
    yield mail
    if mail.attachments:
        yield _part_of(mail, html=True)
    if mail.alternatives:
        yield _part_of(mail, html=False)


@in_project_language
def _part_of(mail: EmailMultiAlternatives, *, html: bool) -> EmailMultiAlternatives:
    said = (
        _("The mail server refused this mail as too large: its attachments were left out.")
        if html
        else _("The mail server refused this mail as too large: all but its text was left out.")
    )
    text = f"{mail.body}\n\n({said})\n"
    part = EmailMultiAlternatives(mail.subject, text, mail.from_email, mail.to, headers=mail.extra_headers)
    for alternative in mail.alternatives if html else ():
        part.attach_alternative(*alternative)
    return part


def _render(shown: digest.Report, target: buffers.Target) -> digest.Digest:
    return digest.render(shown, subject=target.get_digest_subject(shown))
