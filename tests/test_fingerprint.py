"""Which records are one bug, and which have one cause."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.test import RequestFactory

from django_maillog.capture import chain
from django_maillog.capture import fingerprint as fingerprints
from django_maillog.capture.fingerprint import Key, fingerprint
from django_maillog.capture.plain import json_line

from .log_records import SHOP, brief, full, key_of, make_record, module, raised

ROOT = Path(__file__).resolve().parent.parent


# Exceptions


def test_a_fingerprint_is_ml2_and_32_hex_digits() -> None:
    key = key_of(error=raised(module(SHOP).buy, -1))

    for digest in (key.fingerprint, key.cause, key.site):
        assert digest.startswith("ml2:")
        assert len(digest) == 36
        assert int(digest[4:], 16)


def test_message_value_level_logger_and_request_do_not_count() -> None:
    shop = module(SHOP)
    first = make_record("a %s", 1, error=raised(shop.buy, -1), request=RequestFactory().get("/a"), name="one")
    second = make_record("b", error=raised(shop.buy, -2, "x"), request=RequestFactory().get("/b"), name="two")
    second.levelno = logging.CRITICAL

    assert fingerprint(first) == fingerprint(second)


def test_lines_added_elsewhere_in_the_file_do_not_count() -> None:
    moved = module("import os\n\n\ndef other(): ...\n\n" + textwrap.dedent(SHOP))

    assert key_of(error=raised(module(SHOP).buy, -1)) == key_of(error=raised(moved.buy, -1))


def test_another_folder_of_the_same_project_does_not_count() -> None:
    elsewhere = module(SHOP, filename="/home/ada/shop/views.py")

    assert key_of(error=raised(module(SHOP).buy, -1)) == key_of(error=raised(elsewhere.buy, -1))


def test_two_raise_sites_in_one_function_are_two_bugs_of_one_cause() -> None:
    shop = module(SHOP)
    first, second = key_of(error=raised(shop.buy, -1)), key_of(error=raised(shop.buy, 11))

    assert first.fingerprint != second.fingerprint
    assert first.cause == second.cause


def test_two_calls_of_a_library_in_one_function_are_two_bugs() -> None:
    def read(first: str, second: str) -> None:
        json.loads(first)
        json.loads(second)

    first, second = key_of(error=raised(read, "{", "1")), key_of(error=raised(read, "1", "{"))

    assert first.fingerprint != second.fingerprint
    assert first.cause == second.cause


NAMELESS = """
    def total(first, second):
        a = sum(int(v) for v in first)
        b = sum(int(v) * 2 for v in second)
        c = sum(int(v) * 3 for v in second)
        return a + b + c

    prices = {
        "bread": lambda n: float(n) * 2,
        "milk": lambda n: float(n) + 2,
        "cake": lambda n: round(float(n), 2),
        "ends": lambda n: float(n[1:3]),
        "both": lambda n: [float(part) for part in n if part in {"x", "y"}],
        "calls": lambda n: check(n, "calls"),
        "calls again": lambda n: check(n, "calls again"),
    }

    def check(number, why):
        raise ValueError(number)
