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
        self.request = request_line(value)
        self.where = place_of(value)
        self.message = _string(value.get("message"))
        limit = TEXT_LIMIT if everything else TEXT_LIMIT_OF_MANY
        listed = SINGLE_MESSAGE if everything else LISTED_MESSAGE
        self._is_cut = any(len(_string(value.get(key))) > limit for key in TEXTS)
        self._texts = list(_texts(value, limit, listed))
        self._weights = [weight(text) for _heading, text in self._texts]
        self._tables = [
            Table(heading, [self._pair(name, content) for name, content in values.items()])
            for heading, values in _tables(value, everything=everything)
        ]
        self._before = Before(value)
        # Tables get two fifths of the room, so that a large form never hides the traceback.
        self.need = sum(self._weights) + _weight_of(self._tables) * 5 // 2 + 1
        # What led to it gets what others leave.
        self.need_before = self._before.need

    def fit(self, room: int, room_before: int) -> Fitted:
        """The sample in about ``room`` bytes of HTML, and what led to it in as many others."""
        tables = list(self._fit_tables(room * 2 // 5))
        is_cut = self._is_cut or tables != self._tables
        blocks = []
        rooms = share_out(self._weights, room - _weight_of(tables))
        for (heading, text), share in zip(self._texts, rooms, strict=True):
            parts = shorten(text, max(share, 200))
            is_cut |= "".join(part.text for part in parts) != text
            shown = [part._asdict() for part in parts]
            blocks.append({"heading": heading, "parts": shown, "text": folded(parts)})
        if block := self._before.block(room_before):
            blocks.append(block)
        is_cut |= bool(self.need_before) and not block
        return Fitted(blocks, tables, is_cut)

    def _pair(self, name: str, content: object) -> tuple[str, str]:
        text = _string(content)
        self._is_cut |= len(text) > VALUE_LIMIT
        return one_line(name, 80), visible(clip(text, VALUE_LIMIT))

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
                pairs.append((name, cut_middle(content, max(room, 100))))
                room -= _pair_weight(pairs[-1])
            yield Table(heading, pairs)


def _weight_of(tables: list[Table]) -> int:
    return sum(_pair_weight(pair) for table in tables for pair in table.pairs)


def _pair_weight(pair: tuple[str, str]) -> int:
    return weight(pair[0]) + weight(pair[1]) + PAIR_WEIGHT


def share_out(needs: list[int], room: int) -> list[int]:
    """Room for each need: whatever small ones leave goes to the others, in equal shares."""
    rooms = [0] * len(needs)
    left = room
    for done, index in enumerate(sorted(range(len(needs)), key=needs.__getitem__)):
        rooms[index] = min(needs[index], left // (len(needs) - done))
        left -= rooms[index]
    return rooms


def request_line(value: Mapping[str, Any]) -> str:
    """``GET /orders/7/ → 500``."""
    request = value.get("request") or {}
    line = f"{_string(request.get('method'))} {one_line(_string(request.get('path')), 300)}"
    if status := request.get("status_code"):
        line += f" → {status}"
    return one_line(line, 500)


def circumstances(value: Mapping[str, Any]) -> Iterator[str]:
    """Who asked for what: "User: 42 anna", "View: shop.views.order (orders/<int:pk>/)"."""
    request = value.get("request") or {}
    if user := _string(request.get("user")):
        yield user_line(user)
    view, route = (one_line(_string(request.get(name)), 120) for name in ("view", "route"))
    if view or route:
        said = _("View: %(view)s (%(route)s)") if route else _("View: %(view)s")
        yield (said if view else _("Route: %(route)s")) % {"view": view, "route": route}


def user_line(user: str) -> str:
    """Whose request it was, by key and name."""
    return _("User: %(name)s") % {"name": one_line(user, 80)}


def _string(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _texts(value: Mapping[str, Any], limit: int, listed: int) -> Iterator[tuple[str, str]]:
    formatted, trace, stack = (visible(clip(_string(value.get(key)), limit)).rstrip() for key in TEXTS)
    message = visible(_string(value.get("message"))).rstrip()
    if len(message) > listed and message not in formatted:
        # Where messages are listed, it is cut.
        yield _("Message"), message
    if formatted:
        yield "", formatted
    if trace and trace not in formatted:
        yield "", trace
    if stack and stack not in formatted:
        yield _("Stack"), stack


def _tables(value: Mapping[str, Any], *, everything: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    request = value.get("request") or {}
    meta = request.get("META")
    if isinstance(meta, Mapping) and not everything:
        meta = {name: meta[name] for name in META_SHOWN if name in meta}
    for heading, values in (
        ("GET", request.get("GET")),
        ("POST", request.get("POST")),
        (_("Extra"), value.get("extra")),
        (_("Request"), meta),
    ):
        # A row or a spool file may hold anything else.
        if values and isinstance(values, Mapping):
            yield heading, values
    if cut := value.get("cut"):
        yield _("Cut when it was recorded"), {_("fields"): ", ".join(map(_string, cut))}


def place_of(value: Mapping[str, Any]) -> str:
    """``shop/views.py:12 in pay`` of a captured record: where the code failed, else where it logs."""
    if place := _string(value.get("place")):
        return visible(one_line(place, 160))
    path = _string(value.get("pathname"))
    frame: Frame | None = None
    if text := _string(value.get("traceback")):
        frame = innermost(text[-TEXT_LIMIT:])
    elif path and not is_library(path):
        frame = Frame(path, _string(value.get("lineno", "?")), _string(value.get("function")))
    return visible(one_line(frame.place, 160)) if frame else ""
