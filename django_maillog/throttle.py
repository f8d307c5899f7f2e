"""One warning for something that goes wrong again and again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

AGAIN_SECONDS = 300.0

log = logging.getLogger("django_maillog")


class Throttle:
    """Warns at the first failure in a row, then every five minutes with how many there were.

    ``say`` takes a message and its arguments, as a logger's methods do.
    """

    def __init__(self, say: Callable[..., object] = log.warning) -> None:
        self._say = say
        self._number = 0
        self._warned_at = 0.0

    def warn(self, message: str, *args: object) -> None:
        """Log the warning, or only count it."""
        self._number += 1
        if self._number > 1 and time.monotonic() - self._warned_at < AGAIN_SECONDS:
            return
        self._warned_at = time.monotonic()
        times = f" times={self._number}" if self._number > 1 else ""
        self._say(f"{message}{times}", *args)

    def reset(self) -> None:
        """It works again: the next failure is a first one."""
        self._number = 0