"""


def test_generators_and_lambdas_on_their_own_lines_are_bugs_of_their_own() -> None:
    shop = module(NAMELESS)
    errors = [
        raised(shop.total, "1x", "2"),
        raised(shop.total, "1", "2x"),
        *(raised(price, "xyz") for price in shop.prices.values()),
    ]

    assert len({key_of(error=error).fingerprint for error in errors}) == len(errors)


def test_lines_added_elsewhere_leave_generators_and_lambdas_what_they_are() -> None:
    shop, moved = module(NAMELESS), module("import os\n\n" + textwrap.dedent(NAMELESS))

    for name in ("bread", "milk", "ends", "calls"):
        assert key_of(error=raised(shop.prices[name], "x")) == key_of(error=raised(moved.prices[name], "y"))
    assert key_of(error=raised(shop.total, "x", "")) == key_of(error=raised(moved.total, "y", ""))


def test_the_depth_of_a_recursion_does_not_count() -> None:
    shop = module(SHOP)
    vars(shop)["other"] = module("def other(depth, back):\n    back(depth - 1, other)\n").other

    assert len({key_of(error=raised(shop.recursion, depth)) for depth in (1, 2, 300)}) == 1
    # Through another function, too.
    assert len({key_of(error=raised(shop.recursion, depth, vars(shop)["other"])) for depth in (20, 40)}) == 1


def test_two_views_on_one_missing_table_are_two_bugs_of_one_cause(transactional_db: None) -> None:
    from django.db import connection

    with connection.schema_editor() as editor:
        editor.delete_model(Session)
    try:
        views = module(
            """
            from django.contrib.sessions.models import Session

            def index(request):
                return Session.objects.count()

            def detail(request):
                return Session.objects.get(pk="1")
            """
        )
        index, detail = key_of(error=raised(views.index, None)), key_of(error=raised(views.detail, None))
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(Session)

    assert index.fingerprint != detail.fingerprint
    assert index.cause == detail.cause


def test_the_chain_counts_and_its_root_is_the_cause() -> None:
    shop = module(SHOP)
    chained, alone = key_of(error=raised(shop.chain, -1)), key_of(error=raised(shop.buy, -1))

    assert chained.fingerprint != alone.fingerprint
    assert chained.cause == alone.cause


def test_a_suppressed_context_does_not_count() -> None:
    error = raised(module(SHOP).buy, -1)
    before = key_of(error=error)
    error.__context__ = KeyError("before")
    with_context = key_of(error=error)
    error.__suppress_context__ = True

    assert with_context != before
    assert key_of(error=error) == before


def test_ten_links_of_a_chain_count() -> None:
    def chained(length: int) -> BaseException:
        error: BaseException = ValueError("root")
        for number in range(length - 1):
            outer = KeyError("outer") if number % 2 else LookupError("outer")
            outer.__context__ = error
            error = outer
        return error

    outermost = chained(9)
    assert len({key_of(error=chained(9)), key_of(error=outermost), key_of(error=chained(10))}) == 2
    twelve = chained(12)
    fourteen = chained(14)
    assert key_of(error=twelve).fingerprint == key_of(error=fourteen).fingerprint


def test_a_cyclic_chain_ends() -> None:
    first, second = raised(module(SHOP).buy, -1), raised(module(SHOP).buy, 11)
    first.__context__, second.__context__ = second, first

    assert key_of(error=first) == key_of(error=first)
    assert "ValueError: 11 now" in full(make_record(error=first))["traceback"]


def test_a_group_is_the_set_of_its_leaves() -> None:
    shop = module(SHOP)
    once = key_of(error=raised(shop.group, [-1, 11]))

    assert key_of(error=raised(shop.group, [11, -5, -1, -1])) == once
    assert key_of(error=raised(shop.group, [-1])).fingerprint != once.fingerprint
    assert key_of(error=raised(shop.group, [-1])).cause == key_of(error=raised(shop.buy, -1)).cause


def test_a_nested_group_counts_its_leaves() -> None:
    leaf = raised(module(SHOP).buy, -1)
    flat, nested = BaseExceptionGroup("", [leaf]), BaseExceptionGroup("", [BaseExceptionGroup("", [leaf])])

    assert key_of(error=flat).fingerprint == key_of(error=nested).fingerprint


def test_without_a_traceback_the_normalised_value_counts() -> None:
    assert key_of(error=ValueError("order 17")) == key_of(error=ValueError("order 18"))
    assert key_of(error=ValueError("order 17")) != key_of(error=ValueError("customer 17"))


def test_a_project_installed_as_a_package_is_told_apart_by_all_frames() -> None:
    source = """
        import json

        def first(): json.loads("{")

        def second(): json.loads("{")
    """
    shop = module(source, filename="/usr/lib/python3/site-packages/shop/views.py")

    assert key_of(error=raised(shop.first)).fingerprint != key_of(error=raised(shop.second)).fingerprint


@pytest.mark.parametrize(
    ("filename", "library"),
    [
        ("/srv/shop/views.py", False),
        ("views.py", False),
        (json.__file__, True),
        (pytest.__file__, True),
        ("/usr/lib/python3/dist-packages/shop.py", True),
        ("<frozen importlib._bootstrap>", True),
        ("<string>", False),
    ],
)
def test_installed_packages_and_the_standard_library_are_not_in_app(filename: str, library: bool) -> None:
    error = raised(module("def fail(): 1 / 0", filename=filename).fail)
    assert error.__traceback__ is not None

    assert chain._Code(error.__traceback__.tb_frame).in_app is not library


def template_error(path: str, line: int = 3) -> BaseException:
    """What Jinja2 makes of an error in a template: a code that raises it again, on the template's line."""
    error = ZeroDivisionError()
    source = "\n" * (line - 1) + "raise __jinja_exception__"
    names = {"__name__": path, "__file__": path, "__jinja_exception__": error}
    return raised(exec, compile(source, path, "exec"), names)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/srv/1/shop/templates/shop/page.html", "/srv/2/shop/templates/shop/page.html"),
        ("/srv/1/pages/shop/page.html", "/srv/2/pages/shop/page.html"),
        ("C:\\1\\templates\\page.html", "D:\\2\\templates\\page.html"),
    ],
)
def test_a_template_of_jinja_is_the_same_in_every_releases_folder(first: str, second: str) -> None:
    key = key_of(error=template_error(first))

    assert key == key_of(error=template_error(second))
    assert key != key_of(error=template_error(first, line=4))
    assert key != key_of(error=template_error(first.replace("page", "cart")))


