"""System checks: each wrong setting or argument is named, with something to type."""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.core.checks import CheckMessage, run_checks

from django_maillog import checks, compat
from django_maillog.handlers import BufferingHandler, MemoryHandler, SMTPHandler
from django_maillog.models import Attempt, Batch, Outcome
from django_maillog.spool.folder import spool_folder
from tests.buffers import NOON
from tests.sites import ROOT, Site

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

Configure = Callable[[dict[str, Any]], None]
SMTP = "django.core.mail.backends.smtp.EmailBackend"
MAIL = {"class": "django_maillog.handlers.SMTPHandler", "mailhost": "relay"}
BUFFER = {"class": "django_maillog.handlers.BufferingHandler", "target": "mail"}
has_mailers = pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS came with Django 6.1")
before_mailers = pytest.mark.skipif(django.VERSION >= (6, 1), reason="up to Django 6.0")


def logging_of(**handlers: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": handlers,
        "loggers": {"shop": {"handlers": list(handlers)}},
    }


def found(*, deploy: bool = False) -> list[CheckMessage]:
    return run_checks(tags=["django_maillog"], include_deployment_checks=deploy)


def ids(**kwargs: Any) -> list[str | None]:
    return [message.id for message in found(**kwargs)]


def only(**kwargs: Any) -> tuple[str | None, str, str]:
    """The id, text and hint of the one message that there is."""
    messages = found(**kwargs)
    assert len(messages) == 1, messages
    return messages[0].id, str(messages[0].msg), str(messages[0].hint)


@pytest.fixture(autouse=True)
def only_what_a_test_configures(monkeypatch: pytest.MonkeyPatch, spool_dir: Path) -> None:
    """Handlers that other tests left behind are none of these tests' business."""
    import weakref

    monkeypatch.setattr("django_maillog.buffers._handlers", weakref.WeakValueDictionary())
    monkeypatch.setattr(logging, "_handlers", weakref.WeakValueDictionary())
    monkeypatch.setattr("django_maillog.handlers.names._named", {})


@pytest.fixture
def attached(configure_logging: Configure) -> None:
    """A handler of ours with which all is well."""
    configure_logging(logging_of(mail=MAIL))


def test_all_is_well(configure_logging: Configure) -> None:
    configure_logging(logging_of(mail=MAIL, errors=BUFFER))

    assert ids(deploy=True) == []


def test_the_smallest_configuration_is_well(configure_logging: Configure) -> None:
    configure_logging(logging_of(errors={"class": "django_maillog.handlers.BufferingHandler"}))

    assert ids() == []


def test_nobody_to_mail_to(configure_logging: Configure, settings: Settings) -> None:
    settings.ADMINS = []
    configure_logging(logging_of(mail=MAIL, errors=BUFFER))

    assert only() == (
        "django_maillog.W001",
        "The handler 'mail' has nobody to mail to.",
        'Set ADMINS = ["ada@example.com"] (up to Django 5.2: [("Ada", "ada@example.com")]),'
        " or give the handler toaddrs.",
    )


def test_the_default_target_is_checked_under_its_buffers_name(
    configure_logging: Configure, settings: Settings
) -> None:
    settings.ADMINS = []
    configure_logging(logging_of(errors={"class": "django_maillog.handlers.BufferingHandler"}))

    assert only()[:2] == ("django_maillog.W001", "The handler 'errors' has nobody to mail to.")


@pytest.mark.parametrize(
    "address", ["ada", "ada@", "ada example.com", "Ada <ada>", "a@x.example, b@x.example"]
)
def test_a_recipient_that_is_no_address(
    configure_logging: Configure, settings: Settings, address: str
) -> None:
    settings.ADMINS = [address] if django.VERSION >= (6, 0) else [("Ada", address)]
    configure_logging(logging_of(mail=MAIL))

    assert only() == (
        "django_maillog.W033",
        f"The handler 'mail' mails to {address!r}, which is no address.",
        'Give an address such as "ada@example.com".',
    )


# Django's own checks ask the database, too: the first time, whether it knows JSON.
@pytest.mark.django_db
@pytest.mark.parametrize(
    "address", ["ada@example.com", "Ada <ada@example.com>", "ops@mailhub", "ä@bücher.example"]
)
def test_a_recipient_that_is_an_address(
    configure_logging: Configure, settings: Settings, address: str
) -> None:
    settings.ADMINS = [address] if django.VERSION >= (6, 0) else [("Ada", address)]
    configure_logging(logging_of(mail=MAIL))

    assert run_checks() == []


