"""What is constant in the call that made a record: f"Order {number} failed" is one bug, whatever the number.

The source of the module that logs is read once, and of it the logging calls are kept, each until its first
record; then only its constants. A record of another process, a line with two calls, a message that is a
variable, and whatever else is unexpected have no template: their text counts.
"""

from __future__ import annotations

import ast
import io
import logging
import os
import re
import string
import sys
import tokenize
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any, NamedTuple

_MAX_SOURCE_BYTES = 1_000_000
_MAX_MODULES = 300
_MAX_CHARACTERS = 100_000  # of the calls of one module
_MAX_CALL_LINES = 60
_MAX_CALL_CHARACTERS = 4_000
_MIN_LETTERS = 4

_METHOD = re.compile(r"\.\s*(debug|info|warning|warn|error|exception|critical|fatal|log)\s*\(")
_CLOSING = (")", "]", "}")
_ESCAPE = re.compile(r"\\[\\'\"abfnrtvxNuU0-7\n]")
_PLACEHOLDER = re.compile(r"%(?:\([^)]*\))?[-#0 +]*(?:\*|\d+)?(?:\.(?:\*|\d+))?[hlL]?([a-zA-Z%])")
# In a digest's text: what is not constant.
_HOLE = "\x1e"


class _Template(NamedTuple):
    """The constants of a message, in order; none where it has no template."""

    constants: tuple[str, ...]
    text: str


_NONE = _Template((), "")

# By file and line: the text of a call, or what its first record made of it.
_calls: dict[str, dict[int, str | _Template]] = {}

# What a message is made of: constants, and None for the rest.
Pieces = list[str | None]


def template_of(record: logging.LogRecord, message: str) -> str:
    """Return what is constant in the call that made a record, "" if that can't be told or doesn't fit."""
    fields = record.__dict__
    if fields.get("process") != os.getpid():
        return ""
    path, line = fields.get("pathname"), fields.get("lineno")
    if type(path) is not str or type(line) is not int:
        return ""
    calls = _calls.get(path)
    if calls is None:
        calls = _read(path)
    template = calls.get(line, _NONE)
    if isinstance(template, str):
        template = calls[line] = _template(template)
    end = 0
    for constant in template.constants:
        start = message.find(constant, end)
        if start < 0:  # the file has changed since the module was loaded
            return ""
        end = start + len(constant)
    return template.text


# The calls of a module


def _read(path: str) -> dict[int, str | _Template]:
    try:
        found: dict[int, str | _Template] = dict(_logging_calls(_source(path)))
    except Exception:  # a loader of the project's, a file that is gone or isn't text
        found = {}
    if len(_calls) >= _MAX_MODULES:
        _calls.clear()
    _calls[path] = found
    return found


def _source(path: str) -> str:
    """Return the source of the module that was loaded from a file, "" if there is none."""
    if os.path.isfile(path) and os.path.getsize(path) > _MAX_SOURCE_BYTES:
        return ""
    for module in list(sys.modules.values()):
        names = _names(module)
        if names.get("__file__") == path:
            loader, spec = names.get("__loader__"), names.get("__spec__")
            name = getattr(spec, "name", None) or names["__name__"]
            source: str = loader.get_source(name)  # type: ignore[union-attr]  # its absence is caught
            return source if len(source) <= _MAX_SOURCE_BYTES else ""
    return ""


def _names(module: object) -> dict[str, Any]:
    # Never by attribute: a lazy module would load.
    if not issubclass(type(module), ModuleType):
        return {}
    return object.__getattribute__(module, "__dict__")  # type: ignore[no-any-return]


def _logging_calls(source: str) -> Iterator[tuple[int, str | _Template]]:
    """Yield the line and the text of each logging call, from its method's name to where its block goes on."""
    lines = source.splitlines(keepends=True)
    left = _MAX_CHARACTERS
    for index, line in enumerate(lines):
        found = list(_METHOD.finditer(line)) if "(" in line else []
        if len(found) != 1:
            continue
        rest = _rest_of_call(lines, index, found[0].start(1))
        left -= len(rest)
        if left < 0:
            return
        yield index + 1, rest


def _rest_of_call(lines: list[str], index: int, start: int) -> str:
    indent = _indent(lines[index])
    taken = [lines[index][start:]]
    for line in lines[index + 1 : index + _MAX_CALL_LINES]:
        if line.strip() and _indent(line) <= indent and not line.lstrip().startswith(_CLOSING):
            break
        taken.append(line)
    return "".join(taken)[:_MAX_CALL_CHARACTERS]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


# The constants of a call


def _template(call: str) -> _Template:
    try:
        pieces = _message(_parsed(call))
    except Exception:  # whatever a source may hold
        return _NONE
    constants = tuple(piece for piece in pieces if piece)
    if sum(map(str.isalpha, "".join(constants))) < _MIN_LETTERS:
        return _NONE
    return _Template(constants, "".join(_HOLE if piece is None else piece for piece in pieces))


def _parsed(call: str) -> ast.Call:
    if "\\" in _ESCAPE.sub("", call):
        raise ValueError("Python would warn of an escape sequence")
    for cut in (str.strip, _balanced):
        with suppress(SyntaxError):  # the statement goes on behind the call
            node = ast.parse(cut(call), mode="eval").body
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                return node
    raise ValueError("not a call")


def _balanced(call: str) -> str:
    """Return a call's text up to the parenthesis that closes it."""
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(call).readline):
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
            if not depth and token.string == ")":
                lines = call.splitlines(keepends=True)[: token.end[0]]
                return "".join([*lines[:-1], lines[-1][: token.end[1]]])
    raise SyntaxError("the call isn't closed")


def _message(call: ast.Call) -> Pieces:
    """Return the pieces of the message that a logging call is given."""
    position = 1 if getattr(call.func, "id", "") == "log" else 0
    if any(isinstance(argument, ast.Starred) for argument in call.args[: position + 1]):
        return []
    if len(call.args) <= position:
        return next((_pieces(keyword.value) for keyword in call.keywords if keyword.arg == "msg"), [])
    pieces = _pieces(call.args[position])
    # A queue's handler has formatted a template with its arguments already.
    return list(_formatted(pieces)) if len(call.args) > position + 1 else pieces


def _pieces(node: ast.expr) -> Pieces:
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            return [piece for value in values for piece in _pieces(value)]
        case ast.BinOp(left=left, op=ast.Mod()):
            return list(_formatted(_pieces(left)))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [*_pieces(left), *_pieces(right)]
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            return list(_braces(text))
        case ast.NamedExpr(value=value):
            return _pieces(value)
    return [None]


def _formatted(pieces: Iterable[str | None]) -> Iterator[str | None]:
    """Yield the constants of a template for ``%``, and its placeholders."""
    for piece in pieces:
        if piece is None:
            yield None
            continue
        end = 0
        text = ""
        for match in _PLACEHOLDER.finditer(piece):
            text += piece[end : match.start()]
            end = match.end()
            if match[1] == "%":
                text += "%"
            else:
                yield from (text, None)
                text = ""
        yield text + piece[end:]


def _braces(template: str) -> Iterator[str | None]:
    for text, field, _format, _conversion in string.Formatter().parse(template):
        yield text
        if field is not None:
            yield None
