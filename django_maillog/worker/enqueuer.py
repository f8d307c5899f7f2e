"""``MAILLOG_DELIVERY = "task"``: the worker seals, and has a task deliver."""

from __future__ import annotations

import logging
import math
import time

from .. import compat
from ..database_clock import database_now
from ..models import Batch
from ..outbox import delivery
from ..outbox.options import FlushOptions
from ..outbox.targets import is_left_to_others
from .heartbeat import Heartbeat

# By its path, as whoever runs it will import it.
TASK = "django_maillog.tasks.deliver"
# Between two tasks for batches that wait, all sealed before.
ENQUEUE_SECONDS = 60.0
# From a failure to the next try: Celery tries for six seconds, and imports wait meanwhile.
RETRY_SECONDS = 30.0
# Of failures after which the worker delivers itself.
GIVE_UP_SECONDS = 60.0

log = logging.getLogger("django_maillog")


class Enqueuer:
    """Enqueues tasks that deliver; where that has failed for a minute, it delivers until it works again."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        # Moments of time.monotonic(); infinite where nothing has failed.
        self._enqueued_at = -math.inf
        self._retry_at = math.inf
        self._failing_since = math.inf
        self._said = False

    def deliver(self, *, sealed: bool) -> None:
        """Have delivered what was ``sealed`` just now, or else what waits, at most once a minute."""
        if not sealed and not self._is_time():
            # What had failed has been delivered meanwhile.
            self._retry_at = math.inf
            return
        if self._retry_at == math.inf or self.retry_seconds() == 0:
            self._enqueue()
        if time.monotonic() - self._failing_since >= GIVE_UP_SECONDS:
            delivery.deliver(FlushOptions(everything=False, sending=self._heartbeat.resting))

    def retry_seconds(self) -> float:
        """In how many seconds it is to be called again."""
        return max(0.0, self._retry_at - time.monotonic())

    def _is_time(self) -> bool:
        """Whether something waits that no task of the past minute was for."""
        if time.monotonic() - self._enqueued_at < ENQUEUE_SECONDS:
            return False
        now = database_now()
        waiting = Batch.objects.deliverable(now).defer("text", "html")
        return any(not is_left_to_others(batch, now, everything=False) for batch in waiting)

    def _enqueue(self) -> None:
        try:
            with self._heartbeat.resting():
                compat.enqueue_task(TASK)
        except Exception as error:  # whatever a broker or a backend says: our database isn't away
            self._note_failure(error)
        else:
            self._enqueued_at = time.monotonic()
            self._retry_at = self._failing_since = math.inf
            self._said = False

    def _note_failure(self, error: Exception) -> None:
        now = time.monotonic()
        self._enqueued_at = -math.inf
        self._retry_at = now + RETRY_SECONDS
        self._failing_since = min(self._failing_since, now)
        if not self._said and now - self._failing_since >= GIVE_UP_SECONDS:
            self._said = True
            log.warning(
                "no task can be enqueued, the worker delivers: error=%s: %s", type(error).__name__, error
            )
