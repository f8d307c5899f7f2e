"""Text out of anything a log record holds: bounded in size and time, and never an error."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType

MESSAGE_LIMIT = 8_000
TITLE_LIMIT = 200
TRACEBACK_LIMIT = 64_000
# Of one exception's text in it: the frames around it stay.
_VALUE_LIMIT = TRACEBACK_LIMIT // 4

Cut = Callable[[str, int], str]

# Up to here the traceback module prints an exception itself; beyond, both ends of everything are printed.
_MAX_FRAMES = 1_000
_MAX_LINKS = 200  # members of groups included
_END_FRAMES = 200
_END_LINKS = 10
_MAX_MEMBERS = 15
_MAX_DEPTH = 5
# Characters of a group's name in a title.
_GROUP_LIMIT = 60

# PostgreSQL refuses NUL; a lone surrogate cannot be written as UTF-8.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# What str.splitlines() splits at: no header may hold it, says Python's email package.
_LINE_ENDS = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_COLOURS = re.compile(r"\x1b\[[\d;]*+m")


def text_of(value: object) -> str:
    """Return ``str(value)``, or what went wrong with it."""
    if type(value) is str:
        return value
    try:
        return str.__str__(value if issubclass(type(value), str) else str(value))
    except Exception as error:  # the value's own code: it may do anything
        return f"<{class_name(type(value))}: str() raised {class_name(type(error))}>"


def safe_text(value: object, limit: int) -> str:
    """Return the text of any value, storable and at most ``limit`` long: the middle is cut, and marked."""
    text = value if type(value) is str else text_of(value)
    if len(text) > limit:
        text = _cut(text, limit)
    if not text.isascii() or "\0" in text:
        text = _UNSTORABLE.sub("\ufffd", text)
    return text


def _cut(text: str, limit: int) -> str:
    room = limit - len(f"… {len(text)} characters cut …")
    if room < 20:
        return text[: limit - 1] + "…"
    head = room // 2
    tail = room - head
    return f"{text[:head]}… {len(text) - room} characters cut …{text[-tail:]}"


def one_line(text: str, limit: int = TITLE_LIMIT) -> str:
    """Return the first line that says something, without control characters, cut at its end."""
    start = text[: limit * 2]
    if not start.isprintable():
        start = without_colours(start)
        start = next((line for line in start.splitlines() if line.strip()), "")
        if not start.isprintable():
            start = "".join(char if char.isprintable() else " " for char in start)
    start = start.strip()
    return start if len(start) <= limit else start[: limit - 1] + "…"


def without_colours(text: str) -> str:
    """Return a text without the sequences by which terminals show colours."""
    return _COLOURS.sub("", text) if "\x1b" in text else text


def shortened(text: str, limit: int) -> str:
    """Return the text cut at its end, with a mark that says so."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def title_of(message: str) -> str:
    """Return what stands for a record without an exception: the first line of its message."""
    return one_line(message) or "(empty message)"


def has_own_title(title: str, message: str) -> bool:
    """Say whether a title tells more than its message: an exception, or what an event is called."""
    return title != title_of(message)


def escape_line_ends(text: str) -> str:
    """Return text on one line, with the escape of each line end in its place."""
    return _LINE_ENDS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def header_text(text: str) -> str:
    """Return one line for a header, without RFC 2047's marker: mail programs would decode what it hides."""
    return escape_line_ends(text).replace("=?", "= ?")


def class_name(kind: type) -> str:
    """Return a class's name as tracebacks print it: with its module, but for builtins and ``__main__``."""
    try:
        module, name = kind.__module__, kind.__qualname__
    except Exception:  # a metaclass of its own
        return "object"
    return name if module in ("builtins", "__main__") else f"{module}.{name}"


def message_of(record: logging.LogRecord) -> str:
    """Return the formatted message; with wrong arguments, the template and what is wrong."""
    try:
        return text_of(record.getMessage())
    except Exception as error:  # wrong arguments, or an argument's own code
        wrong = f"{class_name(type(error))}: {text_of(error)}"
        return f"{text_of(record.__dict__.get('msg'))} (its arguments could not be formatted: {wrong})"


def exception_of(record: logging.LogRecord) -> tuple[BaseException | None, TracebackType | None]:
    """Return the exception and traceback of a record, whatever shape its ``exc_info`` has."""
    fields = record.__dict__
    info = fields.get("exc_info")
    if info is None:
        # structlog leaves it in a message that is a mapping, for a formatter to print.
        message = fields.get("msg")
        info = dict.get(message, "exc_info") if isinstance(message, dict) else None
    if info is None:  # as in most records: it is asked several times of each
        return None, None
    if info is True:
        info = sys.exc_info()
    if type(info) is tuple and len(info) == 3 and isinstance(info[1], BaseException):
        return info[1], info[2]
    if isinstance(info, BaseException):
        return info, info.__traceback__
    return None, None


