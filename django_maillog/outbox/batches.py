"""What may happen to a batch around its delivery, each as one conditional update."""

from __future__ import annotations

import logging
import re
from datetime import datetime, timedelta
from email.utils import make_msgid

from django.core.mail.utils import DNS_NAME
from django.db import router

from ..models import Batch, Status
from ..policy import Reason
from .targets import target_of

GIVE_UP_AFTER = timedelta(days=4)  # RFC 5321, 4.5.4.1: "generally needs to be at least 4-5 days"

log = logging.getLogger("django_maillog")


def seal(batch: Batch, now: datetime, *, reason: Reason | None = None) -> bool:
    """Close an open batch for delivery; False if there was nothing to seal, or nobody to send it to.

    One row's update, whatever the batch holds. ``Message-ID`` and date are fixed here, for each retry.
    """
    try:
        target = target_of(batch)
        recipients, sender = target.get_recipients(), target.get_sender()
    except Exception:  # a wrong target: its buffer stays pending, and must not keep the others from going out
        log.exception("target unusable, batch stays open: buffer=%s", batch.buffer)
        return False
    if not recipients:
        return False
    changes = {
        "status": Status.READY,
        "open_for": None,
        "sealed_at": now,
        "next_attempt_at": now,
        "give_up_at": now + GIVE_UP_AFTER,
        "recipients": recipients,
        "sender": sender[:320],
        "using": (target.using or "")[:200],
        "message_id": make_msgid(f"maillog-{batch.pk}", domain_of(sender)),
    }
    if reason is not None:
        changes["reason"] = reason
    rows = Batch.objects.using(_alias()).open().filter(pk=batch.pk, record_count__gt=0)
    return bool(rows.update(**changes))


def domain_of(address: str) -> str:
    """The domain of an address, for Message-IDs; the host's name where it has none that fits."""
    domain = address.rpartition("@")[2].strip("> ")
    return domain if re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", domain) else str(DNS_NAME)


def retry(batch: Batch, now: datetime) -> bool:
    """Put a failed or waiting batch first in line, for another four days; False if it is in no such state."""
    rows = Batch.objects.using(_alias()).filter(pk=batch.pk, status__in=[Status.READY, Status.FAILED])
    return bool(rows.update(status=Status.READY, next_attempt_at=now, give_up_at=now + GIVE_UP_AFTER))


def cancel(batch: Batch) -> bool:
    """Never send a batch that has not gone out; False if it is being sent or is done."""
    rows = Batch.objects.using(_alias()).filter(
        pk=batch.pk, status__in=[Status.OPEN, Status.READY, Status.FAILED]
    )
    return bool(rows.update(status=Status.CANCELLED, open_for=None, next_attempt_at=None, due_at=None))


def send_again(batch: Batch, now: datetime) -> Batch | None:
    """A copy of a finished batch, ready to be sent as a mail of its own; None if the batch isn't finished.

    The copy holds the mail but no records, so that every record stays in exactly one batch.
    """
    if batch.status not in (Status.SENT, Status.FAILED, Status.CANCELLED) or not batch.text:
        return None
    copy = Batch(
        buffer=batch.buffer,
        status=Status.READY,
        opened_at=now,
        sealed_at=now,
        next_attempt_at=now,
        give_up_at=now + GIVE_UP_AFTER,
        reason=Reason.FLUSH,
        level=batch.level,
        first_at=batch.first_at,
        last_at=batch.last_at,
        recipients=batch.recipients,
        sender=batch.sender,
        using=batch.using,
        subject=batch.subject,
        text=batch.text,
        html=batch.html,
        message_id=make_msgid("maillog-again", domain_of(batch.sender)),
    )
    copy.save(using=_alias())
    return copy


def _alias() -> str:
    return router.db_for_write(Batch)
