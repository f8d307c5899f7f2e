"""The admin: what is broken, since when, did the mail go out, and one click to do something about it.

It reads the tables, steers through ``flush``, ``outbox.batches`` and ``silences``, and adds or edits no row.

* ``base`` is what the three admins share: pages to read, buttons that are POSTs. ``batches``, ``groups`` and
  ``records`` hold columns, filters and actions; ``batch_page``, ``group_page`` and ``record_page`` what the
  page of a row shows.
* ``steps`` does what a batch's buttons say and tells how it ended, outside of the request's transaction.
* ``overview`` is the strip on top, ``history`` the past of a group; ``charts`` draws them.
* ``filters`` keep the lists on indexes; ``words`` writes levels, times and states.
"""

from .batches import BatchAdmin
from .groups import GroupAdmin
from .records import RecordAdmin

__all__ = ["BatchAdmin", "GroupAdmin", "RecordAdmin"]
