"""Reports as they come up in a project's life, for the tests of the mail and for its pictures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from django_maillog.capture.captured import CapturedRecord
from django_maillog.digest import GroupReport, Report

NOON = datetime(2026, 3, 5, 9, 10, 30, tzinfo=UTC)
SITE = "/srv/shop/.venv/lib/python3.13/site-packages"


def traceback(error: str, *, library_frames: int = 6, own: tuple[tuple[str, int, str, str], ...] = ()) -> str:
    """A traceback through Django's handlers into the project's code."""
    lines = ["Traceback (most recent call last):"]
    for number in range(library_frames):
        lines += [
            f'  File "{SITE}/django/core/handlers/base.py", line {181 + number}, in get_{number}',
            "    response = wrapped_callback(request, *callback_args, **callback_kwargs)",
        ]
    for path, line, function, code in own or (
        ("/srv/shop/orders/views.py", 48, "checkout", "price = order.price_per_item()"),
        ("/srv/shop/orders/models.py", 112, "price_per_item", "return self.total / self.items.count()"),
    ):
        lines += [f'  File "{path}", line {line}, in {function}', f"    {code}"]
    return "\n".join([*lines, error, ""])


def sample(**changes: Any) -> CapturedRecord:
    """A full captured record."""
    value: dict[str, Any] = {
        "full": True,
        "time": NOON.timestamp() - 600,
        "level": 40,
        "logger": "django.request",
        "message": "Internal Server Error: /orders/7/checkout/",
        "title": "ZeroDivisionError: division by zero",
        "fingerprint": "ml2:" + "0" * 32,
        "cause": "ml2:" + "1" * 32,
        "host": "web-1",
        "process": 4711,
        "pathname": f"{SITE}/django/utils/log.py",
        "lineno": 253,
        "function": "log_response",
        "exception": {"type": "ZeroDivisionError", "value": "division by zero"},
        "traceback": traceback("ZeroDivisionError: division by zero"),
        "request": {
            "method": "GET",
            "path": "/orders/7/checkout/",
            "user": "3 anna",
            "view": "orders.views.checkout",
            "route": "orders/<int:pk>/checkout/",
            "status_code": 500,
            "GET": {"step": "2"},
        },
    }
    return cast(CapturedRecord, value | changes)


def group(number: int = 0, **changes: Any) -> GroupReport:
    """A group of one mail."""
    first_at = NOON - timedelta(minutes=10)
    values: dict[str, Any] = {
        "fingerprint": f"ml2:{number:032x}",
        "title": "ZeroDivisionError: division by zero",
        "level": 40,
        "logger": "django.request",
        "count": 1,
        "total": 1,
        "state": "new",
        "first_at": first_at,
        "last_at": first_at,
        "first_seen_at": first_at,
        "hosts": {"web-1": 1},
        "messages": [("Internal Server Error: /orders/7/checkout/", 1)],
        "sample": sample(),
    }
    return GroupReport(**values | changes)


def report(*groups: GroupReport, **changes: Any) -> Report:
    """A mail of these groups."""
    values: dict[str, Any] = {
        "buffer": "maillog",
        "reason": "new",
        "groups": list(groups),
        "record_count": sum(group.count for group in groups),
        "group_count": len(groups),
        "level": max((group.level for group in groups), default=0),
        "opened_at": NOON - timedelta(minutes=10),
        "first_at": min((group.first_at for group in groups), default=NOON),
        "last_at": max((group.last_at for group in groups), default=NOON),
        "sealed_at": NOON,
        "message_id": "<20260305.1@shop.example.com>",
        "batch_id": 17,
    }
    return Report(**values | changes)


def single() -> Report:
    return report(group())


def three_groups() -> Report:
    start, end = NOON - timedelta(minutes=10), NOON - timedelta(seconds=5)
    minute = timedelta(minutes=1)
    return report(
        group(
            1,
            count=150,
            total=150,
            last_at=end,
            hosts={"web-1": 90, "web-2": 60},
            processes=8,
            messages=[
                ("Internal Server Error: /orders/7/checkout/", 88),
                ("Internal Server Error: /orders/12/checkout/", 62),
            ],
            spans=[
                (start, start + 2 * minute, 12),
                (start + 5 * minute, start + 7 * minute, 90),
                (start + 7 * minute, end, 48),
            ],
            url="https://shop.example.com/admin/django_maillog/group/1/change/",
        ),
        group(
            2,
            title="ConnectionError: Error 111 connecting to redis:6379. Connection refused.",
            count=3,
            total=3,
            logger="shop.baskets",
            first_at=start + 5 * minute,
            last_at=start + 6 * minute,
            hosts={"web-2": 3},
            processes=2,
            messages=[
                ("Could not read basket 8812", 1),
                ("Could not read basket 9001", 1),
                ("Could not read basket 17", 1),
            ],
            spans=[(start + 5 * minute, start + 6 * minute, 3)],
            sample=sample(
                message="Could not read basket 8812",
                logger="shop.baskets",
                traceback=traceback(
                    "redis.exceptions.ConnectionError: Error 111 connecting to redis:6379.",
                    own=(("/srv/shop/baskets/store.py", 31, "load", "raw = client.get(key)"),),
                ),
                request={"method": "GET", "path": "/basket/", "user": "AnonymousUser", "status_code": 200},
                extra={"basket": 8812},
            ),
        ),
        group(
            3,
            title="Payment provider answered slowly",
            count=60,
            total=1874,
            state="repeat",
            logger="shop.payments",
            last_at=end,
            first_seen_at=NOON - timedelta(days=20),
            hosts={"web-1": 20, "web-2": 20, "worker-1": 20},
            processes=12,
            messages=[("Payment provider answered slowly", 60)],
            spans=[(start, end, 60)],
            sample=sample(
                message="Payment provider answered slowly",
                logger="shop.payments",
                pathname="/srv/shop/payments/client.py",
                lineno=77,
                function="charge",
                traceback="",
                exception=None,
                request=None,
                extra={"seconds": 12.5, "provider": "acme"},
            ),
        ),
        batch_url="https://shop.example.com/admin/django_maillog/batch/17/change/",
        silenced_count=0,
    )


def outage() -> Report:
    start, end = NOON - timedelta(minutes=10), NOON - timedelta(seconds=20)
    groups = [
        group(
            number,
            title=f'OperationalError: connection to "db-1" (10.0.0.5), port 5432 failed: refused ({number})',
            count=800 // (number + 1) + 1,
            total=800 // (number + 1) + 1,
            last_at=end,
            hosts={"web-1": 3, "web-2": 4, "web-3": 1, "web-4": 1, "web-5": 1},
            processes=32,
            messages=[(f"Internal Server Error: /view/{number}/{one}", 5) for one in range(9)],
            spans=[(start, start + timedelta(minutes=3), 5), (start + timedelta(minutes=6), end, 700)],
            sample=sample(
                traceback=traceback("django.db.utils.OperationalError: connection refused", library_frames=30)
            ),
        )
        for number in range(150)
    ]
    return report(
        *groups,
        record_count=sum(one.count for one in groups) + 300,
        group_count=300,
        new_count=298,
        reason="outage",
        note="The database is away; this mail comes straight from the spool.",
        lost_count=1200,
        silenced_count=42,
    )


def repeats() -> Report:
    start, end = NOON - timedelta(hours=4), NOON - timedelta(minutes=2)
    return report(
        group(
            3,
            title="Payment provider answered slowly",
            level=30,
            count=1204,
            total=9812,
            state="repeat",
            logger="shop.payments",
            first_at=start,
            last_at=end,
            first_seen_at=NOON - timedelta(days=400),
            hosts={"web-1": 600, "web-2": 604},
            processes=12,
            messages=[("Payment provider answered slowly", 1204)],
            spans=[(start, end, 1204)],
            sample=sample(
                message="Payment provider answered slowly",
                pathname="/srv/shop/payments/client.py",
                lineno=77,
                function="charge",
                traceback="",
                request=None,
                extra={"seconds": 12.5},
            ),
        ),
        reason="repeat",
        references="<root.1@shop.example.com>",
    )


def critical() -> Report:
    return report(
        group(
            9,
            title="PaymentError: The charge was made twice",
            level=50,
            logger="shop.payments",
            hosts={"worker-1": 1},
            messages=[("Charge of order 5521 made twice", 1)],
            sample=sample(
                level=50,
                message="Charge of order 5521 made twice",
                logger="shop.payments",
                traceback=traceback(
                    "shop.payments.errors.PaymentError: The charge was made twice",
                    own=(
                        ("/srv/shop/payments/views.py", 20, "pay", "charge(order, form.cleaned_data)"),
                        (
                            "/srv/shop/payments/client.py",
                            77,
                            "charge",
                            'raise PaymentError("The charge was made twice")',
                        ),
                    ),
                ),
                request={
                    "method": "POST",
                    "path": "/pay/5521/",
                    "user": "bob (id 12)",
                    "status_code": 500,
                    "POST": {
                        "csrfmiddlewaretoken": "********************",
                        "card": "********************",
                        "amount": "129.00",
                    },
                    "META": {
                        "HTTP_HOST": "shop.example.com",
                        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64) Gecko Firefox/140.0",
                        "REMOTE_ADDR": "203.0.113.9",
                    },
                },
                extra={"order": 5521, "provider": "acme"},
            ),
        ),
        level=50,
        reason="level",
        batch_url="https://shop.example.com/admin/django_maillog/batch/17/change/",
    )


EVIL = (
    "<script>alert(1)</script>{{ settings.SECRET_KEY }}{% now 'Y' %}</td></table>"
    "\u202egnp.exe\x1b[31m\x00\u2028 \"'&amp; "
)


def hostile() -> Report:
    long = "A" * 3000
    return report(
        group(
            1,
            title=EVIL + long,
            logger=EVIL,
            count=7,
            total=7,
            last_at=NOON,
            hosts={EVIL: 3, "h" * 400: 4},
            messages=[(EVIL + long, 4), ("\r\nBcc: all@example.com", 3)],
            spans=[(NOON - timedelta(minutes=10), NOON, 7)],
            sample=sample(
                traceback="Traceback (most recent call last):\n"
                f'  File "{EVIL}", line 1, in {EVIL}\n    {long}\nError: {EVIL * 50}\n',
                request={
                    "method": EVIL,
                    "path": "/" + EVIL + long,
                    "user": EVIL,
                    "GET": {EVIL: EVIL},
                    "POST": {long: long},
                },
                extra={EVIL: EVIL * 100},
            ),
        ),
        group(
            2,
            title="\u05e9\u05dc\u05d5\u05dd \u202e\u2066 \U0001f600 Übergrößenfehler",
            count=1,
            last_at=NOON,
        ),
        buffer="e\r\nvil <b>",
        note=EVIL,
    )


SAMPLES = {
    "single": single,
    "three_groups": three_groups,
    "outage": outage,
    "repeats": repeats,
    "critical": critical,
    "hostile": hostile,
}
