"""Which records a process sees for the first time, so that they are captured in full; bounded."""

from __future__ import annotations

import time

from ..capture.fingerprint import Key
from ..capture.kinds import NEW_CAUSES_AN_HOUR

# Between two full captures of one fingerprint.
FULL_EVERY_SECONDS = 60.0
# Fingerprints, and sites, remembered for that.
SEEN_LIMIT = 10_000


class Sights:
    """When this process saw each fingerprint last, and how many new texts each site has made since."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._texts: dict[str, tuple[float, int]] = {}

    def is_first(self, key: Key) -> bool:
        """Whether this process saw no such record within the past minute.

        A site that makes ever new texts has its share of first sights: more would cost the time of the
        thread that logs, for records that end in one group.
        """
        now = time.monotonic()
        seen = self._seen.get(key.fingerprint)
        if seen is not None and now - seen < FULL_EVERY_SECONDS:
            return False
        if key.is_free_text and not self._has_room(key.site, now):
            return False
        if len(self._seen) >= SEEN_LIMIT:
            self._seen.clear()
        self._seen[key.fingerprint] = now
        return True

    def _has_room(self, site: str, now: float) -> bool:
        since, number = self._texts.get(site, (now, 0))
        if now - since >= FULL_EVERY_SECONDS:
            since, number = now, 0
        if len(self._texts) >= SEEN_LIMIT:
            self._texts.clear()
        self._texts[site] = since, number + 1
        return number < NEW_CAUSES_AN_HOUR
