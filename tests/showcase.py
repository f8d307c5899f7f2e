"""A mail log as it looks on an ordinary bad day: rows for the admin's tests and its pictures."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from django_maillog.models import Attempt, Batch, Group, Outcome, Record, Segment, Status, Tally
from django_maillog.outbox.mails import preview

TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/lib/python3.12/site-packages/django/core/handlers/exception.py", line 55, in inner
    response = get_response(request)
               ^^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/lib/python3.12/site-packages/django/core/handlers/base.py", line 198, in _get_response
    response = wrapped_callback(request, *callback_args, **callback_kwargs)
               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/lib/python3.12/site-packages/django/contrib/auth/decorators.py", line 59, in _view_wrapper
    return view_func(request, *args, **kwargs)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/app/checkout/views.py", line 41, in pay
    total = order.total(currency=request.session["currency"])
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/app/checkout/models.py", line 118, in total
    return self.amount / self.rates[currency]
           ~~~~~~~~~~~~^~~~~~~~~~~~~~~~~~~~~~
"""

# (title, level, logger, buffer, how many in the last day, days since it was first seen, the group's cause)
BUGS = (
    ("ZeroDivisionError: division by zero", 40, "django.request", "mail_admins", 213, 0, "rates"),
    (
        "OperationalError: connection to server at “db1” failed: Connection refused",
        40,
        "django.request",
        "mail_admins",
        4210,
        9,
        "db",
    ),
    ("KeyError: 'currency'", 40, "django.request", "mail_admins", 37, 12, "session"),
    (
        "TimeoutError: the payment provider took longer than 10 s",
        40,
        "shop.payments",
        "payments",
        12,
        6,
        "provider",
    ),
    ("Reconciliation failed: 3 bookings have no invoice", 50, "shop.payments", "payments", 1, 0, "books"),
    ("Stock of %s is below zero", 30, "shop.stock", "mail_admins", 96, 13, "stock"),
    (
        "Invalid HTTP_HOST header: '10.0.0.7'. You may need to add '10.0.0.7' to ALLOWED_HOSTS.",
        40,
        "django.security",
        "mail_admins",
        64,
        13,
        "host",
    ),
    (
        "DoesNotExist: Voucher matching query does not exist.",
        40,
        "django.request",
        "mail_admins",
        8,
        3,
        "voucher",
    ),
)
HOSTS = ("web1", "web2", "worker1")


