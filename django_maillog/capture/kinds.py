"""What a captured record is, as far as rules and the order in a mail go."""

from __future__ import annotations

from ..policy import Kind
from .captured import CapturedRecord


def kind_of(value: CapturedRecord) -> Kind:
    """An exception, a message, what a client can cause at will, or what its site makes too much of."""
    if "overflow" in value:
        return Kind.OVERFLOW
    status = value.get("request", {}).get("status_code")
    is_refusal = isinstance(status, int) and 400 <= status < 500
    if is_refusal or f"{value.get('logger')}.".startswith("django.security."):
        return Kind.CLIENT
    return Kind.MESSAGE if value.get("cause") == value.get("fingerprint") else Kind.EXCEPTION
