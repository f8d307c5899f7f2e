"""The documentation names everything that a user can set, call, receive or read; each in its place."""

from __future__ import annotations

import ast
import configparser
import inspect
import logging
import re
import shlex
from argparse import ArgumentParser
from dataclasses import replace
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class
from django.dispatch import Signal

from django_maillog import conf, digest, handlers, health, models, policy, signals
from django_maillog.digest.page import SIZES, Composer
from django_maillog.flush import Summary
from tests import docs, mail_samples
from tests.sites import ROOT

SOURCES = sorted((ROOT / "django_maillog").rglob("*.py"))
HANDLERS = [handlers.BufferingHandler, handlers.SMTPHandler, handlers.MemoryHandler]
COMMANDS = sorted(name for name, app in get_commands().items() if app == "django_maillog")


def parser_of(command: str) -> ArgumentParser:
    return load_command_class("django_maillog", command).create_parser("manage.py", command)


def literal(cell: str) -> Any:
    """The value that a table's cell shows in code marks, if that and a remark in brackets is all of it."""
    found = re.fullmatch(r"`([^`]+)`(?: \([^)]*\))?", cell)
    try:
        return ast.literal_eval(found[1]) if found else None
    except (ValueError, SyntaxError):  # the name of something
        return None


# Settings, handlers, checks


def test_every_setting_is_in_the_table_with_its_default() -> None:
    table = docs.rows(docs.PAGES["settings.md"])

    assert {docs.code(row[0])[0]: literal(row[1]) for row in table} == {
        name: default or None for name, default in conf.DEFAULTS.items()
    }


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
def test_every_argument_of_a_handler_is_in_its_table_with_its_default(handler: type[logging.Handler]) -> None:
    table = docs.rows(docs.section("handlers.md", f"django_maillog.handlers.{handler.__name__}"))
    parameters = inspect.signature(handler).parameters

    assert [docs.code(row[0]) for row in table] == [[name] for name in parameters]
    for row, parameter in zip(table, parameters.values(), strict=True):
        if parameter.default not in (None, parameter.empty):
            shown = literal(row[2])
            assert logging.getLevelNamesMapping().get(shown, shown) == parameter.default, parameter


def test_every_check_is_explained_once() -> None:
    written = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    ids = set(re.findall(r"django_maillog\.[EW]\d{3}", written))
    # Where the code puts the parts of an id together.
    ids |= {f"django_maillog.{part}" for part in re.findall(r'"([EW]\d{3})"', written)}

    assert docs.first_names(docs.PAGES["checks.md"]) == sorted(ids)


