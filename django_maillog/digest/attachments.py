"""What is attached to a mail: all its records, and technical reports, as far as they fit."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..capture.plain import json_line


@dataclass(kw_only=True)
class Attachment:
    """One attached file."""

    name: str
    content: bytes
    mimetype: str


def encoded_size(content: bytes) -> int:
    """The most that the content can take in a mail, whether as base64 or quoted-printable."""
    quoted = len(content) + 2 * len(content.translate(None, PRINTABLE))
    return max(quoted + quoted // 20, len(content) * 7 // 5) + 500


PRINTABLE = bytes(code for code in range(32, 127) if code != ord("=")) + b"\n"


def compress(records: Iterable[dict[str, Any]], room: int) -> tuple[bytes | None, int]:
    """All records as gzipped JSON lines, without their technical reports, and the number of lines.

    As soon as they are more than ``room`` bytes, no further record is read and the content is None.
    """
    buffer = io.BytesIO()
    number = 0
    # No time and no name in the header: the same records make the same bytes at each retry.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=6, mtime=0) as lines:
        for record in records:
            number += 1
            lines.write(json_line({key: value for key, value in record.items() if key != "html"}))
            if buffer.tell() > room:
                return None, number
    content = buffer.getvalue()
    return (content if len(content) <= room else None), number
