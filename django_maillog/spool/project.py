"""Which project a segment belongs to: nobody's errors are mailed to another project's people."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any, NamedTuple

from django.conf import settings

from .. import conf


class Project(NamedTuple):
    """What a segment's header says of the project that wrote it.

    Two projects may have one name ("config.settings"). So the header also says, as digests, where the
    settings lie and which database they name: a release moves the one, a fail-over changes the other. Where
    both differ it is another project. MAILLOG_PROJECT makes the name certain, and these empty.
    """

    project: str
    place: str = ""
    database: str = ""

    def wrote(self, header: dict[str, Any]) -> bool:
        """Whether a segment with this header is the project's; one of an older version says nothing."""
        if header.get("project", self.project) != self.project:
            return False
        pairs = [(self.place, header.get("place")), (self.database, header.get("database"))]
        return not all(ours and theirs and ours != theirs for ours, theirs in pairs)


def current() -> Project:
    """This process's project; raises ImproperlyConfigured where MAILLOG_PROJECT is wrong."""
    name = conf.project()
    if conf.get("MAILLOG_PROJECT") is not None:
        return Project(name)
    # Not the real path: a link called "current" is what stays from one release to the next.
    file = getattr(sys.modules.get(name), "__file__", None)
    return Project(name, _digest(os.path.abspath(file)) if file else "", _digest(_database()))


def _database() -> str:
    """What tells databases apart, without anything secret."""
    database = settings.DATABASES.get("default", {})
    options = database.get("OPTIONS") or {}
    name = str(database.get("NAME") or "")
    if "sqlite" in str(database.get("ENGINE", "")) and ":memory:" not in name:
        name = os.path.abspath(name)
    named = [database.get(key) for key in ("ENGINE", "HOST", "PORT")]
    named += [options.get(key) for key in ("service", "options", "read_default_file")]
    return "\0".join([name, *map(str, named)])


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=6).hexdigest()
