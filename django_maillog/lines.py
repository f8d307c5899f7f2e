"""One line of a segment: a record, a count of records that could not be kept, or nothing to import."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from typing import Any

from . import spool

TEXTS = ("logger", "message", "title", "fingerprint", "cause", "host", "buffer")
OPTIONAL = {"traceback": str, "html": str, "pathname": str, "request": dict, "extra": dict}
MAX_TIME = 32_503_680_000  # the year 3000: a time beyond it is nonsense, and databases refuse some

log = logging.getLogger("django_maillog")


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says: a prepared value, or ``lost`` records of a buffer; neither for headers and bad lines."""

    buffer: str = ""
    value: dict[str, Any] | None = None
    lost: int = 0


def parse(raw: bytes, source: spool.Source) -> Line:
    """Read one line; one that we can't have written is set aside with a warning, and the rest goes on."""
    if not raw:
        return Line()
    try:
        value = json.loads(raw)
        if isinstance(value, dict) and ("configures" in value or "maillog" in value):
            return Line()
        return _checked(value)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        log.warning("line set aside: segment=%s error=%s", source.id, error)
        source.set_aside(raw)
        return Line()


def _checked(value: dict[str, Any]) -> Line:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    buffer = str(value["buffer"])[:200]
    if "lost" in value:
        return Line(buffer=buffer, lost=max(0, int(value["lost"])))
    for name in TEXTS:
        if not isinstance(value[name], str):
            raise TypeError(f"{name} isn't text")
    for name, kind in OPTIONAL.items():
        if name in value and not isinstance(value[name], kind):
            raise TypeError(f"{name} isn't a {kind.__name__}")
    time = float(value["time"])
    if not math.isfinite(time) or not 0 <= time < MAX_TIME:
        raise ValueError(f"time {time} is out of range")
    value["time"] = time
    value["level"] = max(-(2**31), min(int(value["level"]), 2**31 - 1))
    value["process"] = max(0, min(int(value["process"]), 2**63 - 1))
    value["fingerprint"] = value["fingerprint"][:64]
    value["cause"] = value["cause"][:64]
    return Line(buffer=buffer, value=value)
