"""The mail of a batch: made once for all its retries, shown to people, saved as a file."""

from __future__ import annotations

from django.core.mail import EmailMultiAlternatives
from django.utils import timezone

from .. import buffers, digest
from ..models import Batch, Status
from .connection import Target, message
from .contents import report
from .targets import target_of


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
        shown = report(batch, timezone.now())
        return make_mail(batch, shown, target_of(batch)).message().as_bytes()


def make_mail(batch: Batch, shown: digest.Report, target: Target) -> EmailMultiAlternatives:
    """The batch's mail; what is rendered once is kept on the batch, so that every retry says the same."""
    shown.include_html = target.include_html
    rendered = _render(shown, target)
    if batch.text:
        rendered.subject, rendered.text, rendered.html = batch.subject, batch.text, batch.html
    elif batch.status != Status.OPEN:
        batch.subject, batch.text, batch.html = rendered.subject[:200], rendered.text, rendered.html
    recipients = list(batch.recipients) or target.get_recipients()
    sender = batch.sender or target.get_sender()
    return message(rendered, digest.headers(shown), sender=sender, recipients=recipients)


def _render(shown: digest.Report, target: Target) -> digest.Digest:
    return digest.render(shown, subject=target.get_digest_subject(shown))
