"""What is folded and shortened in a mail's text is what nobody needs, and it is said."""

from __future__ import annotations

import pytest

from django_maillog import digest
from django_maillog.capture.text import one_line
from django_maillog.digest.excerpts import Passage, folded, shorten
from django_maillog.frames import Frame, package_of
from tests.mail_samples import SITE, group, report, sample

APP = '  File "/srv/shop/orders/views.py", line 4, in view\n    call()\n'


def library(package: str, number: int = 1) -> str:
    return "".join(f'  File "{SITE}/{package}/base.py", line {n}, in f\n    g()\n' for n in range(number))


def text_of(traceback: str) -> str:
    return folded(shorten(traceback, 100_000))


def test_runs_of_library_frames_are_one_line() -> None:
    head, value = "Traceback (most recent call last):\n", "ValueError: no\n"

    assert text_of(head + library("django", 12) + APP + value) == (
        f"{head}  … 12 frames of django …\n{APP}{value}"
    )
    assert text_of(head + library("django", 2) + library("rest_framework", 3) + APP + value) == (
        f"{head}  … 5 frames of django, rest_framework …\n{APP}{value}"
    )
    assert text_of(head + library("django") + APP + value) == head + library("django") + APP + value
    many = "".join(map(library, ("django", "environ", "hiredis", "rest_framework")))
    assert text_of(head + many + APP + value) == (
        f"{head}  … 4 frames of django, environ, hiredis and others …\n{APP}{value}"
    )


def test_the_frame_that_raised_is_never_folded() -> None:
    frames = library("redis", 5)

    text = text_of(f"{APP}{frames}ConnectionError: no\n")

    assert "… 4 frames of redis …" in text
    assert text.endswith(f"{library('redis', 5)[len(library('redis', 4)) :]}ConnectionError: no\n")


def test_a_frame_whose_path_was_cut_has_no_package() -> None:
    frames = library("django", 2) + library("redis").replace("site-packages", "si… 99 characters left out …s")

    assert folded([Passage("library", frames), Passage("app", APP)]) == f"  … 3 frames of django …\n{APP}"


def test_frames_of_a_group_keep_its_margin() -> None:
    frames = "".join(f"  | {line}\n" for line in library("django", 3).splitlines())
    own = "".join(f"  | {line}\n" for line in APP.splitlines())

    assert text_of(f"  | Traceback (most recent call last):\n{frames}{own}  | ValueError: no\n") == (
        f"  | Traceback (most recent call last):\n  |   … 3 frames of django …\n{own}  | ValueError: no\n"
    )


def test_the_html_shows_them_all() -> None:
    traceback = f"Traceback (most recent call last):\n{library('django', 12)}{APP}ValueError: no\n"
    rendered = digest.render(report(group(sample=sample(traceback=traceback))))

    assert "… 12 frames of django …" in rendered.text
    assert rendered.html.count("django/base.py") == 12


@pytest.mark.parametrize(
    ("path", "package"),
    [
        (f"{SITE}/django/core/base.py", "django"),
        (f"{SITE}/six.py", "six"),
        ("/usr/lib/python3.13/asyncio/runners.py", "asyncio"),
        ("/usr/lib/python3.13/threading.py", "threading"),
        ("<frozen importlib._bootstrap>", "Python"),
    ],
)
def test_a_librarys_file_belongs_to_its_package(path: str, package: str) -> None:
    assert package_of(path) == package


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/srv/site/shop/management/commands/nightly.py", "shop/management/commands/nightly.py:1 in f"),
        ("/srv/site/shop/api/v1/views/orders.py", "shop/api/v1/views/orders.py:1 in f"),
        ("/srv/site/shop/templatetags/money.py", "site/shop/templatetags/money.py:1 in f"),
        ("/srv/site/shop/views.py", "site/shop/views.py:1 in f"),
        ("tests/views/models.py", "tests/views/models.py:1 in f"),
    ],
)
def test_a_shortened_path_keeps_the_app(path: str, place: str) -> None:
    shown = Frame(path, "1", "f").place

    assert shown.endswith(place.removeprefix("site/"))
    assert "management/commands" not in shown or shown.startswith("shop/")


def test_the_library_that_logged_is_no_place() -> None:
    logged = sample(traceback="", pathname=f"{SITE}/django/utils/log.py")

    assert "\n  at " not in digest.render(report(group(sample=logged))).text


@pytest.mark.parametrize(("length", "is_whole"), [(150, True), (250, True), (1_900, True), (7_000, False)])
def test_a_single_message_is_shown_up_to_2000_characters_and_whole_in_the_sample(
    length: int, is_whole: bool
) -> None:
    message = ("word " * (length // 5))[: length - 3] + "END"
    logged = sample(message=message, traceback="", exception=None)

    text = digest.render(
        report(group(title=one_line(message), messages=[(message[:200], 1)], sample=logged))
    ).text

    assert message in text
    assert ("more characters, all of it below" in text) is not is_whole
    assert text.count("END") == 1


def test_a_long_message_among_others_is_cut_with_a_mark_and_whole_in_the_sample() -> None:
    message = "word " * 200 + "END"
    logged = sample(message=message, traceback="")
    groups = [
        group(n, title="word", count=3, messages=[(message, 2), ("other", 1)], sample=logged) for n in (1, 2)
    ]

    text = digest.render(report(*groups)).text

    assert "word word…" in text.replace(" …", "…")
    assert text.count(message) == 2


def test_a_second_line_is_shown_though_the_first_is_the_title() -> None:
    logged = sample(message="first\nsecond", traceback="")

    text = digest.render(report(group(title="first", messages=[("first\nsecond", 1)], sample=logged))).text

    assert "second" in text
