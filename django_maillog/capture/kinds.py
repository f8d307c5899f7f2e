"""What a captured record is, as far as rules and the order in a mail go."""

from __future__ import annotations

from ..policy import Kind
from .captured import CapturedRecord
from .keys import fingerprint_of

# New causes of one site in an hour that get groups of their own.
NEW_CAUSES_AN_HOUR = 50


def kind_of(value: CapturedRecord) -> Kind:
    """An exception, a message, what a client can cause at will, or what its site makes too much of."""
    if "overflow" in value:
        return Kind.OVERFLOW
    status = value.get("request", {}).get("status_code")
    is_refusal = isinstance(status, int) and 400 <= status < 500
    if is_refusal or f"{value.get('logger')}.".startswith("django.security."):
        return Kind.CLIENT
    return Kind.MESSAGE if value.get("cause") == value.get("fingerprint") else Kind.EXCEPTION


def overflowing(value: CapturedRecord) -> CapturedRecord:
    """The record as one of its site's overflow group; its own title and message stay."""
    what = "messages" if value["cause"] == value["fingerprint"] else "exceptions"
    title = f"Many different {what} from one line, such as: {value['title']}"
    digest = fingerprint_of("overflow", value["site"])
    return value | {"overflow": title, "fingerprint": digest, "cause": digest}
