"""Rows become mails: the life of a batch.

In comes an open batch that intake fills, out goes a mail, and what became of it.

1. ``batches`` seals it when it is due, to whom ``targets`` says; a person retries, cancels, sends again.
2. ``delivery`` takes what is sealed, one by one: it claims it and writes down the attempt (``claims``; a
   ``claim_lock`` ends the claims of a process that has ended),
3. has ``mails`` make the mail of ``contents`` (what the ``rows`` tell), ``notes`` and ``digest``, stores it,
4. hands it over through the mailer's one ``connection``, whose answer or error is a verdict (``verdicts``),
5. and settles (``claims``, ``groups``): sent, to be tried again, failed, or not confirmed.

``options`` is what a flush is asked to do; ``preload`` has ready what the first mail needs.
"""
