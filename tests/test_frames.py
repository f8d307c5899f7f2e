"""Whose code a file is, and the frames in a traceback's text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from django_maillog.frames import Frame, Section, innermost, is_library, sections
from tests.sites import ROOT

PROJECT = [
    "/srv/shop/views.py",
    "views.py",
    "",
    "<string>",
    "<console>",
    # An alphabet of folders that only sound like a library's.
    "/srv/Lib/shop/views.py",
    "/srv/lib/shop/views.py",
    "/srv/lib/python3/shop/views.py",
    "/srv/lib/python3.12/shop/views.py",
    "/srv/python3/shop/views.py",
    "/srv/python3.12/lib/email/views.py",
    "/home/conda/lib/email/views.py",
    "/srv/site-packages-mirror/views.py",
    "/srv/shop/json/views.py",
    "/srv/shop.pyz/shop/views.py",
    r"C:\Sites\Lib\email\views.py",
    r"C:\Sites\python\shop\views.py",
    r"D:\Python312\Lib\shop\views.py",
]
LIBRARY = [
    json.__file__,
    pytest.__file__,
    "<frozen importlib._bootstrap>",
    # Fedora and RHEL, Debian, built by hand, pyenv, macOS, PyPy, free-threaded, embedded
    "/usr/lib64/python3.9/json/decoder.py",
    "/usr/lib64/python3.12/site-packages/yaml/__init__.py",
    "/usr/lib/python3/dist-packages/django/http/request.py",
    "/usr/lib/python3.11/json/decoder.py",
    "/usr/local/lib/python3.12/contextlib.py",
    "/usr/lib/python3.12/lib-dynload/_json.so",
    "/home/ada/.pyenv/versions/3.11.7/lib/python3.11/asyncio/runners.py",
    "/Library/Frameworks/Python.framework/Versions/3.13/lib/python3.13/socket.py",
    "/usr/lib/pypy3.10/json/decoder.py",
    "/opt/python/lib/python3.14t/threading.py",
    "/srv/app/python312.zip/json/decoder.py",
    # virtual environments, wherever they lie, and what is run out of archives
    "/srv/lib/shop/.venv/lib/python3.12/site-packages/django/urls/base.py",
    "/srv/lib/python3.12/shop/.venv/lib64/python3.12/site-packages/redis/client.py",
    "/srv/lib/python3.12/shop/python/lib/python3.12/json/decoder.py",
    "/home/ada/.shiv/shop_1f2e/site-packages/redis/client.py",
    "/home/ada/.pex/installed_wheels/1/redis-5.0-py3-none-any.whl/redis/client.py",
    "/usr/lib/python3.9/eggs/redis-5.0-py3.9.egg/redis/client.py",
    # Windows: python.org's, the store's, conda's, pyenv's, uv's, a virtual environment
    r"C:\Python312\Lib\json\decoder.py",
    r"C:\Users\ada\AppData\Local\Programs\Python\Python312\Lib\socket.py",
    r"C:\Program Files\WindowsApps\PythonSoftwareFoundation.Python.3.12_3.12.1_x64__qbz5n\Lib\socket.py",
    r"C:\ProgramData\miniconda3\lib\socket.py",
    r"C:\Users\ada\.pyenv\pyenv-win\versions\3.12.1\Lib\socket.py",
    r"C:\Users\ada\AppData\Roaming\uv\python\cpython-3.12-windows\Lib\json\decoder.py",
    r"C:\sites\shop\.venv\Lib\site-packages\django\urls\base.py",
]


@pytest.mark.parametrize("path", PROJECT)
def test_a_projects_file_is_no_librarys_whatever_its_folders_are_called(path: str) -> None:
    assert not is_library(path)


@pytest.mark.parametrize("path", LIBRARY)
def test_the_standard_library_and_what_is_installed_are_libraries_on_every_system(path: str) -> None:
    assert is_library(path)


def test_a_module_in_a_zip_application_is_the_projects(tmp_path: Path) -> None:
    import zipfile

    archive = tmp_path / "shop.pyz"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("__main__.py", "import shop; shop.fail()")
        made.writestr("shop.py", "import json\ndef fail():\n    json.loads('{')\n")
    done = subprocess.run(
        [sys.executable, str(archive)], capture_output=True, text=True, cwd=ROOT, check=False
    )

    frame = innermost(done.stderr)

    assert frame is not None
    assert frame.place.endswith("shop.pyz/shop.py:3 in fail")


TEXT = """Traceback (most recent call last):
  File "/srv/shop/views.py", line 9, in view
    decode(
    ~~~~~~^
  [Previous line repeated 9 more times]
  File "/usr/lib64/python3.12/json/decoder.py", line 3, in decode
ValueError: two
    lines
  + Exception Group Traceback (most recent call last):
  |   File "/srv/shop/jobs.py", line 2, in work
  |     await one()
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: 1
  File "unfinished"""


def test_a_traceback_is_told_apart_into_frames_and_other_lines() -> None:
    found = list(sections(TEXT))

    assert "".join(section.text for section in found) == TEXT
    assert [section for section in found if section.frame] == [
        Section("".join(TEXT.splitlines(keepends=True)[1:5]), Frame("/srv/shop/views.py", "9", "view")),
        Section(
            '  File "/usr/lib64/python3.12/json/decoder.py", line 3, in decode\n',
            Frame("/usr/lib64/python3.12/json/decoder.py", "3", "decode"),
        ),
        Section(
            '  |   File "/srv/shop/jobs.py", line 2, in work\n  |     await one()\n',
            Frame("/srv/shop/jobs.py", "2", "work"),
        ),
    ]
    assert [section.kind for section in found if section.frame] == ["app", "library", "app"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (TEXT, "srv/shop/jobs.py:2 in work"),
        (
            '  File "/usr/lib64/python3.9/json/decoder.py", line 3, in decode',
            "python3.9/json/decoder.py:3 in decode",
        ),
        ('  File "shop.py", line 3\n    x = (\n        ^\nSyntaxError: never closed', "shop.py:3"),
        (r'  File "C:\Sites\shop\views.py", line 3, in f', "Sites/shop/views.py:3 in f"),
    ],
)
def test_the_innermost_frame_of_the_project_is_named(text: str, place: str) -> None:
    frame = innermost(text)

    assert frame is not None
    assert frame.place == place


def test_a_text_without_frames_has_no_innermost_one() -> None:
    assert innermost("Error: no frames") is None
    assert list(sections("")) == []


def test_hostile_text_is_read_in_linear_time() -> None:
    text = '  File "' * 50_000 + "\n" + "| " * 50_000

    assert "".join(section.text for section in sections(text)) == text
