"""The admin: what is broken, since when, did the mail go out, and one click to do something about it.

Every process loads these modules at its start, and few ever show a page, render or flush: what a page shows
beyond columns and filters, ``digest`` and ``queue`` are imported where they are used.
"""

from .batches import BatchAdmin
from .groups import GroupAdmin
from .records import RecordAdmin

__all__ = ["BatchAdmin", "GroupAdmin", "RecordAdmin"]
