"""What one site of the code makes beyond its share of new groups, collected in one group of the site."""

from __future__ import annotations

from .captured import CapturedRecord
from .fingerprint import fingerprint_of

# New causes of one site in an hour that get groups of their own.
NEW_CAUSES_AN_HOUR = 50


def overflowing(value: CapturedRecord) -> CapturedRecord:
    """The record as one of its site's overflow group; its own title and message stay."""
    digest = fingerprint_of("overflow", value["site"])
    return value | {"overflow": _title(value), "fingerprint": digest, "cause": digest}


def _title(value: CapturedRecord) -> str:
    what = "messages" if value["cause"] == value["fingerprint"] else "exceptions"
    return f"Many different {what} from one line, such as: {value['title']}"
