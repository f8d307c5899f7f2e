"""Pages without code of the project's on the stack: which bug it is, and where the mail says it is."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group as UserGroup
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template import Context, Engine
from django.template.response import TemplateResponse
from django.test import Client, RequestFactory
from django.urls import include, path, re_path, resolve
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import DetailView, FormView, ListView, TemplateView

from django_maillog.capture.fingerprint import fingerprint
from django_maillog.digest.samples import Sample

from .log_records import full, key_of, make_record, raised

TEMPLATES = {
    "blog/page.html": "<h1>\n</h1>\n{% url 'blog-comments' %}",
    "shop/page.html": "{% url 'order-bread' %}\n",
    "shop/two.html": "{% url 'order-bread' %}\n{% if again %}{% endif %}\n{% url 'order-milk' %}",
    "shop/nav.html": "\n{% url 'order-bread' %}",
    "shop/with_nav.html": "{% if request %}{% include 'shop/nav.html' %}{% endif %}",
    "shop/also_with_nav.html": "<p>\n\n{% include 'shop/nav.html' %}",
    "shop/base.html": "{% block body %}{% endblock %}",
    "shop/extends.html": "{% extends 'shop/base.html' %}\n{% block body %}\n{% url 'bread' %}{% endblock %}",
    "shop/broken.html": "one\n{% ifequal %}",
    "shop/broken_too.html": "one\n\n{% nonsense %}",
    "shop/calls.html": "\n{{ object.fail }}",
    "shop/misses.html": "\n{% include 'shop/missing.html' %}",
    "shop/extends_nothing.html": "{% extends 'shop/missing.html' %}",
}


class Bread:
    def fail(self) -> None:
        raise ZeroDivisionError


class Named(ListView):  # type: ignore[type-arg]
    """What a project writes of a generic view."""

    model = User


class Handing:
    """A mixin of the project's that only hands on."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().dispatch(request, *args, **kwargs)  # type: ignore[misc]


class First(Handing, ListView):  # type: ignore[type-arg]
    model = User
    ordering = "nonsense"


class Second(Handing, ListView):  # type: ignore[type-arg]
    model = User
    ordering = "nonsense"


