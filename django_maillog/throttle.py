"""One warning for something that goes wrong again and again."""

from __future__ import annotations

import logging
import time

AGAIN_SECONDS = 300.0

log = logging.getLogger("django_maillog")


class Throttle:
    """Warns at the first failure in a row, then every five minutes with how many there were."""

    def __init__(self) -> None:
        self._number = 0
        self._warned_at = 0.0

    def warn(self, message: str, *args: object) -> None:
        """Log the warning, or only count it."""
        self._number += 1
        if self._number > 1 and time.monotonic() - self._warned_at < AGAIN_SECONDS:
            return
        self._warned_at = time.monotonic()
        times = f" times={self._number}" if self._number > 1 else ""
        log.warning(f"{message}{times}", *args)

    def reset(self) -> None:
        """It works again: the next failure is a first one."""
        self._number = 0
