"""A LogRecord on its way in: which bug it is about, and what is kept of it. No SQL, no sockets, no waiting.

In comes a ``logging.LogRecord`` in the thread that logs, out go a ``fingerprint.Key`` and a
``captured.CapturedRecord``, the one shape in which a record is spooled, stored and mailed. In this order:

1. ``fingerprint`` says which bug it is (``keys``): by ``chain`` from code objects, where these are libraries'
   alone by ``pages`` from the template or view; by ``printed`` from a traceback's text, by ``callsite`` from
   the call that formatted a text, by ``structured`` from a mapping, else by ``messages`` from the text.
2. ``prepare`` captures the first record of a fingerprint in full, of a repeat only what may differ:
3. ``text`` for messages, titles and tracebacks, bounded in size and time, and never an error;
4. ``extra`` and ``request`` for the fields that a project added, made ``plain`` (and one line of JSON);
5. ``secrets`` for what is written as stars in all of them, before they are cut: ``secret_keys`` says which
   names have a secret for a value, ``secret_texts`` and ``secret_shapes`` where one is in a text.

Later, ``kinds`` tells whoever counts what a captured record is, and where one belongs whose site makes groups
without end.

``context`` keeps what was logged before in the same request, task or thread; a full capture takes it along.
"""
