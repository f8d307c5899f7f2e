"""The admin: what is broken, since when, whether the mail went out, and one click to do something about it."""

from .batches import BatchAdmin
from .groups import GroupAdmin
from .records import RecordAdmin

__all__ = ["BatchAdmin", "GroupAdmin", "RecordAdmin"]
