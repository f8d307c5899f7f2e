"""No site of the code makes groups without end: what is new beyond its share goes into its overflow group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from datetime import datetime

from django.db.models import Min

from ..capture.captured import CapturedRecord
from ..capture.kinds import NEW_CAUSES_AN_HOUR
from ..models import Group
from ..policy import HOUR
from .counts import Scope

# Causes of an overflowing site whose groups are still counted as such, the ones seen last.
KNOWN_CAUSES = 5_000

# The causes that go on having groups of their own, by buffer and site.
OverflowingSites = dict[tuple[str, str], frozenset[str]]
Causes = dict[str, datetime]


class Overflowing(Exception):
    """Some sites have made their share of groups: read the chunk again, with only these causes of theirs."""

    def __init__(self, sites: OverflowingSites) -> None:
        super().__init__(sites)
        self.sites = sites


def check_sites(scope: Scope, known: Container[str]) -> None:
    """Raise Overflowing if a site makes more new causes than an hour allows; known groups are none.

    An hour before and after each record counts: segments are not imported in the order of their times.
    """
    fresh: defaultdict[str, Causes] = defaultdict(dict)
    for fingerprint, arrived in sorted(scope.arrivals.items(), key=lambda item: item[1].first_at):
        value = arrived.first_value
        if fingerprint not in known and "overflow" not in value:
            fresh[value["site"]].setdefault(value["cause"], arrived.first_at)
    if not fresh:
        return
    overflowing: OverflowingSites = {}
    for site, causes in _stored(scope.batch.buffer, fresh).items():
        refused = [cause for cause, at in fresh[site].items() if not _accept(causes, cause, at)]
        if refused:
            stored = Group.objects.filter(buffer=scope.batch.buffer, site=site).order_by("-last_seen_at")
            seen_last = stored.values_list("cause", flat=True)[:KNOWN_CAUSES]
            overflowing[scope.batch.buffer, site] = frozenset([*causes, *seen_last])
    if overflowing:
        raise Overflowing(overflowing)


def is_beyond(sites: OverflowingSites, buffer: str, value: CapturedRecord) -> bool:
    """Whether a record belongs to the overflow group of its site."""
    causes = sites.get((buffer, value["site"]))
    return causes is not None and value["cause"] not in causes


def _stored(buffer: str, fresh: dict[str, Causes]) -> dict[str, Causes]:
    """When each cause of these sites was new, as far as it matters here."""
    found: dict[str, Causes] = {site: {} for site in fresh}
    times = [at for causes in fresh.values() for at in causes.values()]
    groups = Group.objects.filter(
        buffer=buffer,
        site__in=fresh,
        first_seen_at__gt=min(times) - HOUR,
        first_seen_at__lt=max(times) + HOUR,
    )
    for site, cause, at in groups.order_by().values_list("site", "cause").annotate(Min("first_seen_at")):
        found[site][cause] = at
    return found


def _accept(causes: Causes, cause: str, at: datetime) -> bool:
    """Add a cause to those of its site, if it is one of them or there is room for it."""
    if cause not in causes:
        if sum(abs(at - other) < HOUR for other in causes.values()) >= NEW_CAUSES_AN_HOUR:
            return False
        causes[cause] = at
    return True
