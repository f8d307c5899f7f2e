"""The background work of a process: what logging calls leave in the spool is imported, sealed and mailed.

In come calls of the handlers (``calls``: there is a record, flush, the end), out go calls of ``flush``.
The life of a record here, file by file:

1. ``calls`` starts the thread at the first record, and hands it what others wait for.
2. ``inbox`` is where the thread waits: for a record, a request, the next moment that something is due.
3. ``thread`` does one round after another: import, seal, deliver, prune, and asks what comes next.
4. ``enqueuer`` has a task deliver instead, with ``MAILLOG_DELIVERY = "task"``.
5. ``heartbeat`` says since when the database has owed an answer.
6. ``outage`` mails straight from the spool while the database is away.
"""
