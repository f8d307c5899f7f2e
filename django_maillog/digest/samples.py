"""One occurrence in full: request, texts and values, cleaned once and fitted into the room there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..frames import Frame, innermost, is_library
from ..language import gettext as _
from ..language import ngettext
from .before import Before
from .excerpts import clip, cut_middle, folded, one_line, shorten, visible, weight

TEXTS = ("formatted", "traceback", "stack_info")
META_SHOWN = ("HTTP_HOST", "HTTP_REFERER", "HTTP_USER_AGENT", "REMOTE_ADDR")
TEXT_LIMIT = 64_000
TEXT_LIMIT_OF_MANY = 32_000
VALUE_LIMIT = 2_000
# Characters of a message above its sample: of the mail's only record, and of one among others.
SINGLE_MESSAGE = 2_000
LISTED_MESSAGE = 300
# Bytes of HTML around a name and its value.
PAIR_WEIGHT = 250


class Table(NamedTuple):
    """Names and values under a heading."""

    heading: str
    pairs: list[tuple[str, str]]


class Fitted(NamedTuple):
    """What a template shows of a sample."""

    blocks: list[dict[str, Any]]
    tables: list[Table]
    is_shortened: bool


class Sample:
    """A captured record as a mail shows it; with ``everything`` all request headers, too."""

    def __init__(self, value: Mapping[str, Any], *, everything: bool) -> None:
        self.request = request_line(value.get("request"))
        self.where = place_of(value)
        self.message = _string(value.get("message"))
        limit = TEXT_LIMIT if everything else TEXT_LIMIT_OF_MANY
        listed = SINGLE_MESSAGE if everything else LISTED_MESSAGE
        self._is_cut = any(len(_string(value.get(key))) > limit for key in TEXTS)
        self._texts = [(heading, text, weight(text)) for heading, text in _texts(value, limit, listed)]
        self._tables = [
            Table(heading, [self._pair(name, content) for name, content in values.items()])
            for heading, values in _tables(value, everything=everything)
        ]
        values = sum(_pair_weight(pair) for table in self._tables for pair in table.pairs)
        # Tables get two fifths of the room, so that a large form never hides the traceback.
        self.need = sum(size for *_, size in self._texts) + values * 5 // 2 + 1
        self._before = Before(value)
        # What led to it gets what others leave.
        self.need_before = self._before.need

    def fit(self, room: int, room_before: int = 0) -> Fitted:
        """The sample in about ``room`` bytes of HTML, and what led to it in as many others."""
        tables = list(self._fit_tables(room * 2 // 5))
        is_cut = self._is_cut or tables != self._tables
        room -= sum(_pair_weight(pair) for table in tables for pair in table.pairs)
        blocks = []
        rooms = share_out([size for *_, size in self._texts], room)
        for (heading, text, _size), share in zip(self._texts, rooms, strict=True):
            excerpt = shorten(text, max(share, 200))
            is_cut |= bool(excerpt.frames_cut or excerpt.characters_cut)
            parts = [part._asdict() for part in excerpt.parts]
            blocks.append({"heading": heading, "parts": parts, "text": folded(excerpt.parts)})
        if block := self._before.block(room_before):
            blocks.append(block)
        is_cut |= bool(self.need_before) and not block
        return Fitted(blocks, tables, is_cut)

    def _pair(self, name: object, content: object) -> tuple[str, str]:
        text, gone = clip(_string(content), VALUE_LIMIT)
        self._is_cut |= bool(gone)
        return one_line(_string(name), 80), visible(text)

    def _fit_tables(self, room: int) -> Iterator[Table]:
        for heading, whole in self._tables:
            pairs: list[tuple[str, str]] = []
            for name, content in whole:
                if room <= 0:
                    left = ngettext(
                        "%(number)s more value left out",
                        "%(number)s more values left out",
                        len(whole) - len(pairs),
                    )
                    pairs.append(("…", left))
                    break
                pairs.append((name, cut_middle(content, max(room, 100))[0]))
                room -= _pair_weight(pairs[-1])
            yield Table(heading, pairs)


def share_out(needs: list[int], room: int) -> list[int]:
    """Room for each need: whatever small ones leave goes to the others, in equal shares."""
    rooms = [0] * len(needs)
    left = room
    for done, index in enumerate(sorted(range(len(needs)), key=needs.__getitem__)):
        rooms[index] = min(needs[index], left // (len(needs) - done))
        left -= rooms[index]
    return rooms


def request_line(request: object) -> str:
    """``GET /orders/7/ → 500``."""
    if not isinstance(request, Mapping):
        return ""
    line = " ".join(
        part for part in (_string(request.get("method")), one_line(_string(request.get("path")), 300)) if part
    )
    if status := request.get("status_code"):
        line += f" → {_string(status)}"
    return one_line(line, 500)


def circumstances(sample: Mapping[str, Any]) -> Iterator[str]:
    """Who asked for what: "User: 42 anna", "View: shop.views.order (orders/<int:pk>/)"."""
    request = sample.get("request")
    if not isinstance(request, Mapping):
        return
    if user := one_line(_string(request.get("user")), 80):
        yield _("User: %(name)s") % {"name": user}
    view, route = (one_line(_string(request.get(name)), 120) for name in ("view", "route"))
    if view or route:
        said = _("View: %(view)s (%(route)s)") if route else _("View: %(view)s")
        yield (said if view else _("Route: %(route)s")) % {"view": view, "route": route}


def _string(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _texts(sample: Mapping[str, Any], limit: int, listed: int) -> Iterator[tuple[str, str]]:
    formatted, trace, stack = (visible(clip(_string(sample.get(key)), limit)[0]).rstrip() for key in TEXTS)
    message = visible(_string(sample.get("message"))).rstrip()
    if len(message) > listed and message not in formatted:
        # Where messages are listed, it is cut.
        yield _("Message"), message
    if formatted:
        yield "", formatted
    if trace and trace not in formatted:
        yield "", trace
    if stack and stack not in formatted:
        yield _("Stack"), stack


def _tables(sample: Mapping[str, Any], *, everything: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    request = sample.get("request")
    request = request if isinstance(request, Mapping) else {}
    for heading, values in (
        ("GET", request.get("GET")),
        ("POST", request.get("POST")),
        (_("Extra"), sample.get("extra")),
    ):
        if values and isinstance(values, Mapping):
            yield heading, values
    meta = request.get("META")
    if isinstance(meta, Mapping):
        shown = meta if everything else {key: meta[key] for key in META_SHOWN if key in meta}
        if shown:
            yield _("Request"), shown
    if cut := sample.get("cut"):
        yield _("Cut when it was recorded"), {_("fields"): ", ".join(map(_string, cut))}


def place_of(value: Mapping[str, Any]) -> str:
    """``shop/views.py:12 in pay`` of a captured record: where the code failed, else where it logs."""
    if place := _string(value.get("place")):
        return visible(one_line(place, 160))
    if text := _string(value.get("traceback")):
        frame = innermost(text[-TEXT_LIMIT:])
    else:
        path, function = _string(value.get("pathname")), _string(value.get("function"))
        frame = (
            Frame(path, _string(value.get("lineno", "?")), function)
            if path and not is_library(path)
            else None
        )
    return visible(one_line(frame.place, 160)) if frame else ""


def _pair_weight(pair: tuple[str, str]) -> int:
    return weight(pair[0]) + weight(pair[1]) + PAIR_WEIGHT
