"""What is published: a wheel and a source distribution with all that belongs in them, and nothing else."""

from __future__ import annotations

import email
import email.message
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import django_maillog

pytest.importorskip("hatchling", reason="builds the wheel: pip install hatchling")

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "django_maillog"
VERSION = django_maillog.__version__
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
KINDS = {".py", ".html", ".txt", ".css", ".typed", ".po", ".mo"}
FOLDERS = ("django_maillog", "docs", "example_project", "tests")
FILES = ("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "pyproject.toml", "tox.ini")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, which is built from the unpacked source distribution, and the latter."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder), "--target"]
    subprocess.run([*command, "sdist"], cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / f"django_maillog-{VERSION}"
    subprocess.run([*command, "wheel"], cwd=unpacked, check=True, capture_output=True)
    return folder


def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(built.glob("*.whl")))


def tree(*folders: str) -> set[str]:
    """The files below these folders, but for what running the code leaves there."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    kept = (path for path in found if "__pycache__" not in path.parts and ".sqlite3" not in path.name)
    return {path.relative_to(ROOT).as_posix() for path in kept}


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    names = set(wheel(built).namelist())
    info = f"django_maillog-{VERSION}.dist-info"

    about = {name for name in names if name.startswith(info)}
    assert about == {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    assert names - about == tree("django_maillog")
    assert {PurePosixPath(name).suffix or PurePosixPath(name).name for name in names - about} <= KINDS


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "migrations/0001_initial.py",
        "static/django_maillog/admin.css",
        "templates/admin/django_maillog/batch.html",
        "templates/django_maillog/digest.html",
        "templates/django_maillog/digest.txt",
    ],
)
def test_the_wheel_holds_what_is_not_imported(built: Path, name: str) -> None:
    assert wheel(built).read(f"django_maillog/{name}") == (PACKAGE / name).read_bytes()


def test_the_source_distribution_holds_what_the_tests_need_and_nothing_else(built: Path) -> None:
    root = f"django_maillog-{VERSION}/"
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {member.name.removeprefix(root) for member in archive if member.isfile()}

    # Hatchling adds these two: the metadata, and what it ignored files by.
    assert names - {"PKG-INFO", ".gitignore"} == tree(*FOLDERS) | set(FILES)


def metadata(built: Path) -> email.message.Message:
    text = wheel(built).read(f"django_maillog-{VERSION}.dist-info/METADATA").decode()
    return email.message_from_string(text)


def test_the_version_is_said_once(built: Path) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()

    assert metadata(built)["Version"] == VERSION
    assert "version" not in PROJECT["project"]
    headings = re.findall(r"^## (\S+)", changelog, re.MULTILINE)
    assert headings[0] in (VERSION, "Unreleased")


def test_a_project_gets_django_and_nothing_else(built: Path) -> None:
    required = [each for each in metadata(built).get_all("Requires-Dist", []) if "extra ==" not in each]

    assert required == ["django>=5.2"]


@pytest.mark.parametrize(
    ("classifier", "factor"),
    [("Programming Language :: Python ::", r"py(\d)(\d+)"), ("Framework :: Django ::", r"django(\d)(\d)")],
)
def test_the_classifiers_name_what_tox_tests(built: Path, classifier: str, factor: str) -> None:
    classifiers = metadata(built).get_all("Classifier", [])
    environments = re.search(r"^env_list = .*$", (ROOT / "tox.ini").read_text(), re.MULTILINE)
    assert environments

    named = {each.removeprefix(classifier).strip() for each in classifiers if each.startswith(classifier)}
    tested = {".".join(found) for found in re.findall(factor, environments[0])}

    assert {each for each in named if "." in each} == tested
