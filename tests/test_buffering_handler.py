"""BufferingHandler: the stdlib's override points, on a spool; made in every way that LOGGING knows."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import logging.handlers
import queue
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from django_maillog import buffers
from django_maillog.capture.fingerprint import Key
from django_maillog.capture.fingerprint import fingerprint as fingerprint_of
from django_maillog.handlers import BufferingHandler, MemoryHandler, SMTPHandler, lifecycle
from django_maillog.spool.journal import journal
from tests.sites import ROOT, Site
from tests.smtp import SMTPServer

if TYPE_CHECKING:
    from pytest_django import DjangoAssertNumQueries
    from pytest_django.fixtures import Settings

Configure = Callable[[dict[str, Any]], None]
MAIL = {"class": "django_maillog.handlers.SMTPHandler", "toaddrs": "you@example.com"}
BUFFER = {"class": "django_maillog.handlers.BufferingHandler", "target": "mail"}


class Flushing(BufferingHandler):
    """Flushes as its own rules say, and notes what was called."""

    calls: list[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls = []

    def shouldFlush(self, record: logging.LogRecord) -> bool:
        return record.getMessage() == "now"

    def flush(self) -> None:
        self.calls.append("flush")
        super().flush()


class Raising(BufferingHandler):
    """Shows what would go to handleError."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # noqa: PLE0704  # logging calls it while the error is handled


def record(message: str = "hello", level: int = logging.ERROR, **attributes: Any) -> logging.LogRecord:
    name = logging.getLevelName(level)
    return logging.makeLogRecord(
        {"name": "shop", "msg": message, "levelno": level, "levelname": name, **attributes}
    )


def failure(**attributes: Any) -> logging.LogRecord:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        return record("it failed", exc_info=sys.exc_info(), **attributes)
    raise AssertionError


def fail_with(users: Any) -> None:
    raise ZeroDivisionError


def by_length(record: logging.LogRecord) -> Key:
    length = str(len(record.getMessage()))
    return Key(length, length)


def nonsense(record: logging.LogRecord) -> Any:
    return "x" * 1000


def failing(record: logging.LogRecord) -> Any:
    raise LookupError("what?")


def dict_config(**handlers: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": handlers,
        "loggers": {"shop": {"handlers": [name for name in handlers if name != "mail"], "level": "ERROR"}},
    }


