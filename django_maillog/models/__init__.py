"""The tables: what was recorded, what is broken, and which mail says so.

``batches`` holds mails and tries, ``groups`` what they tell, ``fleet`` who imports it.
"""

from .batches import CLOCK_SKEW, Attempt, Batch, BatchQuerySet, Outcome, Status
from .fleet import Host, Segment, Silence
from .groups import Group, Record, Tally

__all__ = [
    "CLOCK_SKEW",
    "Attempt",
    "Batch",
    "BatchQuerySet",
    "Group",
    "Host",
    "Outcome",
    "Record",
    "Segment",
    "Silence",
    "Status",
    "Tally",
]
