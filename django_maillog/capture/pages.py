"""What a project wrote for a page that failed in libraries' code: a template, or a view and its route."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, cast

from ..frames import is_library
from .text import class_name, text_of

# A template's node is rendered, or a template compiled, by these functions: their frames hold it.
TEMPLATE_CODES = (
    "django.template.base:Node.render_annotated",
    "django.template.base:Template.compile_nodelist",
)


def template_place(frames: Sequence[FrameType], exc: BaseException) -> str:
    """Return ``blog/page.html:12`` of the innermost template that is no library's, "" if there is none."""
    for frame in reversed(frames):
        part = frame.f_locals.get("self")
        origin = getattr(part, "origin", None)
        path = text_of(getattr(origin, "name", None) or "<none>")
        if path.startswith("<") or is_library(path):
            continue
        # The parser leaves on the exception which token it could not compile.
        holder: Any = part if "context" in frame.f_locals else exc
        line = getattr(getattr(holder, "token", None), "lineno", None)
        name = text_of(getattr(origin, "template_name", None) or os.path.basename(path))
        return name if line is None else f"{name}:{line}"
    return ""


def serves_pages(kind: type) -> bool:
    """Say whether a class is a view, a viewset or a ModelAdmin."""
    return hasattr(kind, "as_view") or hasattr(kind, "changelist_view")


def hands_on(frame: FrameType, library: Sequence[FrameType]) -> bool:
    """Say whether an in-app frame, above those of libraries, only passes a request on.

    It does to a view's method that it extends, and to a view that it doesn't hold: a decorator has a
    function. Of the libraries' frames the first method tells: those above it are decorators, too.
    """
    if not library:
        return False
    if library[0].f_code.co_name == frame.f_code.co_name and serves_pages(type(frame.f_locals.get("self"))):
        return True
    for below in library:
        code = below.f_code
        if code.co_qualname.endswith("as_view.<locals>.view"):
            return True
        if code.co_argcount and code.co_varnames[0] == "self":
            view = below.f_locals.get("self")
            return serves_pages(type(view)) and all(value is not view for value in frame.f_locals.values())
    return False


def view_place(record: logging.LogRecord) -> str:
    """Return ``blog.views.PostList, route blog/<slug>/`` of the view that a request got to, else ""."""
    match = getattr(record.__dict__.get("request"), "resolver_match", None)
    view = getattr(match, "func", None)
    if view is None:
        return ""
    view = getattr(view, "view_class", view)
    name = class_name(view if hasattr(view, "__qualname__") else type(view))
    return f"{name}, route {text_of(getattr(match, 'route', ''))}"


def page_place(record: logging.LogRecord, frames: Sequence[FrameType]) -> str:
    """Return the same, and with it what a library was working for: ``…, blog.models.PostPage``.

    That is a class of the project's that isn't the view: a page, a serializer, a model.
    """
    place = view_place(record)
    for kind in _kinds(frames):
        if _is_the_projects(kind) and not serves_pages(kind):
            return f"{place}, {class_name(kind)}" if place else class_name(kind)
    return place


def _kinds(frames: Sequence[FrameType]) -> Iterator[type]:
    """The classes whose methods frames are in, the innermost first, and of what a response is rendered of."""
    for frame in reversed(frames):
        code = frame.f_code
        if code.co_argcount and code.co_varnames[0] == "self":
            owner = frame.f_locals.get("self")
            yield type(owner)
            # The page of a content management system, or a generic view's object.
            said = _attributes(owner).get("context_data")
            if type(said) is dict:
                yield from (type(said[name]) for name in ("page", "object") if name in said)


def _attributes(owner: object) -> dict[str, Any]:
    """An object's own attributes; asking a lazy one for more may be a query."""
    try:
        return cast(dict[str, Any], object.__getattribute__(owner, "__dict__"))
    except AttributeError:
        return {}


def _is_the_projects(kind: type) -> bool:
    path = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return type(path) is str and not is_library(path)


def route_of(request: object) -> str:
    """Return the URL pattern that matched, "" if none did."""
    route = getattr(getattr(request, "resolver_match", None), "route", None)
    return route if type(route) is str else ""