def test_codes_that_are_made_for_one_error_are_not_kept() -> None:
    before = len(chain._codes)

    for _ in range(3):
        key_of(error=template_error("/srv/shop/templates/page.html"))

    assert len(chain._codes) == before


# The same constants on every Python that runs this test, and in each process.
STABLE = {
    "raise": "ml2:01fab97b63586877b927744baf3319c8",
    "comprehension": "ml2:56f09aa4436341ea4764371cf500f5c4",
    "nested comprehensions": "ml2:65b7bd3c5ddc73df409d15aeb5fdbc09",
    "recursion": "ml2:50f3bb5f1843da6f951b57d9bb1acfb2",
    "chain": "ml2:23b31dc66ae84ff53b6a4e933f7d7d08",
    "group": "ml2:ff33a57f4357d48866b5704f6a24c722",
    "generator": "ml2:59aa252d327d4d09e5b68dd64516889b",
    "lambda": "ml2:7045bd5073d944745b0e2b06edc3532c",
    "template": "ml2:2b36e5261064038b9e015819e7bc5ec1",
    "message": "ml2:ed815d035f023f639e67a1ad7ff6fd23",
}

STABLE_SCRIPT = f"""
import sys
sys.path.insert(0, sys.argv[1])
import json, logging, textwrap, types
from django_maillog.capture.fingerprint import fingerprint

shop = types.ModuleType("shop.views")
exec(compile(textwrap.dedent({SHOP!r}), "/srv/shop/views.py", "exec"), shop.__dict__)

def record(message, *args, error=None):
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("shop", 40, "views.py", 7, message, args, info, "view")

def error(name, *args):
    try:
        getattr(shop, name)(*args)
    except BaseException as error:
        error.__traceback__ = error.__traceback__.tb_next
        return error

keys = {{
    "raise": record("", error=error("buy", -1)),
    "comprehension": record("", error=error("buy", 2)),
    "nested comprehensions": record("", error=error("checked", [1, 2, 3])),
    "recursion": record("", error=error("recursion", 50)),
    "chain": record("", error=error("chain", -1)),
    "group": record("", error=error("group", [-1, 2, 11])),
    "generator": record("", error=error("generator", ["x"])),
    "lambda": record("", error=error("nameless", "x")),
    "template": record("order %s failed", 17),
    "message": record("order 17 failed for 'bob' at /srv/x on 2026-01-05: f3b1c9d2e4"),
}}
print(json.dumps({{name: fingerprint(record) for name, record in keys.items()}}))
"""


def fingerprints_of(python: str, **environ: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [python, "-c", STABLE_SCRIPT, str(ROOT)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environ},
    )
    keys: dict[str, list[str]] = json.loads(done.stdout)
    return keys


