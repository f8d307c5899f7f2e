"""What records are grouped by, as digests."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from .text import text_of


class Key(NamedTuple):
    """What a record is grouped by: ``ml2:`` and 32 hex digits each.

    The site is where it comes from: the root exception's innermost frame, else logger, function and line of
    the call. ``is_free_text``: the fingerprint came from text that no source shows to be constant: one site
    may make any number of them.
    """

    fingerprint: str
    cause: str
    site: str = ""
    is_free_text: bool = False


@functools.lru_cache(maxsize=2048)
def fingerprint_of(*parts: str) -> str:
    """A fingerprint of some texts: ``ml2:`` and 32 hex digits (BLAKE2b)."""
    text = "\x1f".join(parts).encode("utf-8", "backslashreplace")
    return "ml2:" + blake2b(text, digest_size=16).hexdigest()


def as_one(name: str, digests: Sequence[str]) -> str:
    """Return the one of some digests, or one for all of them."""
    return digests[0] if len(digests) == 1 else fingerprint_of(name, *digests)


def call_site(record: logging.LogRecord) -> str:
    """Return the site of a record without a traceback: the place that logs."""
    fields = record.__dict__
    return fingerprint_of("call", *(text_of(fields.get(name)) for name in ("name", "funcName", "lineno")))
