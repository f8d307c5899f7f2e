"""What all tables share."""

from __future__ import annotations

from typing import TypeVar

from django.db import models, router

Row = TypeVar("Row", bound=models.Model)


class WriteManager(models.Manager[Row]):
    """Reads where is written: a replica may not have yet what a flush has just decided.

    Each model names it as ``base_manager_name``, too: foreign keys and deferred fields go through that one.
    """

    def get_queryset(self) -> models.QuerySet[Row]:
        return super().get_queryset().using(self._db or router.db_for_write(self.model))
