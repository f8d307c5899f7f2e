"""The templates of the mail: the package's own on a private engine, or those of the project, if they work.

The private engine needs neither ``TEMPLATES`` nor the app registry, so a mail can be made while Django is
still starting. The package's own templates are read when this module is imported, from a zip as well: a
deployment may remove the release's folder while its processes still have something to report.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from typing import Any, cast

from django.apps import apps
from django.template import Context, Engine, engines
from django.template.backends.django import DjangoTemplates

from ..language import gettext as _
from .excerpts import one_line

TEXT = "django_maillog/digest.txt"
HTML = "django_maillog/digest.html"
TEMPLATES = (TEXT, HTML)
_OWN = {
    name: cast(bytes, pkgutil.get_data("django_maillog", f"templates/{name}")).decode() for name in TEMPLATES
}
_OWN_LOADER = ("django.template.loaders.cached.Loader", [("django.template.loaders.locmem.Loader", _OWN)])


def render(context: dict[str, Any], *, own: tuple[str, ...] = ()) -> tuple[str, str]:
    """Text and HTML of one mail; of the names in ``own`` by the package's templates.

    A project's template that fails is replaced by the package's, and both pages say so.
    """
    pages = []
    for name in TEMPLATES:
        try:
            engine = _own_engine() if name in own else _engine(name)
            page = engine.get_template(name).render(Context(context, autoescape=name == HTML))
        except Exception as error:  # a project's template may raise anything
            if name in own:
                raise
            said = _(
                "The project's template %(name)s could not be used (%(reason)s); this is the package's own."
            )
            reason = f"{type(error).__name__}: {one_line(str(error), 300)}"
            remarks = [*context["remarks"], said % {"name": name, "reason": reason}]
            return render({**context, "remarks": remarks}, own=(*own, name))
        # Stripped, it is a plain str: the admin shows these pages, and must not take them for safe HTML.
        pages.append(page.strip() + "\n")
    return pages[0], pages[1]


def _engine(name: str) -> Engine:
    """The project's engine that has a template of this name, else the package's own."""
    if apps.ready:
        for backend in engines.all():
            if isinstance(backend, DjangoTemplates):
                engine = _with_own_templates(backend)
                if engine.get_template(name).source != _OWN[name]:
                    return engine
    return _own_engine()


@cache
def _own_engine() -> Engine:
    return Engine(loaders=[_OWN_LOADER])


def _with_own_templates(backend: DjangoTemplates) -> Engine:
    """An engine like the project's that also finds the package's templates, last, to be extended."""
    if "_maillog_engine" not in vars(backend):
        theirs = backend.engine
        vars(backend)["_maillog_engine"] = Engine(
            dirs=theirs.dirs,
            loaders=[*theirs.loaders, _OWN_LOADER],
            libraries=theirs.libraries,
            builtins=theirs.builtins[len(Engine.default_builtins) :],
        )
    return cast(Engine, vars(backend)["_maillog_engine"])
