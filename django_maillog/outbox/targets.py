"""Where a batch goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

from .. import buffers, compat, digest
from ..models import Batch
from .connection import Target

if TYPE_CHECKING:
    from django.core.mail.backends.base import BaseEmailBackend


def target_of(batch: Batch) -> Target:
    """The target of its handler in this process, else what its row says."""
    handler = buffers.find(batch.buffer)
    return handler.target if handler is not None else StoredTarget(batch)


def mailer_of(target: Target) -> object:
    """What targets that can share a connection have in common, as a dictionary's key."""
    return ("stored", target.using) if isinstance(target, StoredTarget) else target


class StoredTarget:
    """The target of a batch whose handler isn't configured in this process."""

    include_html = False

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.using: str | None = batch.using or None

    def get_recipients(self) -> list[str]:
        return list(self._batch.recipients) or compat.addresses("ADMINS")

    def get_sender(self) -> str:
        return self._batch.sender or str(settings.SERVER_EMAIL)

    def get_connection(self) -> BaseEmailBackend:
        return compat.get_connection(using=self.using)

    def get_digest_subject(self, report: digest.Report) -> str:
        return digest.subject(report, prefix=str(settings.EMAIL_SUBJECT_PREFIX))
