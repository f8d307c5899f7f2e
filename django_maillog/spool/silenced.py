"""The silences that hold, in a file of the spool folder: mails that go out without the database heed them."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TypedDict

from django.core.exceptions import ImproperlyConfigured

from ..capture.captured import CapturedRecord
from .files import open_private
from .folder import private_folder, spool_folder, verify

NAME = "silences"
MAX_BYTES = 1_000_000


class Silenced(TypedDict):
    """What is silenced: a buffer (``""``: all), what matches (``""``: everything), in seconds since 1970."""

    buffer: str
    match: str
    starts_at: float
    ends_at: float


def covers(silence: Silenced, buffer: str, value: CapturedRecord, first: float, last: float) -> bool:
    """Whether a record, or several like it between two times, is silenced."""
    if (
        silence["buffer"] not in ("", buffer)
        or not silence["starts_at"] <= first <= last <= silence["ends_at"]
    ):
        return False
    texts = (value.get("title", ""), value.get("logger", ""), value.get("message", ""))
    return silence["match"].casefold() in "\n".join(texts).casefold()


def write(silences: list[Silenced]) -> None:
    """Replace what the file says; nothing happens where there is no folder to keep it in."""
    with contextlib.suppress(OSError, ImproperlyConfigured):
        path = private_folder(spool_folder()) / NAME
        if not silences:
            path.unlink(missing_ok=True)
            return
        draft = path.with_name(f"{NAME}-{os.getpid()}.tmp")
        fd = open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(silences, file)
        draft.replace(path)


def read() -> list[Silenced]:
    """What the file says; nothing where there is none, or none that can be trusted."""
    try:
        folder = spool_folder()
        verify(folder)
        fd = open_private(folder / NAME, os.O_RDONLY)
        with open(fd, encoding="utf-8") as file:
            found = json.loads(file.read(MAX_BYTES))
        return [
            Silenced(
                buffer=str(each["buffer"]),
                match=str(each["match"]),
                starts_at=float(each["starts_at"]),
                ends_at=float(each["ends_at"]),
            )
            for each in found
        ]
    except (OSError, ImproperlyConfigured, ValueError, TypeError, KeyError):
        return []
