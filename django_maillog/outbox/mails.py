"""The mail of a batch: made once for all its retries, shown to people, saved as a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.core.mail import EmailMultiAlternatives
from django.utils import timezone

from .. import buffers, digest
from ..models import Batch, Status
from .connection import message
from .contents import report
from .targets import target_of

LEFT_OUT = "\n\n(The mail server refused this mail as too large: {} left out.)\n"


def preview(batch: Batch) -> digest.Digest:
    """The mail of a batch: as it was sent, or as it would be now."""
    if batch.text:
        return digest.Digest(subject=batch.subject, text=batch.text, html=batch.html)
    with buffers.muted():
        shown = report(batch, timezone.now())
        shown.records = None  # what would be attached is not looked at
        return _render(shown, target_of(batch))


def eml(batch: Batch) -> bytes:
    """The mail of a batch as a file that mail programs open."""
    with buffers.muted():
        return make_mail(batch, target_of(batch), timezone.now()).message().as_bytes()


def make_mail(batch: Batch, target: buffers.Target, now: datetime) -> EmailMultiAlternatives:
    """The batch's mail; what is rendered once is kept on the batch, so that every retry says the same."""
    shown = report(batch, now)
    shown.include_html = target.include_html
    rendered = _render(shown, target)
    headers = batch.headers or digest.headers(shown)
    if batch.text:
        rendered.subject, rendered.text, rendered.html = batch.subject, batch.text, batch.html
    elif batch.status != Status.OPEN:
        batch.subject, batch.text, batch.html = rendered.subject, rendered.text, rendered.html
        batch.headers = headers
    addressee = buffers.addressee(target)
    recipients, sender = batch.recipients or addressee.recipients, batch.sender or addressee.sender
    return message(rendered, headers, sender=sender, recipients=list(recipients))


def reduced(mail: EmailMultiAlternatives) -> Iterator[EmailMultiAlternatives]:
    """The mail, then the same without its attachments, then its text alone; each says what was left out."""
    yield mail
    if mail.attachments:
        yield _part_of(mail, "its attachments were", html=True)
    if mail.alternatives:
        yield _part_of(mail, "all but its text was", html=False)


def _part_of(mail: EmailMultiAlternatives, what: str, *, html: bool) -> EmailMultiAlternatives:
    text = f"{mail.body}{LEFT_OUT.format(what)}"
    part = EmailMultiAlternatives(mail.subject, text, mail.from_email, mail.to, headers=mail.extra_headers)
    for alternative in mail.alternatives if html else ():
        part.attach_alternative(*alternative)
    return part


def _render(shown: digest.Report, target: buffers.Target) -> digest.Digest:
    return digest.render(shown, subject=target.get_digest_subject(shown))
