"""Addresses of pages in mails: the admin's, and signed ones to one problem each.

Whoever has a signed link may silence or resolve that problem, without an account, until it expires: the mail
is what is trusted. A new ``SECRET_KEY`` revokes all links, unless ``SECRET_KEY_FALLBACKS`` has the old one.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.urls import get_script_prefix, reverse, set_script_prefix

from . import conf
from .models import Group

MAX_AGE = timedelta(days=14)
PROBLEM = "django_maillog:problem"
# Not ":", which some mail programs take for the end of an address.
_SEPARATOR = "."
_LINK = re.compile(
    r"(?:https?://[^\s\"<>/:]+(?::[0-9]+)?/[^\s\"<>:]{0,300}?|(?<=/))"
    r"([0-9]{1,19})\.[0-9a-f]{16}\.[0-9A-Za-z]+\.[\w-]{43}/"
)


def absolute(view: str, args: Sequence[object]) -> str:
    """The absolute address of a view; empty without MAILLOG_SITE_URL, or if the project has no such view."""
    site = conf.or_default(conf.site_url)
    if not site:
        return ""
    try:
        with _script_prefix() as prefix:
            path = reverse(view, args=args)
    except Exception:  # no such view; or the project's URLs can't be imported, which the mail may be about
        return ""
    # Said by both settings, it stands there once.
    return (site.removesuffix(prefix) if urlsplit(site).path.endswith(prefix) else site) + path


def admin_url(model: str, key: int) -> str:
    """The absolute address of a row's page in the admin; empty if there is none."""
    return absolute(f"admin:django_maillog_{model}_change", [key])


def problem_url(key: int, buffer: str, fingerprint: str) -> str:
    """The signed link to one group; empty unless the project includes ``django_maillog.urls``."""
    return absolute(PROBLEM, [_signer().sign(_value(key, buffer, fingerprint))])


def are_included() -> bool:
    """Whether the project includes ``django_maillog.urls``."""
    try:
        reverse(PROBLEM, args=["0"])
    except Exception:  # there is none, or the project's URLs can't be imported, which other checks say
        return False
    return True


def find(token: str) -> Group | None:
    """The group of a signed link; None if it is stored no more.

    Raises django.core.signing.BadSignature, or its SignatureExpired after 14 days.
    """
    value = _signer().unsign(token, max_age=MAX_AGE)
    key = value.partition(_SEPARATOR)[0]
    if not key.isdecimal():
        raise BadSignature("No link of ours.")
    group: Group | None = Group.objects.filter(pk=int(key)).first()
    # A database may give a key again.
    if group is not None and _value(group.pk, group.buffer, group.fingerprint) != value:
        return None
    return group


def hidden(text: str) -> str:
    """A mail's text or HTML with each problem's page in the admin instead of its signed link."""
    return _LINK.sub(lambda link: admin_url("group", int(link[1])) or "…/", text)


@contextlib.contextmanager
def _script_prefix() -> Iterator[str]:
    """While it is entered, paths begin with FORCE_SCRIPT_NAME, which is yielded without a slash at its end.

    Django keeps the prefix for each thread, and within a request it is what the server said: a mail has one
    address, whichever thread makes it.
    """
    before, prefix = get_script_prefix(), (settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    set_script_prefix(f"{prefix}/")
    try:
        yield prefix
    finally:
        set_script_prefix(before)


def _value(key: int, buffer: str, fingerprint: str) -> str:
    digest = hashlib.blake2b(f"{buffer}\0{fingerprint}".encode(), digest_size=8).hexdigest()
    return f"{key}{_SEPARATOR}{digest}"


def _signer() -> TimestampSigner:
    return TimestampSigner(sep=_SEPARATOR, salt="django_maillog.links")
