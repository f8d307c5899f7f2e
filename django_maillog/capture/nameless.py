"""What tells lambdas and generators apart, which have no names."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType

from .keys import fingerprint_of

# All of one function have one name, and each its own first line.
NAMELESS = frozenset(["<lambda>", "<genexpr>"])


def contents_of(code: CodeType) -> str:
    """Return a digest of the names, constants and operators in a code, the same on every Python."""
    found: set[str] = set()
    pending: list[object] = [code]
    while pending:
        match pending.pop():
            case CodeType() as part:
                found.update(part.co_names, part.co_varnames, part.co_freevars, _operators(part))
                pending.extend([*part.co_consts, *_small_integers(part)])
            case tuple() | frozenset() as several:
                pending.extend(several)
            case slice(start=start, stop=stop, step=step):  # a constant since Python 3.14
                pending.extend([start, stop, step])
            case str() | bytes() | int() | float() as constant:
                found.add(repr(constant))
    # What some Pythons have and others don't: an item, the argument of a comprehension, no format.
    return fingerprint_of("code", *sorted(found - {"[]", ".0", "''"}))


def _operators(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("BINARY_OP", "COMPARE_OP"):
            yield step.argrepr.removeprefix("bool(").removesuffix(")")


def _small_integers(code: CodeType) -> list[int]:
    """Return what Python 3.14 no longer keeps as constants."""
    return [step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_SMALL_INT"]
