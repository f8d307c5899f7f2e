"""The mail: a report becomes a subject, text, HTML and attachments. Pure: no SQL, no clock, no network.

In comes a ``Report`` (``report``): the groups of one mail with their counts, times and one sample each; the
outbox reads it from the tables, ``summary`` makes it of values that no table has seen. Out come a ``Digest``
and the headers, which ``outbox.connection`` puts into a message. The order, in ``mail.render``:

1. ``headers`` makes the subject; ``mail`` compresses what is attached.
2. ``page`` composes the plain strings that the templates lay out, in the first of its sizes that fits, and
   ``problem`` those of a group in full: ``words`` says them, ``samples`` fits each group's sample into its
   room, ``before`` what led to it into what is left, ``excerpts`` cleans and cuts the texts, ``timebar``
   draws when the records came, ``clock`` writes times.
3. ``templating`` renders text and HTML; what is too large is composed again in the next smaller size.
"""

from .headers import headers
from .headers import subject_of as subject
from .mail import render
from .report import Attachment, Digest, GroupReport, Report, Silenced, rank
from .summary import summarize

__all__ = [
    "Attachment",
    "Digest",
    "GroupReport",
    "Report",
    "Silenced",
    "headers",
    "rank",
    "render",
    "subject",
    "summarize",
]
