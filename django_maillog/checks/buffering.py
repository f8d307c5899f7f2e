"""Checks of a BufferingHandler."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from .live import PACKAGE, Found, is_callable


def check_buffer(item: Found) -> Iterator[CheckMessage]:
    """A BufferingHandler's target and its own fingerprint function."""
    try:
        item.handler.make_rules()
    except ValueError as error:
        yield Error(
            f"The handler {item.name!r} has a wrong attribute: {error}",
            hint=f'Correct LOGGING["handlers"]["{item.name}"].',
            id="django_maillog.E005",
        )
    try:
        if item.handler.has_stale_target():
            yield Warning(
                f"The handler {item.name!r} mails as {item.handler.target.name!r} of an earlier logging "
                "configuration says; the present one has no such handler.",
                hint=f'Configure "{item.handler.target.name}" together with "{item.name}".',
                id="django_maillog.W018",
            )
    except ImproperlyConfigured as error:
        yield Error(
            f"The handler {item.name!r} has no usable target: {error}",
            hint=f'Name a "{PACKAGE}.SMTPHandler" of LOGGING["handlers"] as target, or leave target out.',
            id="django_maillog.E004",
        )
    fingerprint = item.handler._fingerprint
    if isinstance(fingerprint, str) and not is_callable(fingerprint):
        yield Error(
            f"The handler {item.name!r} has fingerprint={fingerprint!r}: there is no such function.",
            hint="Give the path of a function that takes a LogRecord and returns (fingerprint, cause).",
            id="django_maillog.E009",
        )
