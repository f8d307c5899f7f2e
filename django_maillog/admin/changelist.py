"""The list of records: it reads its newest rows, or walks one index."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from ..models import Record
from .filters import is_key

# Nobody leafs further than this through the list.
MOST_COUNTED = 10_000
# A search or a filter without an index of its own reads no more records than this, the newest ones.
WINDOW = 20_000
INDEXED = ("batch", "group", "level")


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # can't be subscripted at run time
    """A paginator that counts no further than its last page of interest."""

    @cached_property
    def count(self) -> int:
        # The order stays in the subquery, so that the database walks an index for just these rows.
        rows: QuerySet[Any] = self.object_list[:MOST_COUNTED]  # type: ignore[assignment]
        return rows.count()


class RecordChangeList(ChangeList):
    """A list that never reads the whole table, whatever is searched, filtered or forged."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Newest first, as in the indexes: no other order can be asked for."""
        return ["-last_at", "-pk"]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.is_bounded = self.result_count == MOST_COUNTED
        if not self.query:
            # Else Django offers to "show all" of a list that nothing was left out of.
            self.full_result_count = self.result_count

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        self.window = self._narrow()
        return super().get_queryset(request, exclude_parameters)

    def _narrow(self) -> int:
        """Keep to the newest rows unless one index serves all that is asked; returns how many, 0 for all."""
        asked = {name for name in self.params if name not in ("p", "q", "time", "o", "all")}
        indexed = next((name for name in INDEXED if self._value(name)), None)
        if not self.query and asked <= {indexed}:
            return 0
        rows = Record.objects.order_by("-last_at")
        if indexed:
            rows = rows.filter(**{indexed: self._value(indexed)})
        oldest = rows.values_list("last_at", flat=True)[WINDOW : WINDOW + 1].first()
        if oldest is None:
            return 0
        self.root_queryset = self.root_queryset.filter(last_at__gte=oldest)
        return WINDOW

    def _value(self, name: str) -> str:
        value = str(self.params.get(name, ""))
        return value if is_key(value) else ""
