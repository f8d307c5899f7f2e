"""What is secret in a record is written as stars: under secret keys, and in texts, before these are cut."""

from __future__ import annotations

import logging
import uuid
from functools import cached_property
from typing import Any

from .secret_keys import STARS, Keys
from .secret_texts import cleanse, cleanse_page, is_harmless
from .text import safe_text

# Characters beyond a text's limit that are looked at: a secret that begins before the limit ends in them, or
# is hidden.
MARGIN = 4_096
# What is shorter is a word of other texts, too.
_SHORTEST = 6
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
            text = self._without_path(text)
            return safe_text(text if is_harmless(text, self.request) else cleanse(text, self), limit)
        tail = self._last_frames(text, limit // 2) if ends else ""
        mark = f"… {len(text) - limit} characters cut …"
        room = max(limit - len(mark) - len(tail), 0)
        head = cleanse(self._without_path(text[: room + MARGIN]), self, is_whole=False)
        return safe_text(f"{head[:room]}{mark}{tail}", limit)

    def page(self, html: str) -> str:
        """Return a page whose values are cleansed already, without the secret parameters of URLs in it."""
        return cleanse_page(html, self)

    def _last_frames(self, text: str, limit: int) -> str:
        """Return whole frames of a traceback's end: what begins with one continues no secret."""
        start = text.find(_FRAME, len(text) - limit)
        return cleanse(self._without_path(text[start:]), self)[-limit:] if start > 0 else ""

    def _without_path(self, text: str) -> str:
        for secret in self._of_path:
            text = text.replace(secret, STARS)
        return text

    @cached_property
    def _of_path(self) -> list[str]:
        """What the route took from the request's path under a secret's name, as in /reset/<token>/."""
        items = _route_kwargs(self.request).items()
        texts = [
            str(value)
            for key, value in items
            if type(value) in (str, uuid.UUID) and self.hides_in_text(key, named=False)
        ]
        return [text for text in texts if len(text) >= _SHORTEST]


def _route_kwargs(request: Any) -> dict[str, Any]:
    """What a request's route took from its path; of REST framework's as well."""
    try:
        fields = vars(request)
        match = vars(fields.get("_request", request)).get("resolver_match")
        return dict(match.kwargs) if match else {}
    except Exception:  # no request, or a half-made one
        return {}


def cleansed(text: str, limit: int, record: logging.LogRecord) -> str:
    """Return a storable text of at most ``limit`` characters without its secrets."""
    request = record.__dict__.get("request")
    # A storm's messages need no more than this.
    is_plain = request is None or not _route_kwargs(request)
    if is_plain and len(text) <= limit and is_harmless(text, request):
        return safe_text(text, limit)
    return Secrets(request).text(text, limit)
