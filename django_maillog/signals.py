"""Signals that a project may receive; ``sender`` is the Batch model, ``batch`` the row as it then is.

They are sent in the process that flushes, mostly by its worker's thread, outside of any transaction. What a
receiver raises is logged by Django (``send_robust``) and changes nothing; mails wait while it runs.
"""

from __future__ import annotations

from django.dispatch import Signal

# A batch is closed, and goes out next.
batch_sealed = Signal()
# A mail backend has taken a batch's mail.
batch_sent = Signal()
# A batch's mail failed for good: nobody was told.
batch_failed = Signal()
