"""Database routers of projects whose mails are kept apart, or that read from replicas."""

from __future__ import annotations

from typing import Any


class Apart:
    """The tables of django_maillog, and no others, are in the database "maillog"."""

    def db_for_read(self, model: Any, **hints: object) -> str | None:
        return self.db_for_write(model)

    def db_for_write(self, model: Any, **hints: object) -> str | None:
        return "maillog" if model._meta.app_label == "django_maillog" else None

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return (db == "maillog") == (app_label == "django_maillog")


class ReadElsewhere(Apart):
    """The same, and what is read of them comes from a replica, where nothing has arrived yet."""

    def db_for_read(self, model: Any, **hints: object) -> str | None:
        return "replica" if model._meta.app_label == "django_maillog" else None

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return db == "replica" or super().allow_migrate(db, app_label)
