"""``MAILLOG_DELIVERY = "task"``: what the worker has sealed is delivered by a task, Django's or Celery's.

Imported when a project asks for it, or by Celery's autodiscovery.
"""

from __future__ import annotations

from . import buffers, compat
from .outbox import delivery


def deliver() -> None:
    """Deliver every sealed batch whose time has come. Any number of these may run at once."""
    with buffers.muted():
        delivery.deliver()


enqueue = compat.make_task(deliver)