def test_djangos_default_sender(configure_logging: Configure, settings: Settings) -> None:
    settings.SERVER_EMAIL = "root@localhost"
    configure_logging(logging_of(mail=MAIL))

    assert only() == (
        "django_maillog.W034",
        "The handler 'mail' mails from 'root@localhost', which mail servers refuse.",
        'Set SERVER_EMAIL = "errors@example.com", or give the handler fromaddr.',
    )


@pytest.mark.django_db
def test_djangos_default_sender_is_good_enough_for_development(
    configure_logging: Configure, settings: Settings
) -> None:
    settings.SERVER_EMAIL = "root@localhost"
    console = "django.core.mail.backends.console.EmailBackend"
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": console}}
    else:
        settings.EMAIL_BACKEND = console
    configure_logging(logging_of(mail={"class": "django_maillog.handlers.SMTPHandler"}))

    assert run_checks() == []


@pytest.mark.django_db
def test_mails_that_a_backend_did_not_confirm() -> None:
    batch = Batch.objects.create(buffer="mail", opened_at=NOON)
    Attempt.objects.create(batch=batch, tried_at=NOON, outcome=Outcome.UNCONFIRMED)

    [found] = [item for item in run_checks(databases=["default"]) if item.id == "django_maillog.W031"]

    assert found.msg == (
        "1 mails are not confirmed by the mail backend, the last one at 2026-03-02 12:00: it took them and "
        "said that it sent 0."
    )


def test_admins_in_the_wrong_form(configure_logging: Configure, settings: Settings) -> None:
    settings.ADMINS = "ada@example.com"
    configure_logging(logging_of(mail=MAIL))

    number, text, hint = only()
    assert number == "django_maillog.E008"
    assert "settings.ADMINS must be a list of addresses" in text
    assert 'ADMINS = ["ada@example.com"]' in hint


@has_mailers
def test_an_unknown_mailer(configure_logging: Configure, settings: Settings) -> None:
    settings.MAILERS = {"default": {"BACKEND": SMTP, "OPTIONS": {"host": "relay", "timeout": 5}}}
    configure_logging(logging_of(mail={"class": "django_maillog.handlers.SMTPHandler", "using": "other"}))

    number, text, hint = only()
    assert number == "django_maillog.E002"
    assert "'other'" in text
    assert hint == 'Set MAILERS["other"].'


@has_mailers
def test_a_mailer_without_a_timeout(configure_logging: Configure, settings: Settings) -> None:
    settings.MAILERS = {"default": {"BACKEND": SMTP, "OPTIONS": {"host": "relay"}}}
    configure_logging(logging_of(mail={"class": "django_maillog.handlers.SMTPHandler"}))

    assert only() == (
        "django_maillog.W002",
        "The handler 'mail' has a mailer without a time-out: a hanging server holds up requests.",
        "Give the handler timeout=10, or the mailer a time-out:"
        ' MAILERS["default"]["OPTIONS"]["timeout"] = 10.',
    )


@before_mailers
def test_a_backend_without_a_timeout(configure_logging: Configure, settings: Settings) -> None:
    settings.EMAIL_BACKEND = SMTP
    settings.EMAIL_TIMEOUT = None
    configure_logging(logging_of(mail={"class": "django_maillog.handlers.SMTPHandler"}))

    number, _text, hint = only()
    assert (number, hint) == (
        "django_maillog.W002",
        "Give the handler timeout=10, or the mailer a time-out: EMAIL_TIMEOUT = 10.",
    )


