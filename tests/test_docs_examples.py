"""The documentation's examples work: they configure, mail, run and end as it says."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from django.test import override_settings

from django_maillog import conf, digest
from tests import docs, mail_samples
from tests.certificates import server_context
from tests.sites import Site, wait_for
from tests.smtp import SMTPServer
from tests.test_processes import free_port

OURS = "django_maillog.handlers."
CONFIGURATIONS = [
    *docs.blocks("python", containing="LOGGING ="),
    *docs.blocks("python", containing="HANDLER ="),
]
SETTINGS = docs.blocks("python", containing="\nMAILLOG_") + [
    block for block in docs.blocks("python") if block.text.startswith("MAILLOG_")
]
CHANGES = docs.blocks("diff")
# As uvicorn sets its loggers up; and what this process's mail server logs while a handler waits for it.
OTHERS = {"uvicorn": {"propagate": False}, "mail.log": {"propagate": False}}


def values_of(block: docs.Block) -> dict[str, Any]:
    values: dict[str, Any] = {"__name__": "documented"}
    exec(compile(block.text, str(block), "exec"), values)
    return values


def logging_of(block: docs.Block) -> dict[str, Any]:
    """The LOGGING that a block tells of, in whole or in part."""
    values = values_of(block)
    if "LOGGING" in values:
        return dict(values["LOGGING"])
    return complete({"mail": values["HANDLER"]})


def complete(handlers: dict[str, Any]) -> dict[str, Any]:
    """A configuration whose root logger has these handlers, but for those that others hand their mails to."""
    targets = {each.get("target") for each in handlers.values()}
    root = {"handlers": [name for name in handlers if name not in targets]}
    return {"version": 1, "disable_existing_loggers": False, "handlers": handlers, "root": root}


def sides(block: docs.Block) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a diff shows: before, and after."""
    before, after = (
        "".join(f"{line[1:]}\n" for line in block.text.splitlines() if line[:1] in (" ", sign))
        for sign in "-+"
    )
    return eval(f"{{{before}}}")["handlers"], eval(f"{{{after}}}")["handlers"]


@pytest.fixture
def relay() -> Iterator[SMTPServer]:
    """A mail server that wants TLS and a password, as examples with a mail server of their own have it."""

    def check(_server: Any, _session: Any, _envelope: Any, _way: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"errors", b"password"))

    options = {"tls_context": server_context("localhost"), "require_starttls": True, "auth_required": True}
    with SMTPServer(authenticator=check, **options) as server:
        yield server


def send_one_to_each_logger(config: dict[str, Any]) -> tuple[int, set[str]]:
    """How many records were logged to loggers with a handler of ours, and which handlers these are."""
    ours = {name for name, each in config["handlers"].items() if str(each["class"]).startswith(OURS)}
    number, used = 0, set()
    for name, given in {"": config.get("root", {}), **config.get("loggers", {})}.items():
        reached = ours & set(given.get("handlers", ()))
        if reached:
            logging.getLogger(name).critical("out of hats in %s", name or "root")
            number += 1
            used |= reached
    for name in used:
        # getHandlerByName() came with Python 3.12.
        handler: logging.Handler | None = logging._handlers.get(name)  # type: ignore[attr-defined]
        assert handler is not None
        handler.flush()
    return number, used


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_an_example_configures_logging_and_mails(
    block: docs.Block,
    configure_logging: Callable[[dict[str, Any]], None],
    spool_dir: Path,
    smtp: SMTPServer,
    relay: SMTPServer,
) -> None:
    config = logging_of(block)
    for each in config["handlers"].values():
        if "mailhost" in each:
            each["mailhost"] = [relay.host, relay.port]

    configure_logging({**config, "loggers": {**config.get("loggers", {}), **OTHERS}})
    number, used = send_one_to_each_logger(config)

    mails = [*smtp.messages, *relay.messages]
    assert len(mails) == len(used)
    assert sum(int(mail["X-Maillog-Count"]) for mail in mails) == number


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("block", CHANGES, ids=str)
def test_a_change_of_paths_is_all_that_it_takes(
    block: docs.Block,
    configure_logging: Callable[[dict[str, Any]], None],
    spool_dir: Path,
    smtp: SMTPServer,
) -> None:
    before, after = sides(block)
    for each in after.values():
        if "mailhost" in each:
            each["mailhost"] = [smtp.host, smtp.port]

    configure_logging(complete(before))
    configure_logging({**complete(after), "loggers": OTHERS})
    send_one_to_each_logger(complete(after))

    assert {name: each["class"].rpartition(".")[0] for name, each in after.items()} == dict.fromkeys(
        before, OURS.rstrip(".")
    )
    assert len(smtp.messages) == 1


@pytest.mark.parametrize("block", SETTINGS, ids=str)
def test_settings_are_ones_that_there_are(block: docs.Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "_group_id", {"shop": 1}.get)
    given = {name: value for name, value in values_of(block).items() if name.startswith("MAILLOG_")}

    assert given
    with override_settings(**given):
        assert list(conf.problems()) == []


def test_a_filter_of_the_projects_own_hides_its_word() -> None:
    [block] = docs.blocks("python", containing="SafeExceptionReporterFilter")
    own = values_of(block)["ShopFilter"]()

    assert own.cleanse_setting("LOYALTY_NUMBER", "7") == own.cleansed_substitute
    assert own.cleanse_setting("password", "7") == own.cleansed_substitute
    assert own.cleanse_setting("hats", "7") == "7"