def test_fingerprints_are_the_stored_ones() -> None:
    assert {name: key[0] for name, key in fingerprints_of(sys.executable).items()} == STABLE


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_fingerprints_do_not_depend_on_the_hash_seed(seed: str) -> None:
    keys = fingerprints_of(sys.executable, PYTHONHASHSEED=seed)

    assert {name: key[0] for name, key in keys.items()} == STABLE


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_fingerprints_are_the_same_on_every_python(version: str) -> None:
    for python in interpreters(version):
        with contextlib.suppress(subprocess.CalledProcessError):  # a version manager's stand-in for none
            assert {name: key[0] for name, key in fingerprints_of(python).items()} == STABLE
            return
    pytest.skip(f"there is no Python {version} here")


def interpreters(version: str) -> list[str]:
    managed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{version}"), *map(str, managed.glob(f"{version}.*/bin/python{version}"))]
    return [python for python in found if python]


class Elusive(Exception):
    """Its chain can't be followed."""

    __cause__ = property(lambda self: 1 / 0)


def test_what_cannot_be_fingerprinted_still_gets_a_coarse_key() -> None:
    elusive = key_of("a", error=raised(module("def fail(error): raise error").fail, Elusive()))

    assert elusive == key_of("b", error=Elusive("x"))
    assert elusive != key_of("a", error=Elusive(), name="other")
    assert key_of("a", name=["unhashable"]).fingerprint.startswith("ml2:")


# Messages


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("order 17 failed", "order 1000018 failed"),
        ("took 1.5s of -3", "took 22s of 4e9"),
        ("item5 is gone", "item66 is gone"),
        ("no 0f8fad5b-d9cb-469f-a165-70867728950e here", "no 7C9E6679-7425-40DE-944B-E07FC1F90AE7 here"),
        ("commit f3b1c9d2 failed", "commit 77ab01c9d4 failed"),
        ("token 01ARZ3NDEKTSV4RRFFQ69G5FAV", "token 01BX5ZZKBKACTAV9WEVGEMMVRZ"),
        ("cannot write /srv/a/b.txt: full", "cannot write /var/lib/x: full"),
        ("cannot write C:\\a\\b.txt", "cannot write D:\\c.txt"),
        ("cannot write media/a.png", "cannot write media/b/c.png"),
        ("at 2026-01-05 something", "at 2027-12-31 something"),
        ("at 2026-01-05T10:00:00Z something", "at 2027-12-31T09:59:01.123456+01:00 something"),
        ("at 2026-01-05 10:00:00 it", "at 2026-01-06 10:00:00.123456 it"),
        ("on Mon, 5 January 2026 it", "on Tue, 6 Feb 2027 it"),
        ("user 'bob' is unknown", "user 'alice b.' is unknown"),
        ('user "bob" is unknown', 'user "O\'Neil" is unknown'),
        ("user “bob” is unknown", "user “eve” is unknown"),
        ("from 10.0.0.1", "from 192.168.17.255"),
        ("from fe80::1%eth0", "from 2001:db8::8a2e:370:7334"),
        ("mail to ada@example.com", "mail to alan.t+x@mail.example.org"),
        ("object at 0x7f3a5c", "object at 0xDEADBEEF00"),
        ("GET https://a.example/x?y=1 failed", "GET https://b.example/ failed"),
        ("\x1b[31morder 7\x1b[0m failed", "order \x1b[1;32m8\x1b[m failed"),
        ("bad   spacing 1", "bad spacing\n1"),
        ("payload '" + "abc" * 3000, "payload '" + "xyz" * 3000 + "'"),
    ],
)
def test_messages_that_differ_in_their_values_merge(first: str, second: str) -> None:
    assert key_of(first) == key_of(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("order failed", "payment failed"),
        ("\x1b[31morder\x1b[0m failed", "\x1b[31mpayment\x1b[0m failed"),
        ("user 'bob' is unknown", "user 'bob' is locked"),
        ("don't buy, can't sell", "don't sell, can't buy"),
        ("cannot read /srv/x", "cannot write /srv/x"),
        ("May I march", "May I sell"),
    ],
)
def test_messages_that_differ_in_their_words_do_not_merge(first: str, second: str) -> None:
    assert key_of(first) != key_of(second)


