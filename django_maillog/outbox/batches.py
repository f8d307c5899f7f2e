"""What may happen to a batch around its delivery, each as one conditional update."""

from __future__ import annotations

import logging
import secrets
from datetime import datetime, timedelta

from django.core.mail.utils import DNS_NAME

from .. import buffers
from ..digest.headers import ascii_domain
from ..models import Batch, Status
from ..policy import Reason
from ..transactions import write_alias
from .groups import mark_mailed
from .targets import target_of

GIVE_UP_AFTER = timedelta(days=4)  # RFC 5321, 4.5.4.1: "generally needs to be at least 4-5 days"

log = logging.getLogger("django_maillog")


def seal(batch: Batch, now: datetime, *, reason: Reason | None = None) -> bool:
    """Close an open batch for delivery; False if there was nothing to seal, or nobody to send it to.

    One row's update, whatever the batch holds. ``Message-ID`` and date are fixed here, for each retry.
    """
    try:
        addressee = buffers.addressee(target_of(batch))
    except Exception:  # a wrong target: its buffer stays pending, and must not keep the others from going out
        log.exception("target unusable, batch stays open: buffer=%s", batch.buffer)
        return False
    if not addressee.recipients:
        return False
    # Who doesn't have its handler has waited long after it was due: that counts for the delivery, too.
    is_ours = buffers.find(batch.buffer) is not None
    changes = {
        "status": Status.READY,
        "open_for": None,
        "sealed_at": now,
        "next_attempt_at": now if is_ours else min(batch.due_at or now, now),
        "give_up_at": now + GIVE_UP_AFTER,
        **_addressed(batch, addressee),
        "message_id": new_message_id(str(batch.pk), addressee.sender),
    }
    if reason is not None:
        changes["reason"] = reason
    rows = Batch.objects.open().filter(pk=batch.pk, record_count__gt=0)
    return bool(rows.update(**changes))


def _addressed(batch: Batch, addressee: buffers.Addressee) -> dict[str, object]:
    """What a row says of its addressee, and as far as its handler is here, of its rules and mailer."""
    handler = buffers.find(batch.buffer)
    rules = batch.rules if handler is None else buffers.stored_rules(handler)
    return {**addressee._asdict(), "rules": rules}


def new_message_id(name: str, sender: str) -> str:
    """A Message-ID with the domain of an address (in punycode), or the host's name where none fits.

    Python's are so long that their line is folded: "Message-ID:", and the id on the next line, over which
    programs stumble.
    """
    domain = ascii_domain(sender.rpartition("@")[2].strip("> "))
    return f"<maillog-{name}.{secrets.token_hex(8)}@{domain if '.' in domain else DNS_NAME}>"


def retry(batch: Batch, now: datetime) -> bool:
    """Put a failed or waiting batch first in line, for another four days; False if it is in no such state.

    It goes to whom its handler in this process names now, who may have been corrected since it was sealed.
    """
    changes: dict[str, object] = {"status": Status.READY, "next_attempt_at": now}
    if buffers.find(batch.buffer) is not None:
        try:
            addressee = buffers.addressee(target_of(batch))
        except Exception:  # a wrong target: the batch keeps its addressee, and the try says what is wrong
            log.exception("target unusable: buffer=%s", batch.buffer)
        else:
            changes |= _addressed(batch, addressee) if addressee.recipients else {}
    rows = Batch.objects.filter(pk=batch.pk, status__in=[Status.READY, Status.FAILED])
    return bool(rows.update(**changes, give_up_at=now + GIVE_UP_AFTER))


def cancel(batch: Batch, now: datetime) -> bool:
    """Never send a batch that has not gone out; False if it is being sent or is done.

    Its groups count as mailed at this moment: a person knows of them.
    """
    rows = Batch.objects.filter(pk=batch.pk, status__in=[Status.OPEN, Status.READY, Status.FAILED])
    if not rows.update(status=Status.CANCELLED, open_for=None, next_attempt_at=None, due_at=None):
        return False
    mark_mailed(batch, now)
    return True


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
        rules=batch.rules,
        subject=batch.subject,
        text=batch.text,
        html=batch.html,
        message_id=new_message_id("again", batch.sender),
    )
    copy.save(using=write_alias())
    return copy
