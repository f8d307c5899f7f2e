"""What is secret in a record is written as stars: under secret keys, and in texts, before these are cut."""

from __future__ import annotations

import logging

from .secret_keys import STARS, Keys
from .secret_texts import cleanse, cleanse_page, is_harmless
from .text import safe_text

# Characters beyond a text's limit that are looked at: a secret that begins before the limit ends in them, or
# is hidden.
MARGIN = 4_096
_FRAME = '\n  File "'

__all__ = ["MARGIN", "STARS", "Secrets", "cleansed"]


class Secrets(Keys):
    """What is secret in one record."""

    def text(self, text: str, limit: int, *, ends: bool = False) -> str:
        """Return a storable text of at most ``limit`` characters without its secrets.

        Only what may be shown and a margin are looked at. With ``ends``, the last frames of a long traceback
        are kept, too.
        """
        room = limit + MARGIN
        if len(text) <= room:
            return safe_text(text if is_harmless(text, self.request) else cleanse(text, self), limit)
        tail = self._last_frames(text, limit // 2) if ends else ""
        mark = f"… {len(text) - limit} characters cut …"
        room = max(limit - len(mark) - len(tail), 0)
        head = cleanse(text[: room + MARGIN], self, is_whole=False)
        return safe_text(f"{head[:room]}{mark}{tail}", limit)

    def page(self, html: str) -> str:
        """Return a page whose values are cleansed already, without the secret parameters of URLs in it."""
        return cleanse_page(html, self)

    def _last_frames(self, text: str, limit: int) -> str:
        """Return whole frames of a traceback's end: what begins with one continues no secret."""
        start = text.find(_FRAME, len(text) - limit)
        return cleanse(text[start:], self)[-limit:] if start > 0 else ""


def cleansed(text: str, limit: int, record: logging.LogRecord) -> str:
    """Return a storable text of at most ``limit`` characters without its secrets."""
    request = record.__dict__.get("request")
    # A storm's messages need no more than this.
    if len(text) <= limit and is_harmless(text, request):
        return safe_text(text, limit)
    return Secrets(request).text(text, limit)
