"""``MAILLOG_DELIVERY = "task"``: what the worker has sealed is delivered by a task, Django's or Celery's.

Imported when a project asks for it, by whoever runs the task, or by Celery's autodiscovery.
"""

from __future__ import annotations

from . import buffers, compat, receivers
from .outbox import delivery
from .outbox.options import FlushOptions


# The module's attribute must be the task: Django's backends find it by its path.
@compat.make_task
def deliver() -> None:
    """Deliver every sealed batch whose time has come. Any number of these may run at once."""
    with buffers.muted():
        delivery.deliver(FlushOptions(everything=False))


# A Celery worker that sets Django up before it imports Celery finds us here.
receivers.connect_celery()