def test_a_template_stands_for_its_messages() -> None:
    assert key_of("order %s failed", "of bob") == key_of("order %s failed", "of alice")
    assert key_of("order %s failed", 1) != key_of("order %d failed", 1)


@pytest.mark.parametrize("template", ["%s: %s", "%(a)s: %(b)s", "%s (%s) - err"])
def test_a_template_that_says_nothing_merges_no_unlike_errors(template: str) -> None:
    def key(a: str, b: str) -> Key:
        return key_of(template, {"a": a, "b": b}) if "(a)" in template else key_of(template, a, b)

    assert key("ORM", "no table") != key("SMTP", "no server")
    assert key("ORM", "row 17") == key("ORM", "row 18")


def test_logger_and_function_count_without_an_exception() -> None:
    assert len({key_of("x y z"), key_of("x y z", name="other"), key_of("x y z", function="other")}) == 3


def test_status_and_route_count_without_an_exception() -> None:
    def request(path: str, route: str) -> HttpRequest:
        made = RequestFactory().get(path)
        made.resolver_match = type("Match", (), {"route": route})()
        return made

    keys = {
        key_of("Failed: %s", "/a/1", request=request("/a/1", "a/<int:pk>"), status_code=500),
        key_of("Failed: %s", "/a/2", request=request("/a/2", "a/<int:pk>"), status_code=500),
        key_of("Failed: %s", "/a/2", request=request("/a/2", "a/<int:pk>"), status_code=503),
        key_of("Failed: %s", "/b/2", request=request("/b/2", "b/<int:pk>"), status_code=500),
    }
    assert len(keys) == 3


@pytest.mark.parametrize("logger", ["django.request", "django.security.DisallowedHost"])
def test_what_a_client_makes_up_does_not_count_in_djangos_own_messages(logger: str) -> None:
    request = RequestFactory().get("/")
    first, second = (
        key_of("%s: %s", "Bad Request", text, name=logger, request=request, status_code=400)
        for text in ("/wp-admin", "/x.php")
    )

    assert first == second
    assert not first.is_free_text
    assert first != key_of("%s: %s", "Not Found", "/x", name=logger, request=request, status_code=404)
    assert first != key_of("%s: %s", "Bad Request", "/x", name="shop", request=request, status_code=400)


# Sites, and what may make any number of groups


def test_the_site_of_an_exception_is_its_roots_innermost_frame() -> None:
    shop = module(SHOP)
    first, second = key_of("a", error=raised(shop.buy, -1)), key_of("b", error=raised(shop.chain, -1))
    other_type = module("def buy(): raise KeyError").buy

    assert first.site == second.site == key_of(error=raised(other_type)).site
    assert first.site != key_of(error=raised(shop.recursion, 1)).site
    assert first.site == key_of(error=raised(shop.group, [-1])).site


def test_the_site_of_a_message_is_logger_function_and_line() -> None:
    first = key_of("one two three")

    assert first.site == key_of("something else %s", 1).site
    assert len({first.site, key_of("x", name="other").site, key_of("x", function="other").site}) == 3
    assert first.site != key_of("one two three", lineno=8).site


def test_an_exception_without_a_traceback_comes_from_where_its_successor_was_raised() -> None:
    def fail() -> None:
        raise LookupError from ValueError("order 17")

    found = raised(fail)

    assert key_of(error=found).site == key_of(error=raised(fail)).site
    assert key_of(error=ValueError("order 17")).site == key_of("a message").site


def test_only_text_that_need_not_be_constant_is_free() -> None:
    shop = module(SHOP)

    assert key_of("Login of bob failed").is_free_text
    assert key_of("%s: %s", "bob", "failed").is_free_text
    assert key_of(error=ValueError("order 17")).is_free_text
    assert key_of(error=ExceptionGroup("several", [ValueError("order 17")])).is_free_text
    assert key_of("Login of %s failed", "bob").is_free_text  # whose call can't be read
    assert not key_of("Login of bob failed", fingerprint="login").is_free_text
    assert not key_of(error=raised(shop.buy, -1)).is_free_text
    assert not key_of(error=raised(shop.group, [-1])).is_free_text


