"""Five minutes with the README: a new project gets the app from the wheel, fails once, and the mail comes.

Nothing of the steps is written here: commands and settings are those of the README's section "Install".
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.databases import fresh_database
from tests.sites import ROOT, wait_for
from tests.smtp import SMTPServer

pytestmark = pytest.mark.processes
DJANGOS = ("5.2", "6.0", "6.1")
FAILING_VIEW = """

def fail(request):
    return {}["nothing"]


urlpatterns.append(path("fail/", fail))
"""


def steps() -> str:
    """The numbered steps of the section, without what is said after them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^## Install\n+((?:(?:\d+\. |   ).*\n|\n)+)", text, re.MULTILINE)
    assert found, "the README has no section Install that begins with numbered steps"
    return found[1]


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", steps(), re.MULTILINE | re.DOTALL)
    return [dedent(block) for block in found]


def commands() -> list[list[str]]:
    """What is to be typed, in order: lines of shell blocks, and what stands in code marks."""
    lines = re.findall(r"(?:^ *(?:\$ )?|`)((?:pip|python) [^`\n]+)", steps(), re.MULTILINE)
    return [line.split() for line in lines]


def settings_of_the_readme(version: tuple[int, ...]) -> str:
    """What a reader adds to settings.py: apps to those that are there, all else as it is written.

    A comment "... before Django 6.0" behind a value is what goes in its place there.
    """
    added = []
    for block in blocks("python"):
        for statement in ast.parse(block).body:
            source = "\n".join(block.splitlines()[statement.lineno - 1 : statement.end_lineno])
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "INSTALLED_APPS":
                apps = [each.value for each in ast.walk(statement) if isinstance(each, ast.Constant)]
                source = f"INSTALLED_APPS += {[app for app in apps if isinstance(app, str)]}"
            older = re.search(r"^(\w+ = ).*# (.+) before Django (\d+)\.(\d+)$", source)
            if older and version < (int(older[3]), int(older[4])):
                source = older[1] + older[2]
            added.append(source)
    return "\n".join(added)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="builds the wheel: pip install hatchling")
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a virtual environment with a Django, as a project had it before."""

    @cache
    def make(django: str) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        install = [str(python), "-m", "pip", "install", "-q", f"django~={django}.0", "psycopg[binary]"]
        subprocess.run(install, check=True, env={**os.environ, "PYTHONPATH": "", "PYTHONDEVMODE": ""})
        return folder

    return make


class Newcomer:
    """A project in a folder and a virtual environment of its own, made by Django's ``startproject``."""

    def __init__(self, folder: Path, environment: Path, wheels: Path) -> None:
        self.folder = folder / "mysite"
        ours = ("PYTHON", "DJANGO", "MAILLOG")
        keep = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        programs = environment / ("Scripts" if os.name == "nt" else "bin")
        self.env = {
            **keep,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(environment),
            # What the README has pip install is the wheel of this tree, and it needs nothing else.
            "PIP_FIND_LINKS": wheels.as_uri(),
            "PIP_NO_INDEX": "1",
            "PYTHONUNBUFFERED": "1",
            # Each project of this test has a spool of its own: all are called "mysite".
            "TMPDIR": str(folder),
        }
        self.run("django-admin", "startproject", "mysite", cwd=folder)

    def run(self, *command: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            command, cwd=cwd or self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def add(self, name: str, source: str) -> None:
        path = self.folder / "mysite" / name
        path.write_text(f"{path.read_text()}\n{source}\n")

    @contextmanager
    def serving(self) -> Iterator[str]:
        command = ["python", "manage.py", "runserver", "--noreload", "127.0.0.1:0"]
        log = self.folder / "server.log"
        with log.open("w") as output:
            server = subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=output, stderr=output)
        with server:
            try:
                wait_for(lambda: re.search(r"http://127\.0\.0\.1:[1-9]\d*", log.read_text()))
                yield re.findall(r"http://127\.0\.0\.1:\d+", log.read_text())[0]
            finally:
                server.terminate()


def project_settings(version: tuple[int, ...], smtp: SMTPServer, database_url: str) -> str:
    """What the project had before: it is in production, with a mail server and a database."""
    lines = ["DEBUG = False", 'ALLOWED_HOSTS = ["*"]']
    if version >= (6, 1):
        options = {"host": smtp.host, "port": smtp.port, "timeout": 5}
        backend = "django.core.mail.backends.smtp.EmailBackend"
        lines.append(f"MAILERS = { {'default': {'BACKEND': backend, 'OPTIONS': options}} }")
    else:
        lines += [f"EMAIL_HOST = {smtp.host!r}", f"EMAIL_PORT = {smtp.port}", "EMAIL_TIMEOUT = 5"]
    url = urlsplit(database_url)
    if url.scheme != "sqlite":
        database: dict[str, Any] = {"ENGINE": "django.db.backends.postgresql", "NAME": url.path.lstrip("/")}
        database |= {"HOST": url.hostname, "PORT": url.port or 5432, "USER": url.username}
        lines.append(f"DATABASES = { {'default': {**database, 'PASSWORD': url.password or ''}} }")
    return "\n".join(lines)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.parametrize("django", DJANGOS)
def test_the_readmes_steps_lead_to_the_first_mail(
    django: str,
    database: str,
    tmp_path: Path,
    wheels: Path,
    environment: Callable[[str], Path],
    smtp: SMTPServer,
) -> None:
    version = tuple(map(int, django.split(".")))
    if version >= (6, 0) and sys.version_info < (3, 12):
        pytest.skip(f"Django {django} needs Python 3.12")
    with fresh_database(database, tmp_path) as url:
        newcomer = Newcomer(tmp_path, environment(django), wheels)
        newcomer.add("settings.py", project_settings(version, smtp, url))
        newcomer.add("urls.py", FAILING_VIEW)
        is_configured = False
        for command in commands():
            if command[0] == "python" and not is_configured:
                newcomer.add("settings.py", settings_of_the_readme(version))
                is_configured = True
            newcomer.run(*command)
        already = len(smtp.messages)

        with newcomer.serving() as address:
            with pytest.raises(urllib.error.HTTPError, match="500"):
                urllib.request.urlopen(f"{address}/fail/", timeout=60)
            mail = smtp.wait_for(already + 1, timeout=120)[-1]

    assert "KeyError: 'nothing'" in mail["Subject"]
    assert mail["To"] == "you@example.com"
