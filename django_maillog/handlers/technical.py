"""Technical reports: Django's ExceptionReporter as a mail wants it, and as a logging call can afford it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NoReturn, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Manager, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.functional import LazyObject, Promise, empty
from django.utils.module_loading import import_string
from django.views.debug import ExceptionReporter

from ..capture.secrets import cleanse_urls, cleanser

DEFAULT_REPORTER = ExceptionReporter
NOT_LOADED = "[not loaded]"
URLS = ("QUERY_STRING", "REQUEST_URI", "RAW_URI", "HTTP_REFERER")


class BriefSettings(dict[str, Any]):
    """Settings that are found by name (a report's head shows apps and middleware) but not listed."""

    def items(self) -> Any:
        return ()


class BriefReporter(ExceptionReporter):
    """Django's report without its dump of all settings, which leaks what no filter knows by name."""

    def get_traceback_data(self) -> dict[str, Any]:
        data = super().get_traceback_data()
        return {**data, "settings": BriefSettings(data["settings"])}


def find_class(path: str | None) -> type[ExceptionReporter]:
    """The reporter with that path, else the project's ``DEFAULT_EXCEPTION_REPORTER``."""
    wanted = path or settings.DEFAULT_EXCEPTION_REPORTER
    try:
        return cast(type[ExceptionReporter], import_string(wanted))
    except ImportError as error:
        setting = "reporter_class" if path else "settings.DEFAULT_EXCEPTION_REPORTER"
        raise ImproperlyConfigured(
            f"{setting} must be the dotted path of an ExceptionReporter, not {wanted!r}: {error}"
        ) from error


def request_of(record: logging.LogRecord) -> HttpRequest | None:
    """The request that Django put on the record; what its development server puts there is a socket."""
    request = getattr(record, "request", None)
    return request if hasattr(request, "META") else None


def make(reporter: type[ExceptionReporter], record: logging.LogRecord, message: str) -> ExceptionReporter:
    """The reporter of one record; without an exception the message stands for its value."""
    request = request_of(record)
    return _make(reporter, record, message, request and _without_secrets(request, request.POST))


def offline_html(reporter: type[ExceptionReporter], record: logging.LogRecord, message: str) -> str:
    """The HTML report for use in a logging call: no query runs, no socket is read, nothing lazy is loaded."""
    offline = type("OfflineReporter", (_Offline, reporter), {})
    request = request_of(record)
    with _no_database():
        return _make(offline, record, message, request and _offline_request(request)).get_traceback_html()


def _without_secrets(request: HttpRequest, post: QueryDict) -> HttpRequest:
    """A copy whose parameters are cleansed by the project's filter, key by key, in its URLs as well."""
    cleanse = cleanser(request)
    kind = type(request)
    copy = kind.__new__(kind)
    vars(copy).update(vars(request))
    urls = {name: str(request.META[name]) for name in URLS if name in request.META}
    urls = {name: cleanse_urls(f"?{url}", cleanse)[1:] for name, url in urls.items()}
    vars(copy).update(
        META={**request.META, **urls}, GET=_cleansed(request.GET, cleanse), _post=_cleansed(post, cleanse)
    )
    return copy


def _cleansed(parameters: QueryDict, cleanse: Callable[[str, Any], Any]) -> QueryDict:
    cleansed = parameters.copy()
    for key, values in parameters.lists():
        cleansed.setlist(key, [cleanse(key, value) for value in values])
    return cleansed


def _make(
    reporter: type[ExceptionReporter], record: logging.LogRecord, message: str, request: HttpRequest | None
) -> ExceptionReporter:
    exc_type: type[BaseException] | None
    exc_value: Any
    traceback: TracebackType | None
    exc_type, exc_value, traceback = record.exc_info or (None, message, None)
    return reporter(request, exc_type, exc_value, traceback, is_email=True)


class _Offline(ExceptionReporter):
    """Shows lazy values among the variables by their class: showing their content would load it."""

    def get_exception_traceback_frames(
        self, exc_value: BaseException | None, tb: TracebackType | None
    ) -> Iterator[dict[str, Any]]:
        for frame in super().get_exception_traceback_frames(exc_value, tb):
            if "vars" in frame:
                frame["vars"] = [(name, _loaded(value)) for name, value in frame["vars"]]
            yield frame


def _loaded(value: object) -> object:
    kind = type(value)  # isinstance() would load a lazy object, by asking for its __class__
    if issubclass(kind, LazyObject) and vars(value).get("_wrapped") is not empty:
        return value
    if issubclass(kind, QuerySet) and vars(value).get("_result_cache") is not None:
        return value
    if issubclass(kind, (LazyObject, QuerySet, Manager, Promise)):
        return f"<{kind.__module__}.{kind.__qualname__}> {NOT_LOADED}"
    return value


def _offline_request(request: HttpRequest) -> HttpRequest:
    """The same request without what would have to be loaded: its body from the socket, its user."""
    offline = _without_secrets(request, vars(request).get("_post", QueryDict()))
    if "_post" not in vars(request):
        vars(offline).update(_files=MultiValueDict())
    user = vars(request).get("user")
    if issubclass(type(user), LazyObject) and _loaded(user) is not user:
        vars(offline)["user"] = NOT_LOADED
    return offline


@contextmanager
def _no_database() -> Iterator[None]:
    """Refuse every query of this thread meanwhile; the report shows the refusal in the value's place."""
    shadowed: list[tuple[dict[str, Any], str, Callable[..., Any] | None]] = []
    try:
        for connection in connections.all():
            for name in ("cursor", "chunked_cursor"):
                attributes = vars(connection)
                shadowed.append((attributes, name, attributes.get(name)))
                attributes[name] = _refuse
        yield
    finally:
        for attributes, name, before in shadowed:
            if before is None:
                attributes.pop(name, None)
            else:
                attributes[name] = before


def _refuse(*args: object, **kwargs: object) -> NoReturn:
    raise RuntimeError("No query runs while an error is being recorded.")
