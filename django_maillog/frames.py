"""Whose code a frame is, and the frames in a traceback's text.

One answer for fingerprints, mails and the admin.
"""

from __future__ import annotations

import io
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import NamedTuple

# The patterns are compiled when they are first used: every process imports this module at its start.
INSTALLED = r"/(?:site|dist)-packages/|\.(?:egg|whl)/"
# The folders of a standard library, of this Python or of another host's, and what lies in them. Only a name
# that the standard library has counts: a project may live in such a folder.
STANDARD = (
    r"(?:^|/)(?:lib(?:64)?/(?:python|pypy)3\.\d+t?|python3\d+\.zip)/(?:lib-dynload/)?(\w+)"
    r"|^[A-Za-z]:/(?:.*/)?[^/]*(?:python|conda|3\.\d+)[^/]*/lib/(\w+)"
)
# The margin covers the tree that traceback draws for exception groups, and loguru's mark of one frame.
FRAME = r'((?:> )?[ |+]*)File "([^"]*)", line (\d+)(?:, in (.*))?$'


# Folders that many apps have; which app it is, the folder above them says.
OF_AN_APP = {
    *("admin", "api", "commands", "forms", "management", "middleware", "migrations", "models", "serializers"),
    *("services", "tasks", "templatetags", "tests", "utils", "v1", "v2", "v3", "views"),
}


class Frame(NamedTuple):
    """A place in the code, as a traceback names it."""

    path: str
    line: str
    function: str

    @property
    def place(self) -> str:
        """For people: ``shop/views.py:12 in divide``, the path cut to the app and what is below it."""
        parts = re.split(r"[\\/]", self.path)
        start = max(len(parts) - 3, 0)
        while start > 1 and parts[start] in OF_AN_APP:
            start -= 1
        short = "/".join(parts[start:])
        return f"{short}:{self.line} in {self.function}" if self.function else f"{short}:{self.line}"


class Section(NamedTuple):
    """A frame of a traceback with the source lines below it, or one line that belongs to no frame."""

    text: str
    frame: Frame | None = None

    @property
    def kind(self) -> str:
        """ "app" or "library"; empty for what is no frame."""
        return "" if self.frame is None else "library" if is_library(self.frame.path) else "app"


def is_library(path: str) -> bool:
    """Whether a file is the standard library's or an installed package's, on this host or on another."""
    return package_of(path) != ""


@lru_cache(maxsize=4096)
def package_of(path: str) -> str:
    """The package or the module of the standard library that a file belongs to, "" if it is no library's."""
    if path.startswith("<frozen "):
        return "Python"
    name = path.replace("\\", "/")
    if installed := re.search(rf"(?:{INSTALLED})([^/]+)", name):
        return installed[1].removesuffix(".py")
    for match in re.finditer(STANDARD, name, re.IGNORECASE):
        if (module := match[1] or match[2]) in sys.stdlib_module_names:
            return str(module)
    path = os.path.normcase(path).replace("\\", "/")
    root = next((root for root in _roots() if path.startswith(root)), None)
    return "" if root is None else path[len(root) :].partition("/")[0].removesuffix(".py")


def sections(traceback: str) -> Iterator[Section]:
    """The whole text of a traceback, in order."""
    lines: list[str] = []
    frame, margin = None, ""
    for line in io.StringIO(traceback):
        match = re.match(FRAME, line.removesuffix("\n")) if 'File "' in line else None
        if match is None and lines and _belongs(line, margin):
            lines.append(line)
            continue
        if lines:
            yield Section("".join(lines), frame)
            lines = []
        if match is None:
            yield Section(line)
        else:
            lines, margin, frame = [line], match[1], Frame(match[2], match[3], match[4] or "")
    if lines:
        yield Section("".join(lines), frame)


def innermost(traceback: str) -> Frame | None:
    """The last frame of the project's own code, else the last one."""
    found = [section for section in sections(traceback) if section.frame]
    own = [section for section in found if section.kind == "app"]
    return (own or found or [Section("")])[-1].frame


def _belongs(line: str, margin: str) -> bool:
    """Whether a line is the source, the carets or the repetition of a frame with that margin."""
    rest = line.lstrip(" |+")
    own = line[: len(line) - len(rest)]
    if "+" in own or own.count("|") != margin.count("|"):
        return False
    return len(own) > len(margin) or rest.startswith("[Previous line repeated")


@cache
def _roots() -> tuple[str, ...]:
    """Where this Python has its libraries."""
    paths = sysconfig.get_paths()
    roots = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {
        os.path.dirname(os.__file__)
    }
    return tuple(os.path.normcase(root).replace("\\", "/").rstrip("/") + "/" for root in roots)