class Showcase:
    """Makes the rows; ``now`` is the moment at which the reader looks."""

    def __init__(self, now: datetime, seed: int = 6) -> None:
        self.now = now
        self.random = random.Random(seed)
        self.groups: list[Group] = []

    def build(self) -> None:
        """Everything: groups with two weeks of history, batches in every state, records."""
        for number, bug in enumerate(BUGS):
            self.groups.append(self.group(number, bug))
        for host in HOSTS:
            Segment.objects.create(id=f"segment-{host}", host=host, process=4000, seen_at=self.now)
        by_buffer = {
            name: [g for g in self.groups if g.buffer == name] for name in ("mail_admins", "payments")
        }
        main, payments = by_buffer["mail_admins"], by_buffer["payments"]
        for hours, chosen in (
            (50, main[1:4]),
            (31, main[4:]),
            (26, payments[:1]),
            (9, main[1:3]),
            (4, main[2:5]),
        ):
            self.sent(chosen, self.ago(hours=hours))
        self.sent(payments[1:], self.ago(hours=2))
        self.batch(
            main[5:],
            self.ago(hours=6),
            status=Status.FAILED,
            last_error="550 5.1.1 <oncall@shop.example>: Recipient address rejected: User unknown",
            outcomes=[
                (Outcome.FAILED, "550 5.1.1 <oncall@shop.example>: Recipient address rejected: User unknown")
            ],
        )
        refused = "OSError: [Errno 111] Connection refused (smtp.shop.example:587)"
        self.batch(
            payments[:1],
            self.ago(minutes=12),
            status=Status.READY,
            next_attempt_at=self.now + timedelta(minutes=4),
            last_error=refused,
            outcomes=[(Outcome.RETRY, refused)] * 3,
        )
        self.batch([main[0]], self.ago(hours=20), status=Status.CANCELLED)
        self.open([main[0], main[1], main[2]], "new", timedelta(seconds=22))
        self.open(payments, "repeat", timedelta(hours=2, minutes=40))
        main[4].silenced_at, main[4].silenced_until = self.ago(hours=2), self.now + timedelta(days=6)
        main[4].silenced_by, main[4].silence_note = "ada", "the scanner of the audit, until next week"
        main[4].save()
        main[-1].resolved_at = self.ago(minutes=30)
        main[-1].save()

    def ago(self, **length: float) -> datetime:
        return self.now - timedelta(**length)

    def group(self, number: int, bug: tuple[str, int, str, str, int, int, str]) -> Group:
        title, level, logger, buffer, today, age, cause = bug
        first = self.ago(days=age, minutes=38)
        group = Group.objects.create(
            buffer=buffer,
            fingerprint=f"ml2:{number:032x}",
            cause=f"ml2:{cause:0>32}"[:64],
            title=title,
            level=level,
            logger=logger,
            first_seen_at=first,
            last_seen_at=self.ago(minutes=1 + number * 7),
            episode_at=first,
            notified_at=self.ago(minutes=50) if age else None,
        )
        group.count = self.tally(group, today, age)
        group.save()
        return group

    def tally(self, group: Group, today: int, age: int) -> int:
        """Hours of a day like today for each day since the group is known; returns their sum."""
        hour = self.now.replace(minute=0, second=0, microsecond=0)
        hours = range(24 * age + 24) if age else range(1)
        weights = [self.random.random() ** 3 * (1.5 if back < 3 else 1) for back in hours]
        scale = today / sum(weights[:24])
        rows = [
            Tally(
                group=group,
                hour_at=hour - timedelta(hours=back),
                level=group.level,
                count=round(weight * scale),
            )
            for back, weight in zip(hours, weights, strict=True)
            if round(weight * scale)
        ] or [Tally(group=group, hour_at=hour, level=group.level, count=today)]
        Tally.objects.bulk_create(rows)
        return sum(row.count for row in rows)

    def record(self, batch: Batch, group: Group, at: datetime, **fields: Any) -> Record:
        kind, _colon, value = group.title.partition(": ")
        failed = group.logger == "django.request"
        full: dict[str, Any] = {
            "full": True,
            "where": "/srv/shop/app/checkout/models.py:118 in total",
            "traceback": TRACEBACK + group.title + "\n" if failed else "",
            "request": {
                "method": "POST",
                "path": "/checkout/pay/",
                "route": "checkout/pay/",
                "status_code": 500,
                "user": "AnonymousUser",
                "remote_addr": "203.0.113.7",
                "POST": {"order": "20417", "card": "********************"},
                "META": {"HTTP_HOST": "shop.example", "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64)"},
            }
            if failed
            else None,
            "extra": {"order": 20417, "tags": ["checkout", "eu"]},
            "details": {
                "thread": "MainThread",
                "process_name": "gunicorn",
                "exception": {"type": kind, "value": value},
            },
        }
        values = {
            "batch": batch,
            "group": group,
            "first_at": at,
            "last_at": at,
            "level": group.level,
            "logger": group.logger,
            "message": "Internal Server Error: /checkout/pay/" if failed else group.title,
            "host": self.random.choice(HOSTS),
            "process": self.random.randrange(4000, 4032),
        }
        return Record(**{**full, **values, **fields})

    def fill(self, batch: Batch, groups: list[Group], start: datetime, end: datetime) -> None:
        """Records of the groups in the batch, the last of each folded; and the batch's own counters."""
        records = []
        for group in groups:
            number = self.random.randrange(3, 9)
            moments = sorted(start + (end - start) * self.random.random() for _each in range(number))
            records += [self.record(batch, group, at) for at in moments]
            fold = self.record(
                batch, group, moments[-1], full=False, folded=True, traceback="", details=None, request=None
            )
            fold.first_at, fold.count = moments[0], self.random.randrange(2, 150)
            fold.messages = {fold.message: fold.count}
            records.append(fold)
        Record.objects.bulk_create(records)
        for group in groups:
            group.sample = Record.objects.filter(group=group, full=True).latest("last_at")
            group.batch = batch
            group.save()
        batch.record_count = sum(record.count for record in records)
        batch.group_count = len(groups)
        batch.level = max(group.level for group in groups)
        batch.first_at = min(record.first_at for record in records)
        batch.last_at = max(record.last_at for record in records)
        batch.save()

    def open(self, groups: list[Group], reason: str, due_in: timedelta) -> Batch:
        name = groups[0].buffer
        batch = Batch.objects.create(
            buffer=name, open_for=name, opened_at=self.ago(minutes=8), reason=reason, due_at=self.now + due_in
        )
        self.fill(batch, groups, self.ago(minutes=8), self.ago(seconds=20))
        Group.objects.filter(pk=groups[0].pk).update(episode_batch=batch)
        return batch

    def sent(self, groups: list[Group], at: datetime) -> Batch:
        return self.batch(groups, at, status=Status.SENT, sent_at=at, outcomes=[(Outcome.SENT, "")])

    def batch(
        self,
        groups: list[Group],
        sealed_at: datetime,
        *,
        outcomes: list[tuple[Outcome, str]] | None = None,
        **fields: Any,
    ) -> Batch:
        """A sealed batch with its mail, and one attempt for each outcome, a minute apart at first."""
        opened_at = sealed_at - timedelta(minutes=25)
        tries = outcomes or []
        batch = Batch.objects.create(
            buffer=groups[0].buffer,
            opened_at=opened_at,
            sealed_at=sealed_at,
            due_at=sealed_at,
            reason="variant",
            recipients=["oncall@shop.example", "ada@shop.example"],
            sender="errors@shop.example",
            attempts=len(tries),
            message_id=f"<maillog-{opened_at:%Y%m%d%H%M}.{groups[0].pk}@shop.example>",
            **fields,
        )
        self.fill(batch, groups, opened_at, sealed_at)
        mail = preview(batch)
        batch.subject, batch.text, batch.html = mail.subject, mail.text, mail.html
        batch.save()
        for number, (outcome, error) in enumerate(tries):
            moment = sealed_at + timedelta(minutes=2**number - 1)
            Attempt.objects.create(batch=batch, tried_at=moment, outcome=outcome, error=error)
        return batch