def spooled(folder: Path) -> list[dict[str, Any]]:
    """The records in the spool, in order."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    return [value for line in lines if "fingerprint" in (value := json.loads(line))]


@pytest.fixture(autouse=True)
def a_segment_of_its_own(spool_dir: Path) -> Iterator[None]:
    """The process's end has nothing to do with these tests' records."""
    journal.rotate()
    yield
    journal.rotate()
    lifecycle.process.unreported.clear()


@pytest.fixture
def inline(settings: Settings, db: None, spool_dir: Path) -> Path:
    """Each logging call imports; the database tells what it did."""
    settings.MAILLOG_WORKER = "inline"
    return spool_dir


def test_a_record_is_in_the_spool_when_the_call_returns(spool_dir: Path) -> None:
    handler = Raising()
    handler.set_name("errors")

    handler.handle(failure())

    value = spooled(spool_dir)[0]
    assert (value["message"], value["title"]) == (
        "it failed",
        "ZeroDivisionError: division by zero",
    )
    assert (value["buffer"], value["full"]) == ("errors", True)


def test_repeats_are_brief(spool_dir: Path) -> None:
    handler = Raising()

    for _ in range(3):
        handler.handle(failure())

    assert [value.get("full", False) for value in spooled(spool_dir)] == [True, False, False]


def test_a_minute_later_a_record_is_full_again(spool_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = Raising()
    handler.handle(failure())
    later = time.monotonic() + 60
    monkeypatch.setattr("django_maillog.handlers.sights.time.monotonic", lambda: later)

    handler.handle(failure())

    assert [value.get("full", False) for value in spooled(spool_dir)] == [True, True]


def test_what_is_remembered_of_fingerprints_is_bounded(
    spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_maillog.handlers.sights.SEEN_LIMIT", 5)
    handler = Raising(fingerprint=by_length)

    for length in range(1, 30):
        handler.handle(record("x" * length))

    assert len(handler._sights._seen) <= 5


def test_a_formatter_is_honoured(spool_dir: Path) -> None:
    handler = Raising()
    handler.setFormatter(logging.Formatter("%(name)s says %(message)s"))

    handler.handle(record())

    assert spooled(spool_dir)[0]["formatted"] == "shop says hello"


@pytest.mark.parametrize("fingerprint", [by_length, f"{__name__}.by_length"], ids=["function", "dotted path"])
def test_a_fingerprint_of_ones_own_is_used(fingerprint: Any, spool_dir: Path) -> None:
    handler = Raising(fingerprint=fingerprint)

    handler.handle(record("four"))

    assert (spooled(spool_dir)[0]["fingerprint"], spooled(spool_dir)[0]["cause"]) == ("4", "4")


@pytest.mark.parametrize("fingerprint", [nonsense, failing, lambda record: ("", ""), "no.where"])
def test_a_fingerprint_that_fails_is_replaced_by_ours(fingerprint: Any, spool_dir: Path) -> None:
    handler = Raising(fingerprint=fingerprint)

    handler.handle(record())

    assert spooled(spool_dir)[0]["fingerprint"] == fingerprint_of(record()).fingerprint


def test_our_own_records_are_not_kept(spool_dir: Path) -> None:
    handler = Raising()

    handler.handle(record(name="django_maillog.worker"))
    handler.handle(record(name="django_maillog"))
    with buffers.muted():
        handler.handle(record())

    assert spooled(spool_dir) == []


def test_filters_decide(spool_dir: Path) -> None:
    handler = Raising()
    handler.addFilter(lambda record: record.getMessage() != "secret")

    handler.handle(record("secret"))
    handler.handle(record("open"))

    assert [value["message"] for value in spooled(spool_dir)] == ["open"]


def test_an_error_goes_to_handle_error(
    spool_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explode(*args: object) -> None:
        raise LookupError("what?")

    monkeypatch.setattr("django_maillog.spool.journal.journal.append", explode)

    BufferingHandler().handle(record())

    assert "LookupError: what?" in capsys.readouterr().err


@pytest.mark.django_db
def test_an_html_report_runs_no_query_and_reads_nothing(
    spool_dir: Path, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    request = RequestFactory().post("/pay", {"card": "4111-1111"})
    request.user = SimpleLazyObject(User.objects.get)  # type: ignore[assignment]
    handler = Raising(target=SMTPHandler(include_html=True))

    with django_assert_num_queries(0):
        try:
            fail_with(User.objects.all())
        except ZeroDivisionError:
            handler.handle(record(exc_info=sys.exc_info(), request=request))

    html = spooled(spool_dir)[0]["html"]
    assert "QuerySet" in html
    assert "[not loaded]" in html
    assert "4111-1111" not in html
    assert "PASSWORD_HASHERS" not in html
    assert not hasattr(request, "_post")
    assert "cursor" not in vars(connection)


@pytest.mark.django_db
def test_an_html_report_shows_what_is_loaded_and_refuses_queries(spool_dir: Path) -> None:
    User.objects.create(username="ada")
    loaded = User.objects.all()
    len(loaded)
    request = RequestFactory().post("/pay", {"amount": "1234"})
    request.user = SimpleLazyObject(loaded.get)  # type: ignore[assignment]
    assert (request.user.username, request.POST["amount"]) == ("ada", "1234")
    vars(connection)["cursor"] = connection.cursor
    handler = Raising(target=SMTPHandler(include_html=True))

    try:
        fail_with([loaded, [User.objects.all()]])
    except ZeroDivisionError:
        handler.handle(record(exc_info=sys.exc_info(), request=request))

    html = spooled(spool_dir)[0]["html"]
    assert "No query runs while an error is being recorded." in html
    assert "1234" in html
    assert "User: ada" in html
    assert vars(connection).pop("cursor") == connection.cursor


def test_a_wrong_target_loses_no_record(spool_dir: Path) -> None:
    handler = Raising(target="nowhere")

    handler.handle(record())

    assert len(spooled(spool_dir)) == 1
    with pytest.raises(ImproperlyConfigured, match="target='nowhere' must name a django_maillog"):
        handler.target  # noqa: B018


def test_a_target_of_another_kind_is_refused_when_it_is_looked_up(configure_logging: Configure) -> None:
    configure_logging(
        dict_config(console={"class": "logging.StreamHandler"}, errors=BUFFER | {"target": "console"})
    )

    with pytest.raises(ImproperlyConfigured, match=r"but that is a logging\.StreamHandler"):
        buffers.configured()["errors"].target  # noqa: B018


def test_without_a_target_it_mails_the_admins() -> None:
    assert BufferingHandler().target.get_recipients() == ["ada@example.com", "alan@example.com"]


@pytest.mark.parametrize("name", ["a_mail", "z_mail"])
def test_a_target_that_no_logger_has_is_found_by_name(name: str, configure_logging: Configure) -> None:
    configure_logging(dict_config(mail=MAIL, errors={**BUFFER, "target": name}, **{name: MAIL}))
    config = dict_config(errors={**BUFFER, "target": name})
    config["handlers"][name] = MAIL
    config["loggers"]["shop"]["handlers"] = ["errors"]
    configure_logging(config)

    assert buffers.configured()["errors"].target.get_recipients() == ["you@example.com"]


@pytest.mark.usefixtures("configure_logging")
@pytest.mark.parametrize("of_errors", ["target=z_mail", "kwargs={'target': 'z_mail'}"])
def test_a_target_in_a_logging_file_is_used(of_errors: str) -> None:
    written = f"""
        [loggers]
        keys=root
        [logger_root]
        handlers=errors
        [handlers]
        keys=errors,z_mail
        [handler_errors]
        class=django_maillog.handlers.BufferingHandler
        level=ERROR
        {of_errors}
        [handler_z_mail]
        class=django_maillog.handlers.SMTPHandler
        kwargs={{'toaddrs': 'you@example.com'}}
        [formatters]
        keys=
        """
    logging.config.fileConfig(io.StringIO(textwrap.dedent(written)), disable_existing_loggers=False)

    handler = buffers.configured()["errors"]
    assert (handler.buffer, handler.target.get_recipients()) == ("errors", ["you@example.com"])


@pytest.mark.parametrize(
    "described",
    [
        BUFFER,
        {"()": "django_maillog.handlers.BufferingHandler", "target": "mail"},
        {"()": "ext://django_maillog.handlers.BufferingHandler", "target": "mail"},
        {**BUFFER, "level": "WARNING", "flushLevel": "ERROR", "capacity": 7},
        {**BUFFER, "fingerprint": f"ext://{__name__}.by_length"},
        {**BUFFER, ".": {"note": "an attribute"}},
        {"class": f"{__name__}.Flushing", "target": "mail"},
    ],
)
def test_every_shape_of_dictconfig_mails_what_is_logged(
    described: dict[str, Any], inline: Path, configure_logging: Configure
) -> None:
    configure_logging(dict_config(mail=MAIL, errors=described))

    logging.getLogger("shop").error("no stock")
    buffers.configured()["errors"].flush()

    assert [message.to for message in mail.outbox] == [["you@example.com"]]
    assert "no stock" in mail.outbox[0].subject


def test_levels_are_accepted_by_name(configure_logging: Configure) -> None:
    configure_logging(dict_config(mail=MAIL, errors={**BUFFER, "flushLevel": "WARNING"}))

    handler = buffers.configured()["errors"]
    assert isinstance(handler, BufferingHandler)
    assert (handler.flushLevel, handler.rules.flush_level) == (logging.WARNING, logging.WARNING)


def test_attributes_of_dictconfig_are_in_force(configure_logging: Configure) -> None:
    attributes = {"capacity": 5, "flushLevel": "ERROR", "group_wait": 7}
    configure_logging(dict_config(mail=MAIL, errors={**BUFFER, ".": attributes}))

    rules = buffers.configured()["errors"].rules
    assert (rules.capacity, rules.flush_level, rules.group_wait) == (5, logging.ERROR, 7)


def test_a_wrong_attribute_changes_nothing() -> None:
    handler = BufferingHandler(capacity=7)

    handler.capacity = 0

    assert handler.rules.capacity == 7


def test_it_works_when_added_by_hand(inline: Path) -> None:
    handler = Raising(target=SMTPHandler(toaddrs="you@example.com"))
    logger = logging.getLogger("shop.by_hand")
    logger.addHandler(handler)

    logger.error("no stock")
    handler.flush()
    logger.removeHandler(handler)

    assert handler.buffer == "maillog"
    assert [message.to for message in mail.outbox] == [["you@example.com"]]


def test_it_works_behind_a_queue_handler(inline: Path) -> None:
    waiting: queue.Queue[Any] = queue.Queue()
    handler = Raising()
    listener = logging.handlers.QueueListener(waiting, handler)
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logging.handlers.QueueHandler(waiting).handle(record("it failed", exc_info=sys.exc_info()))

    listener.handle(waiting.get())
    handler.flush()

    assert "Traceback (most recent call last)" in mail.outbox[0].body  # QueueHandler makes it text


def test_two_buffers_mail_to_their_own_targets(inline: Path, configure_logging: Configure) -> None:
    config = dict_config(
        mail=MAIL,
        other={**MAIL, "toaddrs": "other@example.com"},
        first=BUFFER,
        second={**BUFFER, "target": "other"},
    )
    config["loggers"]["shop"]["handlers"] = ["first", "second"]
    configure_logging(config)

    logging.getLogger("shop").error("no stock")
    for handler in buffers.configured().values():
        handler.flush()

    assert sorted(message.to[0] for message in mail.outbox) == ["other@example.com", "you@example.com"]


def test_a_second_dictconfig_does_not_end_it(inline: Path, configure_logging: Configure) -> None:
    configure_logging(dict_config(mail=MAIL, errors=BUFFER))
    old = buffers.configured()["errors"]
    configure_logging({"version": 1, "disable_existing_loggers": False})

    logging.getLogger("shop").error("after the second configuration")
    old.flush()

    assert "after the second configuration" in mail.outbox[0].subject


def test_a_second_dictconfig_mails_nothing(inline: Path, configure_logging: Configure) -> None:
    configure_logging(dict_config(mail=MAIL, errors={**BUFFER, "flushOnClose": True}))
    logging.getLogger("shop").error("no stock")

    configure_logging({"version": 1, "disable_existing_loggers": False})

    assert mail.outbox == []


def test_shouldflush_has_flush_called(inline: Path) -> None:
    handler = Flushing()

    handler.handle(record("later"))
    assert handler.calls == []
    handler.handle(record("now"))

    assert handler.calls == ["flush"]
    assert [message.extra_headers["X-Maillog-Count"] for message in mail.outbox] == ["2"]


def test_flush_mails_everything(inline: Path) -> None:
    handler = Raising()
    for number in range(3):
        handler.handle(record(f"case of type {chr(97 + number)}"))
    assert mail.outbox == []

    handler.flush()
    handler.flush()

    assert [message.extra_headers["X-Maillog-Count"] for message in mail.outbox] == ["3"]


def test_a_critical_record_is_mailed_at_once(inline: Path) -> None:
    Raising().handle(record("the house is on fire", logging.CRITICAL))

    assert "the house is on fire" in mail.outbox[0].subject


def test_close_mails_what_is_new_and_leaves_repeats(inline: Path) -> None:
    handler = Raising()
    handler.handle(record("new"))

    handler.close()
    handler.handle(record("new"))
    handler.close()

    assert [message.extra_headers["X-Maillog-Count"] for message in mail.outbox] == ["1"]


def test_close_mails_everything_where_it_is_told_to(inline: Path) -> None:
    handler = Raising(flushOnClose=True)
    handler.handle(record("new"))

    handler.close()
    handler.handle(record("new"))
    handler.close()

    assert [message.extra_headers["X-Maillog-Count"] for message in mail.outbox] == ["1", "1"]


def test_a_handler_that_saw_nothing_does_nothing_at_close(
    inline: Path, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        Raising().close()


@pytest.mark.parametrize("flush_on_close", [True, False])
def test_the_end_of_a_process_mails_news_and_repeats_only_if_told_to(
    site: Site, smtp: SMTPServer, flush_on_close: bool
) -> None:
    site.configure_logging(dict_config(mail=MAIL, errors={**BUFFER, "flushOnClose": flush_on_close}))
    code = "import logging; logging.getLogger('shop').error('no stock')"

    site.run(code)
    site.run(code)

    counts = [message["X-Maillog-Count"] for message in smtp.messages]
    assert counts == (["1", "1"] if flush_on_close else ["1"])


def test_records_from_before_the_second_dictconfig_are_mailed_at_exit(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(dict_config(mail=MAIL, errors=BUFFER))

    site.run(
        "import logging.config; logging.getLogger('shop').error('no stock');"
        "logging.config.dictConfig({'version': 1})"
    )

    assert len(smtp.messages) == 1


def test_what_is_logged_while_apps_load_arrives(site: Site, smtp: SMTPServer) -> None:
    site.configure_logging(dict_config(mail=MAIL, errors=BUFFER))
    code = (
        "import logging, logging.config, django\n"
        "from django.conf import settings\n"
        "logging.config.dictConfig(settings.LOGGING)\n"
        "logging.getLogger('shop').error('while apps load')\n"
        "django.setup()\n"
        "logging.getLogger('shop').error('afterwards')\n"
    )

    site.popen([sys.executable, "-c", code]).communicate(timeout=60)

    text = smtp.wait_for(1)[0].get_body().get_content()  # type: ignore[union-attr]
    assert "while apps load" in text
    assert "afterwards" in text


def test_without_the_app_records_are_kept_and_nothing_is_raised(tmp_path: Path) -> None:
    code = (
        "import sys, logging, django\n"
        "from django.conf import settings\n"
        "settings.configure(LOGGING={'version': 1, 'handlers': {'errors': {'class':"
        " 'django_maillog.handlers.BufferingHandler'}}, 'root': {'handlers': ['errors']}},"
        f" MAILLOG_SPOOL_DIR={str(tmp_path / 'spool')!r})\n"
        "django.setup()\n"
        "logging.error('kept')\n"
        "print('django_maillog.worker.thread' in sys.modules)\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert (done.stdout, done.stderr) == ("False\n", "")
    assert [value["message"] for value in spooled(tmp_path / "spool")] == ["kept"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"capacity": 0}, "capacity must be a whole number of at least 1, not 0"),
        ({"capacity": "many"}, "capacity must be .* not 'many'"),
        ({"flushLevel": "LOUD"}, r"flushLevel must be .* not 'LOUD'"),
        ({"flushLevel": True}, "flushLevel must be"),
        ({"flushOnClose": 1}, "flushOnClose must be True or False, not 1"),
        ({"group_wait": -1}, "group_wait must be a number of seconds, at least 0, not -1"),
        ({"group_interval": "5m"}, "group_interval must be .* not '5m'"),
        ({"repeat_interval": None}, "repeat_interval must be"),
        ({"resolve_timeout": True}, "resolve_timeout must be"),
        ({"burst": 0}, "burst must be a whole number of at least 1, not 0"),
        (
            {"target": logging.NullHandler()},
            "target must be a .*SMTPHandler or the name of one, not <NullHandler",
        ),
        ({"target": ""}, "target must be"),
        ({"fingerprint": 5}, "fingerprint must be a function or its dotted path, not 5"),
        ({"fingerprint": "nodots"}, "fingerprint must be a dotted path"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        BufferingHandler(**arguments)


def test_dictconfig_names_the_handler_with_the_wrong_argument(configure_logging: Configure) -> None:
    with pytest.raises(ValueError, match="Unable to configure handler 'errors'") as caught:
        configure_logging(dict_config(errors={**BUFFER, "group_wait": "soon"}))

    assert "group_wait must be a number of seconds, at least 0, not 'soon'" in str(caught.value.__cause__)


def test_settarget_replaces_the_target() -> None:
    handler, target = BufferingHandler(target="nowhere"), SMTPHandler()

    handler.setTarget(target)

    assert handler.target is target


def test_it_is_a_subclass_of_its_namesake_and_no_memory_handler() -> None:
    assert issubclass(BufferingHandler, logging.handlers.BufferingHandler)
    assert not issubclass(BufferingHandler, MemoryHandler)