# Commands


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_is_what_it_prints(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    # Python 3.14 has colours.
    monkeypatch.setenv("NO_COLOR", "1")
    printed = parser_of(command).format_help()
    starts = [printed.find("positional arguments:"), printed.find("options:")]
    # What every command of Django has, and each version words its own way, comes after ours.
    own = printed[min(start for start in starts if start >= 0) : printed.index("  --version")]

    assert f"```text\n{own.rstrip()}\n```" in docs.section("commands.md", f"manage.py {command}")


CALLS = [
    (str(block), line.partition("manage.py ")[2])
    for block in docs.blocks("sh", "ini", "crontab", "yaml", "console")
    for line in block.text.splitlines()
    if any(f"manage.py {command}" in line for command in COMMANDS)
]


@pytest.mark.parametrize(("where", "call"), CALLS)
def test_every_call_of_a_command_is_one_that_it_takes(where: str, call: str) -> None:
    command, *arguments = shlex.split(call.partition(">")[0], comments=True)

    parser_of(command).parse_args(arguments)


def test_calls_in_a_sentence_are_ones_that_the_commands_take() -> None:
    parts = (part for page in docs.PAGES for part in docs.code(docs.prose(page)))
    calls = [part.removeprefix("python ").removeprefix("manage.py ") for part in parts]
    ours = [call.split() for call in calls if call.split()[0] in COMMANDS]

    for command, *arguments in ours:
        known = {option for action in parser_of(command)._actions for option in action.option_strings}
        assert {argument for argument in arguments if argument.startswith("--")} <= known, (
            command,
            arguments,
        )
    assert len(ours) > 20


@pytest.mark.django_db
def test_the_keys_of_json_are_named() -> None:
    named = docs.code(docs.section("commands.md", "manage.py flush_maillogs"))

    assert set(Summary(None).as_dict()) <= set(named)


# What a project receives


def test_every_signal_is_in_the_table() -> None:
    ours = [name for name, value in vars(signals).items() if isinstance(value, Signal)]

    assert docs.first_names(docs.section("monitoring.md", "Signals")) == ours


@pytest.mark.django_db
def test_every_figure_of_a_health_check_is_in_the_table(spool_dir: Any) -> None:
    spool_dir.mkdir(mode=0o700)
    table = docs.section("monitoring.md", "Does an error reach people?")
    figures = [name for name in docs.first_names(table) if name.islower() and not name.startswith("-")]

    assert set(figures) == set(health.check().as_dict())


def test_every_header_is_in_the_table() -> None:
    report = replace(
        mail_samples.critical(), message_id="<2@example.com>", references="<1@example.com>", batch_id=3
    )

    assert set(docs.first_names(docs.section("mail.md", "Headers"))) == set(digest.headers(report))


def keys(values: list[Any]) -> set[str]:
    return {key for value in values for key in (value if isinstance(value, dict) else value._asdict())}


def test_every_variable_of_the_templates_is_in_its_table() -> None:
    reports = [make() for make in mail_samples.SAMPLES.values()]
    contexts = [Composer(report).context(SIZES[0], []) for report in reports]
    sections = [each for context in contexts for each in context["sections"]]
    problems = [each for section in sections for each in section["groups"]]
    parts = [part for problem in problems for block in problem["blocks"] for part in block["parts"]]
    found = {
        "mail": keys(contexts),
        "section": keys(sections),
        "row": keys([row for context in contexts for row in [*context["overview"], *context["rows"]]]),
        "problem": keys(problems),
        "counted": keys(
            [each for problem in problems for each in [*problem["values"], *problem["messages"]]]
        ),
        "block": keys([block for problem in problems for block in problem["blocks"]]),
        "part": keys(parts),
        "table": keys([table for problem in problems for table in problem["tables"]]),
    }
    text = docs.section("mail.md", "Templates")
    _, _, text = text.partition("Of the mail:")
    mail, _, text = text.partition("Of a section:")
    section, _, text = text.partition("Of a row:")
    row, _, problem = text.partition("Of a problem in full:")
    inner = set(docs.code(problem))

    assert set(docs.first_names(mail)) == found["mail"]
    assert found["section"] == {"heading", "rule", "groups"} <= set(docs.code(section))
    assert set(docs.first_names(row)) == found["row"]
    assert set(docs.first_names(problem)) == found["problem"]
    assert found["counted"] | found["block"] | found["part"] | found["table"] <= inner
    assert {part["kind"] for part in parts} - {""} <= inner


def test_every_block_of_the_templates_is_named() -> None:
    folder = ROOT / "django_maillog" / "templates" / "django_maillog"
    for name in ("digest.txt", "digest.html"):
        own = re.findall(r"{% block (\w+) %}", (folder / name).read_text(encoding="utf-8"))
        assert set(own) <= set(docs.code(docs.section("mail.md", "Templates"))), name


# What people read


def test_every_reason_is_in_the_table() -> None:
    table = docs.rows(docs.section("when.md", "The rules"))

    assert {docs.code(row[0])[0] for row in table} == {str(reason) for reason in policy.Reason}


def test_every_status_is_in_the_table() -> None:
    table = docs.rows(docs.section("admin.md", "Batches"))

    assert [docs.code(row[0])[0] for row in table if docs.code(row[0])] == models.Status.values


def test_every_permission_is_in_the_table() -> None:
    own = {name for model in (models.Batch, models.Group) for name, _said in model._meta.permissions}
    named = docs.first_names(docs.section("security.md", "Who may see and do what"))

    assert {name.removeprefix("django_maillog.") for name in named} == own | {
        "view_batch",
        "view_group",
        "view_record",
    }


# What contributors need


def test_every_environment_of_tox_is_in_the_table() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    own = {name.removeprefix("testenv:") for name in tox.sections() if name.startswith("testenv:")}
    listed = set(tox["tox"]["env_list"].replace("\n", "").replace(" ", "").split(","))

    assert own | listed <= set(docs.first_names(docs.section("CONTRIBUTING.md", "All environments")))