def test_a_template_of_the_projects_own_extends_the_packages(settings: Any, tmp_path: Path) -> None:
    [block] = docs.blocks("django")
    (tmp_path / "django_maillog").mkdir()
    (tmp_path / "django_maillog" / "digest.txt").write_text(block.text)
    settings.TEMPLATES = [
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [tmp_path], "APP_DIRS": True}
    ]

    text = digest.render(mail_samples.three_groups()).text

    assert text.rstrip().endswith("On call: https://wiki.shop.example/on-call")
    assert "Times are in" in text
    assert "could not be used" not in text


# In processes of their own

ALONE = ("LOGGING =", "HANDLER =", "TestCase", "MAILLOG_", "INSTALLED_APPS")
RUN = """
import json, sys
for name, text in json.loads(sys.argv[1]):
    exec(compile(text, name, "exec"), {"__name__": "documented"})
    print("ran", name)
"""


def test_all_other_python_runs(site: Site, smtp: SMTPServer) -> None:
    found = [(str(block), block.text) for block in docs.blocks("python", without=ALONE)]

    done = site.run(RUN, json.dumps(found))

    assert [line for line in done.stdout.splitlines() if line.startswith("ran ")] == [
        f"ran {name}" for name, _text in found
    ]
    assert len(found) > 8


def test_no_python_is_left_out() -> None:
    alone = [*CONFIGURATIONS, *SETTINGS, *docs.blocks("python", containing="TestCase")]

    assert {*alone, *docs.blocks("python", without=ALONE)} == {*docs.blocks("python")}


def test_the_documented_test_passes(site: Site, tmp_path: Path) -> None:
    [block] = docs.blocks("python", containing="TestCase")
    (tmp_path / "documented_tests.py").write_text(block.text)
    site.env["PYTHONPATH"] += os.pathsep + str(tmp_path)

    done = site.manage("test", "documented_tests")

    assert "Ran 1 test" in done.stderr


def test_the_first_example_mails_an_error(site: Site, smtp: SMTPServer) -> None:
    [block] = docs.blocks("python", containing="INSTALLED_APPS")
    site.configure_logging(values_of(block)["LOGGING"])

    site.run("import logging; logging.getLogger('shop').error('out of hats')")
    site.manage("flush_maillogs")

    assert [mail["X-Maillog-Count"] for mail in smtp.wait_for(1)] == ["1"]


def test_a_function_flushes_before_it_answers(site: Site, smtp: SMTPServer) -> None:
    [block] = docs.blocks("python", containing="def flush_due")
    site.env["MAILLOG_WORKER"] = "none"

    site.run(f"{block.text}\nimport logging\nlogging.getLogger('shop').critical('no hats')\nflush_due()")

    assert [mail["X-Maillog-Reason"] for mail in smtp.messages] == ["level"]


def test_uvicorn_mails_its_news_at_sigterm(site: Site, smtp: SMTPServer, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    [block] = docs.blocks("python", containing="lifespan")
    (tmp_path / "documented_asgi.py").write_text(block.text)
    site.env["PYTHONPATH"] += os.pathsep + str(tmp_path)
    port = free_port()
    command = ["uvicorn", f"--port={port}", "--log-level=warning", "documented_asgi:application"]
    server = site.popen([sys.executable, "-m", *command])

    def fails() -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/division/", timeout=30)
        except urllib.error.HTTPError:
            return True
        except OSError:
            assert server.poll() is None
        return False

    wait_for(fails)
    server.send_signal(signal.SIGTERM)
    server.wait(60)

    assert [mail["X-Maillog-Reason"] for mail in smtp.messages] == ["new"]


def test_removing_it_leaves_nothing(site: Site, smtp: SMTPServer) -> None:
    section = docs.section("upgrading.md", "Removing it")
    flush, drop, stale = (
        each.split()[2:] for each in docs.code(section) if each.startswith("python manage.py")
    )
    site.run("import logging; logging.getLogger('shop').critical('out of hats')")

    site.manage(*flush)
    site.manage(*drop)
    site.run(
        "from django.conf import settings; settings.INSTALLED_APPS.remove('django_maillog')\n"
        "from django.apps import apps; apps.set_installed_apps(settings.INSTALLED_APPS)\n"
        "from django.core.management import call_command\n"
        f"call_command(*{stale!r}, '--noinput')"
    )

    left = site.run(
        "from django.db import connection\n"
        "from django.contrib.auth.models import Permission\n"
        "print([name for name in connection.introspection.table_names() if 'maillog' in name])\n"
        "print(Permission.objects.filter(content_type__app_label='django_maillog').count())"
    )
    assert left.stdout.split() == ["[]", "0"]
    assert not list(site.spool_dir.glob("*.jsonl"))
    assert len(smtp.messages) == 1


def test_the_readmes_commands_are_one_line_each() -> None:
    lines = [
        line for block in docs.blocks("sh") if block.page == "README.md" for line in block.text.splitlines()
    ]

    assert [re.split(r" && ", line)[-1] for line in lines] == [
        ".venv/bin/python example_project/manage.py demo",
        ".venv/bin/tox run",
    ]
