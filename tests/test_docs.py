"""The documentation names everything that a user can set, and its examples work."""

from __future__ import annotations

import inspect
import logging
import re
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class

from django_maillog import buffers, conf, handlers
from tests.sites import ROOT, Site
from tests.smtp import SMTPServer

PATHS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in PATHS}
README = PAGES["README.md"]
SOURCES = sorted((ROOT / "django_maillog").rglob("*.py"))
HANDLERS = [handlers.SMTPHandler, handlers.MemoryHandler, handlers.BufferingHandler]


def names_in(text: str) -> set[str]:
    """The words in code marks."""
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"[\w.-]+", code)}


def section(page: str, heading: str) -> str:
    """A page from a heading that contains these words to the next one."""
    found = re.search(rf"^#+ [^\n]*{re.escape(heading)}.*?(?=^#|\Z)", PAGES[page], re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no heading with {heading}"
    return found[0]


def check_ids() -> set[str]:
    written = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    return set(re.findall(r"django_maillog\.[EW]\d{3}", written))


def our_commands() -> list[str]:
    return sorted(name for name, app in get_commands().items() if app == "django_maillog")


def options(command: str) -> set[str]:
    """The options that the command adds to those of every Django command."""

    def of(parser: ArgumentParser) -> set[str]:
        return {
            option for action in parser._actions for option in action.option_strings if option[:2] == "--"
        }

    common = {"--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback"}
    common |= {"--no-color", "--force-color", "--skip-checks"}
    loaded = load_command_class("django_maillog", command)
    return of(loaded.create_parser("manage.py", command)) - common


def test_every_setting_is_in_the_table() -> None:
    table = section("settings.md", "Settings")

    assert set(conf.DEFAULTS) - names_in(table) == set()


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
def test_every_argument_of_a_handler_is_in_its_table(handler: type[logging.Handler]) -> None:
    table = section("handlers.md", f"django_maillog.handlers.{handler.__name__}")
    arguments = set(inspect.signature(handler).parameters)

    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == arguments


def test_every_check_is_explained() -> None:
    assert check_ids() - names_in(PAGES["checks.md"]) == set()


def test_every_option_of_a_command_is_in_its_section() -> None:
    missing = {
        (command, option)
        for command in our_commands()
        for option in options(command) - names_in(section("commands.md", f"manage.py {command}"))
    }

    assert missing == set()


def snippets() -> list[str]:
    """The Python blocks that configure logging."""
    text = "\n".join(PAGES.values())
    blocks = re.findall(r"^( *)```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    dedented = (re.sub(rf"^{indent}", "", code, flags=re.MULTILINE) for indent, code in blocks)
    return [code for code in dedented if "LOGGING =" in code]


@pytest.mark.parametrize("code", snippets(), ids=lambda code: re.sub(r"\W+", "-", code)[-60:])
def test_the_examples_configure_logging(
    code: str, configure_logging: Callable[[dict[str, Any]], None], spool_dir: Path
) -> None:
    values: dict[str, Any] = {}
    exec(code, values)

    configure_logging(values["LOGGING"])

    names = [name for name, given in values["LOGGING"]["handlers"].items() if "Buffering" in given["class"]]
    assert names or "MemoryHandler" in code
    for name in names:
        handler = buffers.find(name)
        assert handler is not None
        assert isinstance(handler.target, handlers.SMTPHandler)


def test_the_commands_are_one_line_each() -> None:
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()
    ]

    assert [line.split()[-2:] for line in lines if line.startswith("python -m venv")] == [
        ["example_project/manage.py", "demo"],
        [".venv/bin/tox", "run"],
    ]


def test_the_first_example_mails_an_error(site: Site, smtp: SMTPServer) -> None:
    code = next(code for code in snippets() if "INSTALLED_APPS" in code)
    values: dict[str, Any] = {}
    exec(code, values)
    site.configure_logging(values["LOGGING"])

    site.run("import logging; logging.getLogger('shop').error('out of hats')")
    site.manage("flush_maillogs")

    assert [mail["X-Maillog-Count"] for mail in smtp.wait_for(1)] == ["1"]