def traceback_text(exc: BaseException, tb: TracebackType | None, cut: Cut) -> tuple[str, bool]:
    """Return what ``traceback.print_exception`` prints; of huge ones both ends, and True.

    ``cut`` cuts the text of an exception, as ``safe_text`` does.
    """
    try:
        if _is_huge(exc, tb):
            return "".join(_ends(exc, tb, depth=0, cut=cut)), True
        return "".join(traceback.TracebackException(type(exc), exc, tb, compact=True).format()), False
    except Exception as error:  # fake tracebacks of task queues, exceptions with properties that raise
        wrong = class_name(type(error))
    try:
        told = "".join(_link(exc, tb, depth=_MAX_DEPTH, cut=cut))
        return f"{told}(its traceback could not be printed whole: {wrong})\n", False
    except Exception:  # no traceback of Python's
        return (
            f"{class_name(type(exc))}: {text_of(exc)}\n(its traceback could not be printed: {wrong})\n",
            False,
        )


def links(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its chain, the last raised first, as Python prints it; cycles are cut."""
    seen: set[int] = set()
    link: BaseException | None = exc
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        above = link
        link = above.__cause__
        if link is None and not above.__suppress_context__:
            link = above.__context__


def first_leaf(exc: BaseException) -> tuple[BaseException, str]:
    """Return what a title tells of an exception: of a group its first leaf, and what stands behind that."""
    leaf, others = exc, 0
    for _level in range(_MAX_LINKS):
        if not isinstance(leaf, BaseExceptionGroup):
            break
        others += len(leaf.exceptions) - 1
        leaf = leaf.exceptions[0]
    if leaf is exc:
        return exc, ""
    name = one_line(class_name(type(exc)), _GROUP_LIMIT)
    return leaf, f" (+{others} more in {name})" if others else f" (in {name})"


def _is_huge(exc: BaseException, tb: TracebackType | None) -> bool:
    frames = _length(tb)
    count = 0
    pending = [exc]
    while pending:
        for link in links(pending.pop()):
            count += 1
            if link is not exc:
                frames += _length(link.__traceback__)
            if count > _MAX_LINKS or frames > _MAX_FRAMES or len(_value(link)) > _VALUE_LIMIT:
                return True
            if isinstance(link, BaseExceptionGroup):
                pending.extend(link.exceptions)
    return False


def _value(exc: BaseException) -> str:
    try:
        notes: object = exc.__notes__
    except Exception:  # there are none, or a __getattr__ of its own raises what it likes
        notes = []
    return "\n".join([text_of(exc), *map(text_of, notes)]) if isinstance(notes, list) else text_of(exc)


def _length(tb: TracebackType | None) -> int:
    return sum(1 for _step in traceback.walk_tb(tb))


def _ends(exc: BaseException, tb: TracebackType | None, *, depth: int, cut: Cut) -> Iterator[str]:
    first, *chain = links(exc)
    left_out = len(chain) - 2 * _END_LINKS
    if left_out > 0:
        chain[_END_LINKS:-_END_LINKS] = []
    for number, link in reversed(list(enumerate(chain))):
        yield from _link(link, link.__traceback__, depth=depth, cut=cut)
        if left_out > 0 and number == _END_LINKS:
            yield f"\n… {left_out} exceptions cut …\n"
        yield "\nThe exception above led to the one below:\n\n"
    yield from _link(first, tb, depth=depth, cut=cut)


def _link(exc: BaseException, tb: TracebackType | None, *, depth: int, cut: Cut) -> Iterator[str]:
    yield "Traceback (most recent call last):\n"
    left_out = _length(tb) - 2 * _END_FRAMES
    if left_out > 0:
        yield from traceback.format_tb(tb, limit=_END_FRAMES)
        yield f"  … {left_out} frames cut …\n"
        yield from traceback.format_tb(tb, limit=-_END_FRAMES)
    else:
        yield from traceback.format_tb(tb)
    # Not by the traceback module, which looks at the whole chain for it.
    value = _value(exc)
    yield class_name(type(exc)) + (f": {cut(value, _VALUE_LIMIT)}\n" if value else "\n")
    if not isinstance(exc, BaseExceptionGroup):
        return
    if depth == _MAX_DEPTH:
        yield "… nested exceptions cut …\n"
        return
    for number, member in enumerate(exc.exceptions[:_MAX_MEMBERS], 1):
        yield f"---------------- {number} of {len(exc.exceptions)} ----------------\n"
        yield from _ends(member, member.__traceback__, depth=depth + 1, cut=cut)
