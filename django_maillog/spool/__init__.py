"""The journal on disk: what a logging call returns from is in a file here.

In comes an encoded record with its handler (``journal.append``), out go segments (``sources.segments``) for
``intake`` to read and to say how far it got. The life of a segment:

1. ``folder`` finds the spool folder (``places`` if no setting names one), and makes it for one user or group.
2. ``writer`` makes a file there, locks it for the life of its process, writes the header (``project``) and
   how each buffer is configured (``configurations``), and then appends line by line. ``journal`` starts the
   next one when it is large or old, and keeps records in ``memory`` where there is no folder.
3. ``sources`` opens it as a ``segment`` to be read while it grows; ``lines`` says what a line means.
4. While the database is away its records are mailed from here, and ``mailed`` notes which.
5. Imported to its end and without an owner it is deleted. ``unattended`` names those that nobody imports.
"""
