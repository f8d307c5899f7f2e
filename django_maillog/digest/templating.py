"""The templates of the mail: the package's own on a private engine, or those of the project, if they work.

The private engine needs neither ``TEMPLATES`` nor the app registry, so a mail can be made while Django is
still starting. The package's own templates are read when this module is imported, from a zip as well: a
deployment may remove the release's folder while its processes still have something to report.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from django.apps import apps
from django.template import Context, Engine, engines
from django.template.backends.django import DjangoTemplates

from ..language import gettext as _
from .excerpts import one_line

TEXT = "django_maillog/digest.txt"
HTML = "django_maillog/digest.html"


def _read(name: str) -> str:
    return cast(bytes, pkgutil.get_data("django_maillog", f"templates/{name}")).decode()


_OWN = {name: _read(name) for name in (TEXT, HTML)}
_OWN_LOADER = ("django.template.loaders.cached.Loader", [("django.template.loaders.locmem.Loader", _OWN)])


def render(make_context: Callable[[list[str]], dict[str, Any]], *, project: bool = True) -> tuple[str, str]:
    """Text and HTML of one mail.

    A project's template that fails is replaced by the package's own; ``make_context`` is told.
    """
    problems: list[str] = []
    broken: set[str] = set() if project else {TEXT, HTML}
    while True:
        context = make_context(problems)
        pages = []
        for name in (TEXT, HTML):
            if name in broken:
                pages.append(_page(_own_engine(), name, context))
                continue
            try:
                pages.append(_page(_engine(name), name, context))
            except Exception as error:  # a project's template may raise anything
                broken.add(name)
                reason = f"{type(error).__name__}: {one_line(str(error), 300)}"
                said = _(
                    "The project's template %(name)s could not be used (%(reason)s); "
                    "this is the package's own."
                )
                problems.append(said % {"name": name, "reason": reason})
                break
        else:
            return pages[0], pages[1]


def _page(engine: Engine, name: str, context: dict[str, Any]) -> str:
    page = engine.get_template(name).render(Context(context, autoescape=name == HTML))
    # Stripped, it is a plain str: the admin shows these pages, and must not take their text for safe HTML.
    return page.strip() + "\n"


def _engine(name: str) -> Engine:
    """The project's engine that has a template of this name, else the package's own."""
    if apps.ready:
        for backend in engines.all():
            if isinstance(backend, DjangoTemplates):
                engine = _with_own_templates(backend)
                if str(engine.get_template(name).source) != _OWN[name]:
                    return engine
    return _own_engine()


@cache
def _own_engine() -> Engine:
    return Engine(loaders=[_OWN_LOADER])


def _with_own_templates(backend: DjangoTemplates) -> Engine:
    """An engine like the project's that also finds the package's templates, last, to be extended."""
    try:
        return backend._maillog_engine  # type: ignore[attr-defined, no-any-return]
    except AttributeError:
        pass
    theirs = backend.engine
    engine = Engine(
        dirs=theirs.dirs,
        loaders=[*theirs.loaders, _OWN_LOADER],
        libraries=theirs.libraries,
        builtins=theirs.builtins[len(Engine.default_builtins) :],
    )
    backend._maillog_engine = engine  # type: ignore[attr-defined]
    return engine
