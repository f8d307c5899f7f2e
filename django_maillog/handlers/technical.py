"""Technical reports: Django's ExceptionReporter as a mail wants it, and as a logging call can afford it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NoReturn, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Manager, QuerySet
from django.http import HttpRequest, QueryDict
from django.template.defaultfilters import pprint
from django.utils.datastructures import MultiValueDict
from django.utils.functional import LazyObject, Promise, empty
from django.utils.module_loading import import_string
from django.views.debug import ExceptionReporter

from ..capture.request import stores_personal_data
from ..capture.secrets import MARGIN, STARS, Secrets
from ..capture.text import exception_of, message_of, text_of

NOT_LOADED = "[not loaded]"
# Characters of a variable, as in Django's reports, and of a parameter or header.
VARIABLE_LIMIT = 4_096
PARAMETER_LIMIT = 8_000
LINE_LIMIT = 500
# A connection's methods that begin a query.
CURSORS = ("cursor", "chunked_cursor")
# What an address is made of.
SERVER = ("SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme")


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


def make(reporter: type[ExceptionReporter], record: logging.LogRecord) -> ExceptionReporter:
    """The reporter of one record; without an exception the message stands for its value."""
    request = _request_of(record)
    return _make(_Cleansed, reporter, record, request and _without_secrets(request, request.POST))


def offline_html(reporter: type[ExceptionReporter], record: logging.LogRecord) -> str:
    """The HTML report for use in a logging call: no query runs, no socket is read, nothing lazy is loaded."""
    request = _request_of(record)
    with _no_database():
        return _make(_Offline, reporter, record, request and _offline_request(request)).get_traceback_html()


def _request_of(record: logging.LogRecord) -> HttpRequest | None:
    """The request that Django put on the record; what its development server puts there is a socket."""
    request = getattr(record, "request", None)
    return request if hasattr(request, "META") else None


def _make(
    mixin: type[ExceptionReporter],
    reporter: type[ExceptionReporter],
    record: logging.LogRecord,
    request: HttpRequest | None,
) -> ExceptionReporter:
    error, tb = exception_of(record)
    exception: tuple[Any, Any, Any] = (None, message_of(record), None)
    if error is not None:
        exception = type(error), error, tb
    cleansed: type[ExceptionReporter] = type("CleansedReporter", (mixin, reporter), {})
    return cleansed(request, *exception, is_email=True)


def _without_secrets(request: HttpRequest, post: QueryDict) -> HttpRequest:
    """A copy whose parameters are cleansed by the project's filter, key by key, in its URLs as well."""
    secrets = Secrets(request)
    shown: dict[str, Any]
    if stores_personal_data():
        meta = {
            name: secrets.text(value, PARAMETER_LIMIT) if isinstance(value, str) else value
            for name, value in request.META.items()
        }
        shown = {
            "META": {name: secrets.value(name, value) for name, value in meta.items()},
            "COOKIES": dict.fromkeys(request.COOKIES, STARS),
            "GET": _cleansed(request.GET, secrets),
            "_post": _cleansed(post, secrets),
        }
    else:
        server = {name: value for name, value in request.META.items() if name in SERVER}
        nothing = QueryDict()
        shown = {"META": server, "COOKIES": {}, "GET": nothing, "_post": nothing, "user": ""}
        shown["_files"] = MultiValueDict()
    shown |= {
        name: secrets.text(text_of(getattr(request, name, "")), PARAMETER_LIMIT)
        for name in ("path", "path_info")
    }
    kind = type(request)
    copy = kind.__new__(kind)
    vars(copy).update(vars(request) | shown)
    return copy


def _cleansed(parameters: QueryDict, secrets: Secrets) -> QueryDict:
    cleansed = QueryDict(mutable=True)
    for key, values in parameters.lists():
        shown = [secrets.value(key, secrets.text(str(value), PARAMETER_LIMIT)) for value in values]
        cleansed.setlist(secrets.text(key, VARIABLE_LIMIT), shown)
    return cleansed


class _Cleansed(ExceptionReporter):
    """Shows no secret that a variable, a line of source or the exception holds, by name or within a text."""

    def get_exception_traceback_frames(
        self, exc_value: BaseException | None, tb: TracebackType | None
    ) -> Iterator[dict[str, Any]]:
        secrets = Secrets(self.request)
        for frame in super().get_exception_traceback_frames(exc_value, tb):
            if "vars" in frame:
                variables = frame["vars"] if stores_personal_data() else ()
                frame["vars"] = [
                    (name, _Shown(self.variable(name, value, secrets))) for name, value in variables
                ]
            if "context_line" in frame:
                _cleanse_source(frame, secrets)
            yield frame

    def get_traceback_data(self) -> dict[str, Any]:
        data = super().get_traceback_data()
        secrets = Secrets(self.request)
        for name in ("exception_value", "exception_notes"):
            if name in data:
                data[name] = secrets.text(text_of(data[name]), PARAMETER_LIMIT)
        return data

    def variable(self, name: str, value: object, secrets: Secrets) -> str:
        """What is shown of one variable."""
        if secrets.hides_in_text(name, named=True):
            return STARS
        if type(value) in (str, bytes):
            value = value[: VARIABLE_LIMIT + MARGIN + 1]  # type: ignore[index]
        return secrets.text(pprint(value), VARIABLE_LIMIT)


class _Shown:
    """What a variable is shown as, already written."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _cleanse_source(frame: dict[str, Any], secrets: Secrets) -> None:
    """Hide the literals in lines of source that a secret's name stands before, as in a traceback."""
    lines = [*frame["pre_context"], frame["context_line"], *frame["post_context"]]
    quoted = "".join(f"\n    {str(line)[:LINE_LIMIT]}" for line in lines)
    cleansed = secrets.text(f'File "", line 1{quoted}', len(quoted) + 2 * LINE_LIMIT)
    shown = [line[4:] for line in cleansed.split("\n")[1:]]
    if len(shown) != len(lines):
        # A text of several lines is secret.
        shown = [STARS] * len(lines)
    number = len(frame["pre_context"])
    frame |= {
        "pre_context": shown[:number],
        "context_line": shown[number],
        "post_context": shown[number + 1 :],
    }


class _Offline(_Cleansed):
    """Shows lazy values among the variables by their class: showing their content would load it."""

    def variable(self, name: str, value: object, secrets: Secrets) -> str:
        return super().variable(name, _loaded(value), secrets)


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
        vars(offline)["_files"] = MultiValueDict()
    user = vars(request).get("user")
    if issubclass(type(user), LazyObject) and _loaded(user) is not user:
        vars(offline)["user"] = NOT_LOADED
    return offline


@contextmanager
def _no_database() -> Iterator[None]:
    """Refuse every query of this thread meanwhile; the report shows the refusal in the value's place."""
    connected = [vars(connection) for connection in connections.all()]
    # Tools that count queries set such attributes, too.
    before = [{name: own[name] for name in CURSORS if name in own} for own in connected]
    try:
        for own in connected:
            own.update(dict.fromkeys(CURSORS, _refuse))
        yield
    finally:
        for own, former in zip(connected, before, strict=True):
            for name in CURSORS:
                own.pop(name, None)
            own.update(former)


def _refuse(*args: object, **kwargs: object) -> NoReturn:
    raise RuntimeError("No query runs while an error is being recorded.")