@pytest.mark.parametrize("fields", [{}, {"fingerprint": "mine"}, {"error": ValueError("order 17")}], ids=str)
def test_a_record_tells_its_site_where_the_site_is_counted(fields: dict[str, Any]) -> None:
    record = make_record("Login failed", **fields)
    key = fingerprint(record)

    whole, repeat = full(record), brief(record)

    assert repeat["site"] == (key.fingerprint if "fingerprint" in fields else key.site)
    assert whole.get("site", key.fingerprint) == repeat["site"]


HOSTILE = [
    *(
        "a",
        "1",
        "a1",
        "'",
        '"',
        "'a",
        "a' ",
        "@",
        "a@",
        "%",
        "/",
        "\\",
        "a/",
        "./",
        "-",
        "1-",
        "1.",
        "1:",
        ":",
        "0x",
    ),
    *(" ", "\n", "%s", "%(", "{", "{{", "Jan ", "é", "“", "~", "http://", "f:", "e1", "?", "?a", "&a=", "+"),
    *(
        "Traceback (most recent call last):\n",
        'Traceback (most recent call last):\n  File "a", line 1, in b\n',
    ),
    *('  File "a", line 1, in b\n', '{"a":', '{"a":1}', "a.b<", "=", "k=v ", "k=", "-a", "a_b_1"),
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_stays_linear_on_hostile_text(unit: str) -> None:
    def cost(length: int, message: Callable[[str], logging.LogRecord]) -> float:
        records = [message(unit * (length // len(unit)) + str(n)) for n in range(3)]
        times = []
        for record in records:
            start = time.thread_time()
            json_line(full(record))
            times.append(time.thread_time() - start)
        return min(times)

    for message in (
        make_record,
        lambda text: make_record(text, 1),
        lambda text: make_record(error=ValueError(text)),
    ):
        small, large = cost(8_000, message), cost(800_000, message)
        assert small < 0.05
        assert large < 0.001 + 100 * 2 * small


# extra={"fingerprint": …}


def test_extra_fingerprint_replaces_the_computed_one() -> None:
    assert key_of("a", fingerprint="mine")[:2] == key_of("b", name="other", fingerprint=["mine"])[:2]
    assert key_of("a", fingerprint="mine") != key_of("a", fingerprint="yours")
    assert key_of("a", fingerprint=["x", "y"]) != key_of("a", fingerprint=["xy"])


def test_default_in_a_fingerprint_stands_for_the_computed_one() -> None:
    assert key_of("a b c", fingerprint="{{ default }}") == key_of("a b c")
    assert key_of("a b c", fingerprint=["{{ default }}", 1]) != key_of(
        "a b c", fingerprint=["{{ default }}", 2]
    )
    assert key_of("a b c", fingerprint=["{{ default }}", 1]) != key_of(
        "d e f", fingerprint=["{{ default }}", 1]
    )


@pytest.mark.parametrize("nothing", [None, "", [], [""]])
def test_an_empty_fingerprint_is_none(nothing: object) -> None:
    assert key_of("a b c", fingerprint=nothing) == key_of("a b c")


def test_an_exceptions_cause_stays_with_a_fingerprint_of_ones_own() -> None:
    error = raised(module(SHOP).buy, -1)

    assert key_of(error=error, fingerprint="mine").cause == key_of(error=error).cause
    assert key_of(error=error, fingerprint="mine").fingerprint != key_of(error=error).fingerprint


def test_memories_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_MAX_MEMORY", 10)
    monkeypatch.setattr(chain, "_MAX_CODES", 10)
    codes: list[CodeType] = []
    for number in range(50):
        shop = module(f"def view{number}(): 1 / 0")
        codes.append(getattr(shop, f"view{number}").__code__)
        key_of(error=raised(getattr(shop, f"view{number}")))
        key_of("message " + "x" * number)

    assert len(fingerprints._messages) <= 10
    assert len(chain._codes) <= 10
