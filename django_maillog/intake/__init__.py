"""Segments become rows: the life of a chunk.

``importer`` takes the segments of this host one by one. ``reader`` reads lines from where the segment's row
says, until a chunk is as large as one transaction may be; ``counts`` folds a group's repeats meanwhile.
``store`` takes the chunk buffer by buffer: it finds the open batch, has ``group_rows`` and ``record_rows``
read what is stored, and works out with the rules (``history``) when the batch is due; where a place in the
code makes groups without end, ``sites`` has the chunk read again, with one group for what is too much. One
transaction then moves the segment's offset by compare-and-set and writes groups, records, hourly counts and
the batch, in this order; ``additions`` makes rows ready for that, inserts them, and adds to stored ones.
Whoever was overtaken starts over. A line that the database refuses is found by halving, set aside in a file,
and counts as lost.
"""
