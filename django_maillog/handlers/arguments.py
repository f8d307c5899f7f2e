"""The handlers' arguments, checked when a handler is made.

An error names the argument, its value and what is accepted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from typing import Any, TypeVar, cast

from django.utils.functional import Promise

T = TypeVar("T")
SETTING_RECIPIENTS = ("ADMINS", "MANAGERS")


def level(name: str, value: object) -> int:
    """A logging level from its number or name."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    known = logging.getLevelNamesMapping()
    if isinstance(value, str) and value in known:
        return known[value]
    raise _refusal(name, value, f"a level's number or its name ({', '.join(known)})")


def number(name: str, value: object) -> int:
    """How many of something."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _refusal(name, value, "a whole number, at least 0")
    return value


def flag(name: str, value: object) -> bool:
    """True or False, and nothing that only looks like it."""
    if not isinstance(value, bool):
        raise _refusal(name, value, "True or False")
    return value


def mailhost(value: Any) -> str | tuple[str, int | None] | None:
    """A host, or a host and its port."""
    accepted = 'a host such as "smtp.example.com", or (host, port)'
    if isinstance(value, bool):
        accepted += "; the arguments of AdminEmailHandler (include_html, …) are given by keyword here"
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise _refusal("mailhost", value, accepted)
    host, port = value
    if not isinstance(host, str) or not host.strip():
        raise _refusal("mailhost", value, accepted)
    if port is None:
        return host, None
    if isinstance(port, bool) or not str(port).isdecimal() or int(port) > 65_535:
        raise _refusal("mailhost", value, f"{accepted}, with a port from 1 to 65535")
    return host, int(port)


def address(name: str, value: Any) -> str | None:
    """One address, or None; a lazy string stays lazy."""
    if value is None or _is_told(value):
        return cast("str | None", value)
    raise _refusal(name, value, 'an address such as "errors@example.com"')


def toaddrs(value: Any) -> list[str] | None:
    """One string, never split, or a sequence of them; each an address, ``"ADMINS"`` or ``"MANAGERS"``."""
    if value is None:
        return None
    entries = [value] if isinstance(value, (str, Promise)) else value
    is_several = isinstance(entries, Sequence | Set) and not isinstance(entries, bytes)
    if is_several and all(map(_is_told, entries)):
        return list(entries)
    accepted = f"an address, a sequence of addresses, or {' or '.join(map(repr, SETTING_RECIPIENTS))}"
    raise _refusal("toaddrs", value, accepted)


def text(name: str, value: Any) -> str | None:
    """A string, or None; a lazy string stays lazy."""
    if value is None or isinstance(value, (str, Promise)):
        return cast("str | None", value)
    raise _refusal(name, value, "a string")


def credentials(value: Any) -> tuple[str, str] | None:
    """A user name and a password, or none."""
    if not value and not isinstance(value, (bool, int)):
        return None
    if not _are_strings(value) or len(value) != 2:
        # Not the value: an error message is no place for a password.
        raise ValueError(f"credentials must be (username, password), not a {type(value).__name__} like this.")
    return value[0], value[1]


def secure(value: Any) -> tuple[str, ...] | None:
    """(), (keyfile,) or (keyfile, certfile); None for no TLS."""
    if value is None:
        return None
    if not _are_strings(value) or len(value) > 2 or not all(value):
        raise _refusal("secure", value, "(), (keyfile,) or (keyfile, certfile)")
    return tuple(value)


def timeout(value: object) -> float | None:
    """Seconds, more than none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 10**9:
        raise _refusal("timeout", value, "a number of seconds, more than 0 and below 1,000,000,000")
    return value


def dotted(name: str, value: object) -> str | None:
    """A dotted path, or None."""
    if value is None:
        return None
    if isinstance(value, str) and "." in value and all(part.isidentifier() for part in value.split(".")):
        return value
    raise _refusal(name, value, 'a dotted path such as "package.module.Name"')


def function(name: str, value: T) -> T:
    """A function or its dotted path, or None."""
    if isinstance(value, str):
        dotted(name, value)
    elif value is not None and not callable(value):
        raise _refusal(name, value, "a function or its dotted path")
    return value


def alias(value: object) -> str | None:
    """The name of a mailer, or None."""
    if value is None or (isinstance(value, str) and value):
        return value
    raise _refusal("using", value, "an alias in MAILERS")


def _is_told(value: object) -> bool:
    """Whether it is a string, be it a lazy one, and not blank."""
    return isinstance(value, (str, Promise)) and bool(str(value).strip())


def _are_strings(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value)


def _refusal(name: str, value: object, accepted: str) -> ValueError:
    return ValueError(f"{name} must be {accepted}, not {value!r}.")