def audited(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return view(request, *args, **kwargs)

    return wrapper


class Audited:
    """A decorator that is a class."""

    def __init__(self, view: Callable[..., HttpResponseBase]) -> None:
        self.view = view

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.view(request)


@method_decorator(audited, name="dispatch")
class FirstAudited(ListView):  # type: ignore[type-arg]
    model = User
    ordering = "nonsense"


@method_decorator(audited, name="get")
class SecondAudited(ListView):  # type: ignore[type-arg]
    model = User
    ordering = "nonsense"


class Posting(FormView):  # type: ignore[type-arg]
    """It calls a library's method on itself, which is its own bug: it has no such form."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self.form_valid(self.get_form())


def decorated(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    def wrapper(request: HttpRequest) -> HttpResponseBase:
        return view(request)

    return wrapper


def chooses(request: HttpRequest, name: str) -> HttpResponse:
    return render(request, f"shop/{name}.html")


class Names(forms.Form):
    field_order = 1  # type: ignore[assignment]  # that is the mistake


class Prices(forms.Form):
    field_order = 1  # type: ignore[assignment]  # that is the mistake


class Page:
    """As a content management system's, whose view knows nothing of the project."""


class BreadPage(Page):
    pass


class CakePage(Page):
    pass


def serve(request: HttpRequest, name: str) -> HttpResponseBase:
    page = {"bread": BreadPage, "cake": CakePage}[name]()
    return TemplateResponse(request, f"missing/{name}.html", {"page": page})


def one_of_the_forms(request: HttpRequest, name: str) -> HttpResponseBase:
    return FormView.as_view(form_class={"names": Names, "prices": Prices}[name])(request)


class Users(admin.ModelAdmin):  # type: ignore[type-arg]  # can't be had at run time
    def get_ordering(self, request: HttpRequest) -> list[Any]:
        return ["nonsense"]


site = admin.AdminSite("nonsense")
site.register(User, Users)
site.register(UserGroup, Users)


def template(name: str, **context: Any) -> Any:
    return TemplateView.as_view(template_name=name, extra_context=context)


urlpatterns = [
    *(path(f"t/{name}", template(name, object=Bread())) for name in TEMPLATES),
    path("serve/<str:name>/", serve),
    path("form/<str:name>/", one_of_the_forms),
    path("missing/1/", template("missing/one.html")),
    path("missing/2/", template("missing/two.html")),
    path("list/<int:pk>/", ListView.as_view(model=User, ordering="nonsense")),
    re_path(r"^other/(?P<pk>\d+)/$", ListView.as_view(model=User, ordering="nonsense")),
    path("named/", Named.as_view(ordering="nonsense")),
    path("first/", First.as_view()),
    path("second/", Second.as_view()),
    path("decorated/1/", decorated(ListView.as_view(model=User, ordering="nonsense"))),
    path("decorated/2/", decorated(ListView.as_view(model=User, ordering="nonsense"))),
    path("audited/1/", FirstAudited.as_view()),
    path("audited/2/", SecondAudited.as_view()),
    path("exempt/1/", audited(csrf_exempt(Named.as_view(ordering="nonsense")))),
    path("exempt/2/", audited(csrf_exempt(Named.as_view(ordering="nonsense")))),
    path("called/1/", Audited(never_cache(Named.as_view(ordering="nonsense")))),
    path("called/2/", Audited(never_cache(Named.as_view(ordering="nonsense")))),
    path("posting/", Posting.as_view()),
    path("detail/", DetailView.as_view(model=User)),
    path("chooses/<str:name>/", chooses),
    path("nested/", include([path("deep/", ListView.as_view(model=User, ordering="nonsense"))])),
    path("admin/", site.urls),
]


Failed = Callable[[str], logging.LogRecord]


@pytest.fixture
def failed(settings: Any, admin_client: Client, tmp_path: Path) -> Iterator[Failed]:
    """The record that Django logs of a page that fails."""
    for name, text in TEMPLATES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    settings.ROOT_URLCONF = __name__
    settings.DEBUG = False
    settings.TEMPLATES = [
        settings.TEMPLATES[0]
        | {
            "DIRS": [str(tmp_path)],
            "APP_DIRS": False,
            "OPTIONS": settings.TEMPLATES[0]["OPTIONS"] | {"loaders": LOADERS},
        }
    ]
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keeping()
    logger = logging.getLogger("django.request")
    logger.addHandler(handler)
    admin_client.raise_request_exception = False

    def get(url: str) -> logging.LogRecord:
        records.clear()
        assert admin_client.get(url).status_code == 500
        (record,) = (record for record in records if record.exc_info)
        return record

    yield get
    logger.removeHandler(handler)


LOADERS = ["django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader"]


def where(record: logging.LogRecord) -> str:
    return Sample(full(record), everything=False).where


@pytest.mark.parametrize(
    ("first", "place", "second", "other_place"),
    [
        ("/t/blog/page.html", "blog/page.html:3", "/t/shop/page.html", "shop/page.html:1"),
        ("/t/shop/extends.html", "shop/extends.html:3", "/t/shop/page.html", "shop/page.html:1"),
        ("/t/shop/broken.html", "shop/broken.html:2", "/t/shop/broken_too.html", "shop/broken_too.html:3"),
        (
            "/t/shop/misses.html",
            "shop/misses.html:2",
            "/t/shop/extends_nothing.html",
            "shop/extends_nothing.html:1",
        ),
        (
            "/missing/1/",
            "django.views.generic.base.TemplateView, route missing/1/",
            "/missing/2/",
            "django.views.generic.base.TemplateView, route missing/2/",
        ),
        (
            "/list/1/",
            "django.views.generic.list.ListView, route list/<int:pk>/",
            "/other/1/",
            r"django.views.generic.list.ListView, route ^other/(?P<pk>\d+)/$",
        ),
        (
            "/named/",
            "tests.test_pages.Named, route named/",
            "/nested/deep/",
            "django.views.generic.list.ListView, route nested/deep/",
        ),
        (
            "/first/",
            "tests.test_pages.First, route first/",
            "/second/",
            "tests.test_pages.Second, route second/",
        ),
        (
            "/decorated/1/",
            "tests.test_pages.decorated.<locals>.wrapper, route decorated/1/",
            "/decorated/2/",
            "tests.test_pages.decorated.<locals>.wrapper, route decorated/2/",
        ),
        (
            "/audited/1/",
            "tests.test_pages.FirstAudited, route audited/1/",
            "/audited/2/",
            "tests.test_pages.SecondAudited, route audited/2/",
        ),
        (
            "/exempt/1/",
            "tests.test_pages.Named, route exempt/1/",
            "/exempt/2/",
            "tests.test_pages.Named, route exempt/2/",
        ),
        (
            "/called/1/",
            "tests.test_pages.Audited, route called/1/",
            "/called/2/",
            "tests.test_pages.Audited, route called/2/",
        ),
        (
            "/admin/auth/user/",
            "django.contrib.admin.options.ModelAdmin.changelist_view, route admin/auth/user/",
            "/admin/auth/group/",
            "django.contrib.admin.options.ModelAdmin.changelist_view, route admin/auth/group/",
        ),
        (
            "/form/names/",
            "tests.test_pages.one_of_the_forms, route form/<str:name>/, tests.test_pages.Names",
            "/form/prices/",
            "tests.test_pages.one_of_the_forms, route form/<str:name>/, tests.test_pages.Prices",
        ),
        (
            "/serve/bread/",
            "tests.test_pages.serve, route serve/<str:name>/, tests.test_pages.BreadPage",
            "/serve/cake/",
            "tests.test_pages.serve, route serve/<str:name>/, tests.test_pages.CakePage",
        ),
        ("/chooses/page/", "shop/page.html:1", "/chooses/extends/", "shop/extends.html:3"),
    ],
)
def test_two_bugs_in_two_pages_are_two(
    failed: Failed, first: str, place: str, second: str, other_place: str
) -> None:
    one, two = failed(first), failed(second)

    assert (where(one), where(two)) == (place, other_place)
    assert fingerprint(one).fingerprint != fingerprint(two).fingerprint
    assert fingerprint(failed(first)) == fingerprint(one)


def test_one_bug_in_an_included_template_is_one(failed: Failed) -> None:
    pages = [failed(f"/t/shop/{name}.html") for name in ("with_nav", "also_with_nav", "nav")]

    assert {where(page) for page in pages} == {"shop/nav.html:2"}
    assert len({fingerprint(page) for page in pages}) == 1


def test_what_a_client_puts_into_a_url_does_not_count(failed: Failed) -> None:
    assert fingerprint(failed("/list/1/")) == fingerprint(failed("/list/2/?a=b"))


def test_code_that_a_template_calls_is_the_place(failed: Failed) -> None:
    record = failed("/t/shop/calls.html")

    assert where(record).startswith("tests/test_pages.py:") or "/tests/test_pages.py:" in where(record)
    assert where(record).endswith("in fail")
    assert "place" not in full(record)


def test_a_view_that_calls_a_method_of_its_own_is_the_place(failed: Failed) -> None:
    record = failed("/posting/")

    assert where(record).endswith("in get")
    assert "place" not in full(record)


class Decoder(json.JSONDecoder):
    def decode(self, s: str, _w: Any = None) -> Any:
        return super().decode(s)


def test_code_that_extends_a_librarys_is_the_place_if_it_is_no_view() -> None:
    request = RequestFactory().get("/")
    request.resolver_match = resolve("/first/", __name__)
    record = make_record(error=raised(Decoder().decode, "{"), request=request)

    assert where(record).endswith("in decode")
    assert "place" not in full(record)


def test_without_a_request_the_template_is_known_all_the_same() -> None:
    engine = Engine(loaders=[("django.template.loaders.locmem.Loader", TEMPLATES)])
    first, second = (
        raised(engine.get_template(name).render, Context({})) for name in ("blog/page.html", "shop/page.html")
    )

    assert key_of(error=first).fingerprint != key_of(error=second).fingerprint
    assert key_of(error=first).cause == key_of(error=second).cause


def test_two_lines_of_one_template_are_two_bugs() -> None:
    def page(**context: bool) -> Any:
        text = "{% if first %}{% url 'bread' %}{% endif %}\n{% url 'bread' %}"
        loader = ("django.template.loaders.locmem.Loader", {"page.html": text})
        return key_of(
            error=raised(Engine(loaders=[loader]).get_template("page.html").render, Context(context))
        )

    assert page(first=True) != page(first=False)
    assert page(first=True) == page(first=True, other=True)


def test_a_template_without_a_name_has_no_place() -> None:
    error = raised(Engine().from_string("{% url 'bread' %}").render, Context({}))

    assert key_of(error=error).fingerprint.startswith("ml2:")
    assert "place" not in full(
        logging.LogRecord("a", 40, "", 1, "x", None, (type(error), error, error.__traceback__))
    )
