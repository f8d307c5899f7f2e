"""The admin: what is broken, since when, did the mail go out, and one click to do something about it."""

from .batches import BatchAdmin
from .groups import GroupAdmin
from .records import RecordAdmin

__all__ = ["BatchAdmin", "GroupAdmin", "RecordAdmin"]
