"""What is constant in the call that made a record: f"Order {number} failed" is one bug, whatever the number.

The call is read once, from the source of the module that logs. A record of another process, a line with two
calls, a message that is a variable, and whatever else is unexpected have no template: their text counts.
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
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple, cast

_MAX_SOURCE_CHARACTERS = 1_000_000
_MAX_CALL_CHARACTERS = 4_000
_MIN_LETTERS = 4

_METHOD = re.compile(r"\.\s*(debug|info|warning|warn|error|exception|critical|fatal|log)\s*\(")
_ESCAPE = re.compile(r"\\[\\'\"abfnrtvxNuU0-7\n]")
_PLACEHOLDER = re.compile(r"%(?:\([^)]*\))?[-#0 +]*(?:\*|\d+)?(?:\.(?:\*|\d+))?[hlL]?([a-zA-Z%])")
# Stands in a template for what is not constant.
_HOLE = "\x1e"


class Call(NamedTuple):
    """What the source of a logging call says of its message."""

    # What is constant in it; empty if that says nothing.
    template: str
    # The message argument itself, if all of it is constant.
    constant: str


def call_of(record: logging.LogRecord) -> Call | None:
    """Return the call that made a record, None if its source can't be read."""
    fields = record.__dict__
    path, line = fields.get("pathname"), fields.get("lineno")
    if fields.get("process") != os.getpid() or type(path) is not str or type(line) is not int:
        return None
    return _read(path, line)


def template_of(record: logging.LogRecord, message: str) -> str:
    """Return what is constant in the call that made a record, "" if that can't be told or doesn't fit."""
    call = call_of(record)
    if call is None:
        return ""
    end = 0
    for constant in call.template.split(_HOLE):
        start = message.find(constant, end)
        if start < 0:  # the file has changed since the module was loaded
            return ""
        end = start + len(constant)
    return call.template


@lru_cache(maxsize=2_000)
def _read(path: str, line: int) -> Call | None:
    """Return the logging call on a line of a file, None if it can't be told."""
    try:
        return _message(_call_at(_lines(path), line))
    except Exception:  # a loader of the project's, a file that is gone, whatever a source may hold
        return None


@lru_cache(maxsize=16)
def _lines(path: str) -> list[str]:
    """Return the lines of a module, whose file is not to be read again for each call that logs in it."""
    return io.StringIO(_source(path)).readlines()


def _source(path: str) -> str:
    """Return the source of the module that was loaded from a file, "" if there is none."""
    for module in list(sys.modules.values()):
        names = _names(module)
        if names.get("__file__") == path:
            loader, spec = names.get("__loader__"), names.get("__spec__")
            name = getattr(spec, "name", None) or names["__name__"]
            source: str = loader.get_source(name)  # type: ignore[union-attr]  # its absence is caught
            return source if len(source) <= _MAX_SOURCE_CHARACTERS else ""
    return ""


def _names(module: object) -> dict[str, Any]:
    # Never by attribute: a lazy module would load.
    if not issubclass(type(module), ModuleType):
        return {}
    return object.__getattribute__(module, "__dict__")  # type: ignore[no-any-return]


def _call_at(lines: list[str], line: int) -> ast.Call:
    """Return the only logging call on a line, as a call of its method alone."""
    if line < 1:
        raise ValueError("not a line")
    (method,) = _METHOD.finditer(lines[line - 1])
    rest = "".join(lines[line - 1 : line - 1 + _MAX_CALL_CHARACTERS])
    call = _balanced(rest[method.start(1) :][:_MAX_CALL_CHARACTERS])
    if "\\" in _ESCAPE.sub("", call):
        raise ValueError("Python would warn of an escape sequence")
    return cast(ast.Call, ast.parse(call, mode="eval").body)


def _balanced(text: str) -> str:
    """Return a text up to the parenthesis that closes its first one."""
    lines = io.StringIO(text).readlines()
    depth = 0
    for token in tokenize.generate_tokens(iter(lines).__next__):
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
            if not depth and token.string == ")":
                row, column = token.end
                return "".join([*lines[: row - 1], lines[row - 1][:column]])
    raise SyntaxError("the call isn't closed")


def _message(call: ast.Call) -> Call:
    """Return what a logging call says of its message."""
    position = 1 if getattr(call.func, "id", "") == "log" else 0
    if any(isinstance(argument, ast.Starred) for argument in call.args[: position + 1]):
        return Call("", "")
    named = (keyword.value for keyword in call.keywords if keyword.arg == "msg")
    node = next(iter(call.args[position : position + 1]), None) or next(named, None)
    text = _HOLE if node is None else _template(node)
    # A queue's handler has formatted a template with its arguments already.
    template = _formatted(text) if len(call.args) > position + 1 else text
    has_words = sum(map(str.isalpha, template)) >= _MIN_LETTERS
    return Call(template if has_words else "", "" if _HOLE in text else text)


def _template(node: ast.expr) -> str:
    """Return what is constant in an expression, with holes for the rest."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(map(_template, values))
        case ast.BinOp(left=left, op=ast.Mod()):
            return _formatted(_template(left))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _template(left) + _template(right)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            parts = string.Formatter().parse(text)
            return "".join(before if field is None else before + _HOLE for before, field, *_ in parts)
        case ast.NamedExpr(value=value):
            return _template(value)
    return _HOLE


def _formatted(template: str) -> str:
    return _PLACEHOLDER.sub(lambda found: "%" if found[1] == "%" else _HOLE, template)