def test_a_timeout_of_the_handler_is_enough(configure_logging: Configure, settings: Settings) -> None:
    if compat.HAS_MAILERS:
        settings.MAILERS = {"default": {"BACKEND": SMTP, "OPTIONS": {"host": "relay"}}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_TIMEOUT = SMTP, None
    configure_logging(logging_of(mail={"class": "django_maillog.handlers.SMTPHandler", "timeout": 3}))

    assert ids() == []


@before_mailers
def test_an_unknown_backend(configure_logging: Configure) -> None:
    mail = {"class": "django_maillog.handlers.SMTPHandler", "email_backend": "no.such.Backend"}
    configure_logging(logging_of(mail=mail))

    number, text, _hint = only()
    assert number == "django_maillog.E003"
    assert "email_backend='no.such.Backend'" in text


def test_a_target_that_only_an_earlier_configuration_has(configure_logging: Configure) -> None:
    configure_logging(logging_of(mail=MAIL, errors=BUFFER))
    earlier = logging.getLogger("shop").handlers[:]
    configure_logging(logging_of(mail=MAIL, errors=BUFFER))
    assert ids() == []

    # Nobody is mailed less for it, so that it is a warning.
    configure_logging(logging_of(errors=BUFFER))

    number, text, hint = only()
    assert number == "django_maillog.W018"
    assert text == (
        "The handler 'errors' mails as 'mail' of an earlier logging configuration says; "
        "the present one has no such handler."
    )
    assert hint == 'Configure "mail" together with "errors".'
    assert len(earlier) == 2


@pytest.mark.parametrize(
    ("target", "what"),
    [("nowhere", "there is no handler of that name"), ("console", "a logging.StreamHandler")],
)
def test_a_wrong_target(target: str, what: str, configure_logging: Configure) -> None:
    console = {"class": "logging.StreamHandler"}
    configure_logging(logging_of(console=console, errors={**BUFFER, "target": target}))

    number, text, hint = only()
    assert number == "django_maillog.E004"
    assert f"target={target!r}" in text
    assert what in text
    assert '"django_maillog.handlers.SMTPHandler"' in hint


@pytest.mark.parametrize("path", ["no.such.function", "django_maillog.checks.live.PACKAGE"])
def test_a_fingerprint_that_is_no_function(path: str, configure_logging: Configure) -> None:
    configure_logging(logging_of(mail=MAIL, errors={**BUFFER, "fingerprint": path}))

    number, text, _hint = only()
    assert number == "django_maillog.E009"
    assert f"fingerprint={path!r}" in text


def test_a_reporter_that_can_not_be_imported(configure_logging: Configure) -> None:
    configure_logging(logging_of(mail={**MAIL, "reporter_class": "no.such.Reporter"}))

    number, text, _hint = only()
    assert number == "django_maillog.E010"
    assert "reporter_class must be the dotted path of an ExceptionReporter, not 'no.such.Reporter'" in text


@pytest.mark.parametrize(
    ("attribute", "value"), [("flushLevel", "LOUD"), ("capacity", 0), ("group_wait", -1), ("burst", "few")]
)
def test_a_wrong_attribute(attribute: str, value: Any, configure_logging: Configure) -> None:
    configure_logging(logging_of(mail=MAIL, errors={**BUFFER, ".": {attribute: value}}))

    number, text, hint = only()
    assert number == "django_maillog.E005"
    assert text.startswith(f"The handler 'errors' has a wrong attribute: {attribute} must be")
    assert hint == 'Correct LOGGING["handlers"]["errors"].'


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_spool_folder_that_others_can_read(configure_logging: Configure, spool_dir: Path) -> None:
    spool_dir.mkdir()
    spool_dir.chmod(0o755)
    spool_folder().mkdir()
    spool_folder().chmod(0o755)
    configure_logging(logging_of(mail=MAIL, errors=BUFFER))

    number, text, hint = only()
    assert number == "django_maillog.W020"
    assert f"{spool_folder()} is open to other users (mode 0755)" in text
    assert hint == (
        "Set MAILLOG_SPOOL_DIR to a folder of this user's own, with mode 0700, "
        "or let several users share it with MAILLOG_SPOOL_GROUP."
    )


def test_a_spool_folder_that_is_not_there_yet_is_not_made(
    configure_logging: Configure, spool_dir: Path
) -> None:
    configure_logging(logging_of(mail=MAIL, errors=BUFFER))

    assert ids() == []
    assert not spool_dir.exists()


def test_no_place_for_a_spool_folder_at_all(
    configure_logging: Configure, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_args: object, **_named: object) -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("django_maillog.conf.testing", lambda: False)
    monkeypatch.setattr("django_maillog.spool.places.is_writable", lambda _folder: False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    settings.MAILLOG_SPOOL_DIR = None
    configure_logging(logging_of(mail=MAIL, errors=BUFFER))

    number, text, _hint = only()
    assert number == "django_maillog.W020"
    assert "No usable temporary directory found" in text


def test_a_spool_folder_that_can_not_be_made(
    configure_logging: Configure, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings.MAILLOG_SPOOL_DIR = str(tmp_path / "file" / "spool")
    configure_logging(logging_of(mail=MAIL, errors=BUFFER))

    assert ids() == ["django_maillog.W020"]


def test_a_spool_folder_is_no_concern_without_a_buffer(
    configure_logging: Configure, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings.MAILLOG_SPOOL_DIR = str(tmp_path / "file" / "spool")
    configure_logging(logging_of(mail=MAIL))

    assert ids() == []


@pytest.mark.usefixtures("attached")
def test_a_mistyped_setting(settings: Settings) -> None:
    settings.MAILLOG_WORKER = "threads"

    number, text, hint = only()
    assert number == "django_maillog.E007"
    assert "MAILLOG_WORKER must be one of" in text
    assert hint == "The default is 'thread'."


@pytest.mark.usefixtures("attached")
@pytest.mark.skipif(django.VERSION >= (6, 0), reason="Django has tasks of its own")
def test_delivery_by_tasks_where_nothing_runs_tasks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "celery", None)  # as if it weren't installed
    settings.MAILLOG_DELIVERY = "task"

    number, text, hint = only()
    assert number == "django_maillog.E011"
    assert text == 'MAILLOG_DELIVERY is "task", and nothing here runs tasks.'
    assert 'MAILLOG_DELIVERY = "worker"' in hint


@pytest.mark.usefixtures("attached")
@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has tasks since 6.0")
@pytest.mark.parametrize(("backend", "expected"), [("dummy.Dummy", True), ("immediate.Immediate", False)])
def test_delivery_by_tasks_that_nobody_runs(settings: Settings, backend: str, expected: bool) -> None:
    settings.MAILLOG_DELIVERY = "task"
    settings.TASKS = {"default": {"BACKEND": f"django.tasks.backends.{backend}Backend"}}

    assert ids() == (["django_maillog.W010"] if expected else [])


@pytest.mark.usefixtures("attached")
def test_an_unknown_setting(settings: Settings) -> None:
    settings.MAILLOG_WORKERS = "thread"

    number, text, hint = only()
    assert (number, text) == ("django_maillog.W003", "Unknown setting MAILLOG_WORKERS.")
    assert "MAILLOG_WORKER," in hint


def test_a_development_backend_is_found_at_deployment(configure_logging: Configure) -> None:
    configure_logging(logging_of(mail={"class": "django_maillog.handlers.SMTPHandler"}))

    assert ids() == []
    number, text, hint = only(deploy=True)
    assert number == "django_maillog.W004"
    assert "'mail' sends through a development backend (django.core.mail.backends.locmem)" in text
    assert '"django.core.mail.backends.smtp.EmailBackend"' in hint


def test_a_mailer_that_can_not_be_made_is_no_development_backend(
    configure_logging: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unusable(self: SMTPHandler) -> None:
        raise LookupError("no such mailer")

    monkeypatch.setattr(SMTPHandler, "get_connection", unusable)
    configure_logging(logging_of(mail=MAIL))

    number, text, hint = only(deploy=True)
    assert (number, hint) == ("django_maillog.E002", "Change mailhost.")
    assert text == "The handler 'mail' has no usable mailer: no such mailer"


def test_handlers_are_found_wherever_they_are() -> None:
    by_hand, in_memory, listening, behind = SMTPHandler(), SMTPHandler(), BufferingHandler(), SMTPHandler()
    waiting = logging.handlers.QueueHandler(queue.Queue())
    vars(waiting)["listener"] = logging.handlers.QueueListener(queue.Queue(), listening)  # Python 3.12
    plain = logging.handlers.MemoryHandler(1, target=in_memory)
    ours = MemoryHandler(1, target=behind)
    logger = logging.getLogger("shop.everywhere")
    for handler in (by_hand, plain, waiting, ours):
        logger.addHandler(handler)

    handlers = [item.handler for item in checks.live_handlers() if item.name == type(item.handler).__name__]
    logger.handlers.clear()

    assert {id(handler) for handler in (by_hand, in_memory, listening, ours, behind)} == set(
        map(id, handlers)
    )


def test_the_app_is_missing(tmp_path: Path) -> None:
    code = (
        "import django\n"
        "from django.conf import settings\n"
        "from django.core.checks import run_checks\n"
        "settings.configure(LOGGING={'version': 1, 'handlers': {'errors': {'class':"
        " 'django_maillog.handlers.BufferingHandler'}}, 'root': {'handlers': ['errors']}})\n"
        "django.setup()\n"
        "for message in run_checks(): print(message.id, message.hint)\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    hint = 'Add "django_maillog" to INSTALLED_APPS and run "manage.py migrate".'
    assert done.stdout == f"django_maillog.E001 {hint}\n"


def test_manage_check_reads_the_logging_that_is_in_force(empty_site: Site) -> None:
    empty_site.configure_logging(logging_of(mail=MAIL, errors={**BUFFER, "target": "nowhere"}))

    done = empty_site.manage("check", check=False)

    assert done.returncode == 1
    assert "django_maillog.E004" in done.stderr
    assert "target='nowhere'" in done.stderr


def test_every_id_belongs_to_one_message() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "django_maillog").rglob("*.py"))

    written = re.findall(r'(?:id="django_maillog\.|, ")([EW]\d{3})"', sources)

    assert len(written) == len(set(written)) >= 15


def test_nothing_of_ours_on_any_logger() -> None:
    number, text, hint = only()

    assert number == "django_maillog.W041"
    assert "nothing is collected" in text
    assert '"root": {"handlers": ["mail"]}' in hint


def test_a_handler_that_no_logger_names(configure_logging: Configure) -> None:
    configure_logging({"version": 1, "disable_existing_loggers": False, "handlers": {"mail": MAIL}})

    assert ids() == ["django_maillog.W041"]


def test_a_handler_behind_another_is_attached(configure_logging: Configure) -> None:
    behind = {"class": "logging.handlers.MemoryHandler", "capacity": 9, "target": "mail"}
    logging_ = logging_of(mail=MAIL, memory=behind)
    logging_["loggers"] = {"shop": {"handlers": ["memory"]}}
    configure_logging(logging_)

    assert ids() == []


DJANGOS = {"class": "django.utils.log.AdminEmailHandler"}


@pytest.mark.parametrize(
    ("ours", "djangos", "propagate", "expected"),
    [
        ("django.request", "django", True, True),
        ("", "django", True, True),
        ("django", "django", True, True),
        ("django", "django.request", True, True),
        ("django.request", "django", False, False),
        ("shop", "django", True, False),
    ],
)
def test_djangos_own_handler_beside_ours(
    configure_logging: Configure, ours: str, djangos: str, propagate: bool, expected: bool
) -> None:
    loggers: dict[str, Any] = {ours: {"handlers": ["mail"], "propagate": propagate}}
    loggers.setdefault(djangos, {"handlers": []})["handlers"] = [
        *loggers.get(djangos, {}).get("handlers", [])
    ]
    loggers[djangos]["handlers"].append("djangos")
    configure_logging(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"mail": MAIL, "djangos": DJANGOS},
            "loggers": loggers,
        }
    )

    messages = found()

    assert [message.id for message in messages] == (["django_maillog.W040"] if expected else [])
    assert all(f'"{djangos}": {{"level": "INFO"}}' in str(message.hint) for message in messages)


def test_the_hint_takes_djangos_handler_off(site: Site) -> None:
    handlers = {"mail": {"class": "django_maillog.handlers.BufferingHandler", "level": "ERROR"}}
    config = {"version": 1, "disable_existing_loggers": False, "handlers": handlers}
    site.configure_logging(config | {"loggers": {"django.request": {"handlers": ["mail"]}}})
    before = site.manage("check").stderr
    site.configure_logging(
        config | {"loggers": {"django.request": {"handlers": ["mail"]}, "django": {"level": "INFO"}}}
    )
    after = site.manage("check").stderr

    assert "django_maillog.W040" in before
    assert "django_maillog.W040" not in after


class Split:
    """A router that has overlooked the hosts."""

    def db_for_write(self, model: type, **hints: object) -> str:
        return "default" if model.__name__ == "Host" else "maillog"


class Unmigrated:
    """A router that forgets that the tables have to be made somewhere."""

    def db_for_write(self, model: type, **hints: object) -> str:
        return "maillog"

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return db == "default"


def test_tables_that_routers_have_in_several_databases(
    settings: Settings, configure_logging: Configure
) -> None:
    configure_logging(logging_of(mail=MAIL, buffer=BUFFER))
    settings.DATABASE_ROUTERS = [f"{__name__}.Split"]

    assert only() == (
        "django_maillog.E012",
        "DATABASE_ROUTERS have the tables of django_maillog in several databases: default, maillog.",
        'Let db_for_write() answer the same for each model of the app "django_maillog".',
    )


def test_tables_that_no_migration_makes_where_routers_have_them(
    settings: Settings, configure_logging: Configure
) -> None:
    configure_logging(logging_of(mail=MAIL, buffer=BUFFER))
    settings.DATABASE_ROUTERS = [f"{__name__}.Unmigrated"]

    assert only() == (
        "django_maillog.W035",
        "DATABASE_ROUTERS have django_maillog write to 'maillog', where migrate makes no tables.",
        'Let allow_migrate() allow the app "django_maillog", then: manage.py migrate --database=maillog',
    )


@pytest.mark.parametrize("router", ["Apart", "ReadElsewhere"])
def test_routers_that_have_all_tables_in_one_database(
    settings: Settings, configure_logging: Configure, router: str
) -> None:
    configure_logging(logging_of(mail=MAIL, buffer=BUFFER))
    settings.DATABASE_ROUTERS = [f"tests.routers.{router}"]

    assert ids() == []
