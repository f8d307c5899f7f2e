"""Where a batch goes and by which rules: as its handler in this process says, else as its row does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

from .. import buffers, compat, digest
from ..models import Batch
from ..policy import Rules

if TYPE_CHECKING:
    from django.core.mail.backends.base import BaseEmailBackend


def target_of(batch: Batch) -> buffers.Target:
    """The target of its handler in this process, else what its row says."""
    handler = buffers.find(batch.buffer)
    return handler.target if handler is not None else StoredTarget(batch)


def rules_of(batch: Batch) -> Rules:
    """The rules of its handler in this process, else those on its row; the defaults if there are none."""
    handler = buffers.find(batch.buffer)
    if handler is not None:
        return handler.rules
    try:
        return Rules.of(batch.rules)
    except (TypeError, ValueError):
        return Rules()


class StoredTarget:
    """The target of a batch whose handler isn't configured in this process."""

    include_html = False

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.using: str | None = batch.using or None

    def get_recipients(self) -> list[str]:
        """The row's; ADMINS only where nothing is known of the handler, not where it has no recipients."""
        is_known = bool(self._batch.recipients or self._batch.rules)
        return list(self._batch.recipients) if is_known else compat.addresses("ADMINS")

    def get_sender(self) -> str:
        return self._batch.sender or str(settings.SERVER_EMAIL)

    def get_connection(self) -> BaseEmailBackend:
        return compat.get_connection(using=self.using)

    def get_digest_subject(self, report: digest.Report) -> str:
        return digest.subject(report, prefix=str(settings.EMAIL_SUBJECT_PREFIX))
