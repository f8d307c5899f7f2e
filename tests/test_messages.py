"""Free text: which messages of a Django project are about the same bug, and which about another."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from django_maillog.capture.messages import normalise

# As people write them: formatted before they are logged.
SAME_BUG = [
    ("Order 17 failed", "Order 1803 failed"),
    ("Order #17 of customer 4 failed", "Order #3 of customer 77 failed"),
    ("Payment pay_9xKq2LmA failed", "Payment pay_11ZbQwP0 failed"),
    ("Charge ch_3NirSbeO1 was declined", "Charge ch_7PqsXyzA9 was declined"),
    ("Task 5f8e2a6c-1b7d-4c7e-9f6a-2d1c3b4a5e6f failed", "Task 0c9d8e7f-6a5b-4c3d-8e1f-0a9b8c7d6e5f failed"),
    ("No session with key 'k3j4h5'", "No session with key 'zz9x8c'"),
    ('Template "shop/a.html" is missing', 'Template "blog/b.html" is missing'),
    ("Could not mail bob@example.com", "Could not mail eve.o+x@mail.example.org"),
    ("Could not mail bob@example.com: timed out after 10s", "Could not mail a@b.de: timed out after 300s"),
    ("GET https://api.example.com/v1/x?id=7 failed", "GET https://api.example.com/v1/y failed"),
    ("Cannot write /srv/media/a.png", "Cannot write /srv/media/2026/b.jpg"),
    ("File report_20260101.pdf is empty", "File report_20260215.pdf is empty"),
    ("Backup of 2026-01-05 is missing", "Backup of 2026-11-30 is missing"),
    ("Import started at 10:15:03 stopped", "Import started at 23:01:59 stopped"),
    ("Cron of Mon, 5 January 2026 failed", "Cron of Tue, 6 Feb 2027 failed"),
    ("Slow query: 1.53 s", "Slow query: 20.1 s"),
    ("Upload of 5 MB refused", "Upload of 12.5 KB refused"),
    ("Upload of 5MB refused", "Upload of 700kB refused"),
    ("Disk is 91% full", "Disk is 99.5% full"),
    ("Cache miss for key user:17:profile", "Cache miss for key user:18:profile"),
    ("Lock shop-lock-17 is held", "Lock shop-lock-9001 is held"),
    ("Node web-03 is down", "Node web-17 is down"),
    (
        "Host db1.shop.internal:5432 refused the connection",
        "Host db2.shop.internal:5433 refused the connection",
    ),
    ("Cannot reach smtp.example.com", "Cannot reach mail.example.org"),
    ("Cannot resolve api.payments.example.co.uk", "Cannot resolve hooks.example.de"),
    ("Too many requests from 10.0.0.7", "Too many requests from 192.168.7.23"),
    ("Too many requests from 2001:db8::1", "Too many requests from fe80::8a2e:370:7334"),
    ("Object at 0x7f3a5c00 leaked", "Object at 0x55e1d2ab9 leaked"),
    ("Commit f3b1c9d2 does not build", "Commit 77ab01c9d4e does not build"),
    (
        "Signature 9f86d081884c7d659a2feaa0c55ad015 is wrong",
        "Signature 3fdba35f04dc8c462986c992bcf87554 is wrong",
    ),
    ("Balance is -17.50", "Balance is 3"),
    ("id=-17 not found", "id=4 not found"),
    ("Retry of blk_-8213 failed", "Retry of blk_77 failed"),
    ("login failed user_id=17 ip=10.0.0.1", "login failed user_id=4 ip=10.9.9.9"),
    ("sync failed shop=bread-and-milk took=17ms", "sync failed shop=cheese.de took=3s"),
    ("event=payment_failed order=17", "event=payment_failed order=18"),
    ("msg='no stock' order=17 sku=A-17", "msg='no stock' order=18 sku=B-3"),
    ("<Order: Order object (17)> is locked", "<Order: Order object (18)> is locked"),
    ("Order(id=17, total=3.50) is locked", "Order(id=9, total=120.00) is locked"),
    ("Missing ids: 1, 2, 3", "Missing ids: 17"),
    ("Missing ids: [1, 2, 3]", "Missing ids: [17, 4]"),
    ("Missing ids: []", "Missing ids: [17, 4]"),
    ("Rows (1, 2) differ", "Rows (7, 88) differ"),
    ("Version v2.13.1 is too old", "Version v1.9 is too old"),
    ("Row 7 of 30: no price", "Row 19 of 30: no price"),
    ("Line 7, column 3: no comma", "Line 400, column 88: no comma"),
    ("Queue mail-17: 3 pending jobs", "Queue mail-2: 30000 pending jobs"),
    ("Deadlock found, trying 1/3", "Deadlock found, trying 2/3"),
    ("Worker 3 (pid:4711) died", "Worker 12 (pid:88) died"),
    ("duplicate key (email)=(bob@x.de)", "duplicate key (email)=(eve@y.com)"),
]

ANOTHER_BUG = [
    ("Order 17 failed", "Payment 17 failed"),
    ("Order 17 failed", "Order 17 is late"),
    ("Cannot read /srv/x", "Cannot write /srv/x"),
    ("shop.models.Order is locked", "shop.models.Bread is locked"),
    ("shop.models.Order is locked", "blog.models.Order is locked"),
    ("django.db.utils.OperationalError in save", "django.db.utils.IntegrityError in save"),
    ("django.core.exceptions.ValidationError", "django.core.exceptions.PermissionDenied"),
    ("No module named shop.api.v1.views", "No module named shop.api.v2.forms"),
    ("OAuth2Error in login", "S3Error in login"),
    ("Http404 in view", "Base64Error in view"),
    ("cannot decode utf-8", "cannot decode latin-1"),
    ("cannot decode utf-8", "cannot decode utf-16"),
    ("cannot decode iso-8859-1", "cannot decode iso-8859-15"),
    ("unsupported protocol HTTP/1.1", "unsupported protocol HTTP/2"),
    ("unsupported protocol TLSv1.3", "unsupported protocol HTTP/1.1"),
    ("digest sha256 is missing", "digest md5 is missing"),
    ("digest sha-1 is missing", "digest sha-256 is missing"),
    ("bucket of s3 is missing", "bucket of ec2 is missing"),
    ("login with oauth2 failed", "login with saml2 failed"),
    ("no ipv4 address", "no ipv6 address"),
    ("base64 is wrong", "utf8 is wrong"),
    ("order.total is None", "order.price is None"),
    ("self.request.user is None", "self.request.session is None"),
    ("settings.EMAIL_HOST is unset", "settings.EMAIL_PORT is unset"),
    ("app_label.change_order denied", "app_label.delete_order denied"),
    ("celery.exceptions.Retry raised", "celery.exceptions.Reject raised"),
    ("kombu.exceptions.OperationalError raised", "redis.exceptions.ConnectionError raised"),
    ("views.index failed", "views.detail failed"),
    ("shop/views.py is broken", "shop/views.py is missing"),
    ("state=closed order=17", "state=open order=17"),
    ("is_active=True id=17", "is_active=False id=17"),
    ("event=payment_failed order=17", "event=refund_failed order=17"),
    ("status=404 path=/x", "status=500 path=/x"),
    ("code=E17 order=1", "code=E18 order=1"),
    ("code=17", "code=18"),
    ("error=timeout host=a.de", "error=refused host=a.de"),
    ("error='timed out' host=a.de", "error='no route' host=a.de"),
    ('msg="no stock" order=17', 'msg="no price" order=17'),
    ("type=card order=17", "type=cash order=17"),
    ("exc=KeyError order=17", "exc=ValueError order=17"),
    ("reason=not_found id=17", "reason=no_rights id=17"),
    ("message='order 7 is late'", "message='order 7 is lost'"),
    ("user=17 failed", "order=17 failed"),
    ("a == b failed", "a != b failed"),
    ("May I march", "May I sell"),
    ("don't buy, can't sell", "don't sell, can't buy"),
    ("Connection to database lost", "Connection to cache lost"),
    ("Redis is away, 3 tries left", "Kafka is away, 3 tries left"),
    ("Mail to admins failed", "Mail to managers failed"),
    ("cache depth..........3", "cache size..........3"),
    ("sda1 sda2", "v2.0 (20020519)"),
]


def test_there_are_a_hundred_pairs() -> None:
    assert len(SAME_BUG) + len(ANOTHER_BUG) >= 100


@pytest.mark.parametrize(("first", "second"), SAME_BUG)
def test_the_same_bug(first: str, second: str) -> None:
    assert normalise(first) == normalise(second)


@pytest.mark.parametrize(("first", "second"), ANOTHER_BUG)
def test_another_bug(first: str, second: str) -> None:
    assert normalise(first) != normalise(second)


# What a value may look like, and what stands around it.
VALUES = st.one_of(
    st.integers().map(str),
    st.uuids().map(str),
    st.datetimes().map(str),
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z][a-z0-9.+_-]{0,20}@shop\.example\.com", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
    st.binary(min_size=8, max_size=20).map(lambda value: f"a1{value.hex()}"),
)


@given(VALUES, VALUES)
@example("0", "a.ru@shop.example.com")
@example("0", "db1.example.com..b@shop.example.com")
def test_any_values_in_one_text_are_the_same_bug(first: str, second: str) -> None:
    texts = {normalise(f"Order {value} of shop failed, see there") for value in (first, second)}

    assert texts == {"Order <*> of shop failed, see there"}


@given(st.text(max_size=300))
def test_any_text_has_its_normal_form(text: str) -> None:
    normal = normalise(text)

    assert len(normal) <= 1_000
    assert normalise(text) == normal


UNITS = [
    "<*>",
    "<*> ",
    "[] ",
    "(1) ",
    "a.",
    "a-",
    "a.b",
    "k=",
    "k=1",
    "k=a.",
    "a=b=",
    "x" * 61 + "=",
    "1s",
    "1 B ",
]


MORE_UNITS = ["msg='", 'msg="a" ', "a:1", "a.b:1", "#", "~", "_1", "a.com", "a.b.co.", "1s", "1 B "]


@pytest.mark.parametrize("unit", [*UNITS, *MORE_UNITS])
def test_time_stays_linear(unit: str) -> None:
    def cost(length: int) -> float:
        text = unit * (length // len(unit))
        start = time.thread_time()
        normalise(text)
        return time.thread_time() - start

    assert min(cost(8_000) for _ in range(3)) < 0.05
    assert min(cost(800_000) for _ in range(3)) < 0.05
