"""MemoryHandler: the standard library's, and one digest for a target that can take one."""

from __future__ import annotations

import logging
import logging.handlers
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.core.signals import request_finished, request_started

from django_maillog.capture import context
from django_maillog.handlers import MemoryHandler, SMTPHandler

pytestmark = pytest.mark.usefixtures("request_signals")

Configure = Callable[[dict[str, Any]], None]


class Raising(MemoryHandler):
    """Keeps what would go to handleError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.errors: list[BaseException | None] = []

    def handleError(self, record: logging.LogRecord) -> None:
        self.errors.append(sys.exception())


class Listing(logging.Handler):
    """A target that takes records one by one, and fails for those that say so."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage())
        if record.getMessage() == "fail":
            raise OSError("no room")


class FailingTarget(SMTPHandler):
    """A target whose mail server is away."""

    tries = 0

    def send_digest(self, report: Any) -> None:
        self.tries += 1
        raise ConnectionRefusedError("away")


def record(message: str = "hello", level: int = logging.INFO, **attributes: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": "shop",
            "msg": message,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            **attributes,
        }
    )


def test_a_digest_is_one_mail_for_the_whole_buffer() -> None:
    handler = MemoryHandler(10, target=SMTPHandler(toaddrs="you@example.com"))

    for number in range(3):
        handler.handle(record(f"step {number} of the import"))
    handler.handle(record("import failed: no disk", logging.CRITICAL))

    assert [message.to for message in mail.outbox] == [["you@example.com"]]
    message = mail.outbox[0]
    assert message.subject.startswith("[Django] CRITICAL ")
    assert "import failed: no disk" in message.subject
    assert "step 1 of the import" in message.body
    assert message.extra_headers["X-Maillog-Count"] == "4"
    assert message.extra_headers["X-Maillog-Reason"] == "level"
    assert handler.buffer == []


def test_a_long_subject_keeps_its_counts() -> None:
    handler = MemoryHandler(2, "CRITICAL")

    handler.handle(record("no stock of " + "x" * 200, logging.ERROR))
    handler.handle(record("no disk", logging.WARNING))

    assert len(mail.outbox[0].subject) <= 120
    assert mail.outbox[0].subject.endswith("(+1 more)")


def test_a_digest_for_nobody_is_not_sent() -> None:
    handler = Raising(1, target=SMTPHandler(toaddrs=[]))

    handler.handle(record())

    assert (mail.outbox, handler.errors) == ([], [])


def test_a_full_buffer_is_flushed() -> None:
    handler = MemoryHandler(2)

    handler.handle(record())
    assert mail.outbox == []
    handler.handle(record())

    assert len(mail.outbox) == 1
    assert mail.outbox[0].extra_headers["X-Maillog-Reason"] == "capacity"


def test_the_subject_of_ones_own_stands_first() -> None:
    handler = MemoryHandler(1, target=SMTPHandler(subject="Import"))

    handler.handle(record("no disk", logging.ERROR))

    assert mail.outbox[0].subject == "Import: ERROR no disk"


def test_an_overridden_getsubject_makes_the_subject() -> None:
    class Target(SMTPHandler):
        def getSubject(self, record: logging.LogRecord) -> str:
            return f"{record.levelname} in {record.name}: {record.getMessage()}"

    handler = MemoryHandler(2, target=Target(subject=""))

    handler.handle(record("mild", logging.WARNING))
    handler.handle(record("no disk", logging.ERROR))

    assert mail.outbox[0].subject == "ERROR in shop: no disk"


class OfTenant(SMTPHandler):
    """Makes its subject of what a filter or the project's record factory has put on the record."""

    def getSubject(self, record: logging.LogRecord) -> str:
        return f"{record.tenant}: {record.getMessage()}"  # type: ignore[attr-defined]


def test_an_overridden_getsubject_sees_what_was_added_to_the_record() -> None:
    handler = Raising(1, target=OfTenant(subject=""))

    handler.handle(record("no disk", logging.ERROR, tenant="acme"))

    assert handler.errors == []
    assert mail.outbox[0].subject == "acme: no disk"


def test_an_overridden_getsubject_that_fails_costs_no_mail(caplog: pytest.LogCaptureFixture) -> None:
    handler = Raising(1, target=OfTenant())

    for _ in range(2):
        handler.handle(record("no disk", logging.ERROR))

    assert handler.errors == []
    why = "AttributeError: 'LogRecord' object has no attribute 'tenant'"
    for sent in mail.outbox:
        assert sent.subject == "[Django] ERROR no disk"
        assert f"The project's getSubject() failed ({why}); this mail's subject is" in sent.body
    assert len(mail.outbox) == 2
    assert [each.getMessage() for each in caplog.records if each.name == "django_maillog"] == [
        f"getSubject failed for a digest: handler=None error={why}"
    ]


def test_an_overridden_getsubject_is_asked_for_what_the_mail_shows_first() -> None:
    class Target(SMTPHandler):
        def getSubject(self, record: logging.LogRecord) -> str:
            return f"{record.levelname} in {record.name}"

    handler = MemoryHandler(2, "CRITICAL", target=Target(subject=""))

    handler.handle(record("no disk", logging.WARNING))
    handler.handle(record("Invalid HTTP_HOST", logging.ERROR, name="django.security.DisallowedHost"))

    assert mail.outbox[0].subject == "WARNING in shop"


def test_an_html_report_is_attached_where_the_target_wants_it() -> None:
    handler = MemoryHandler(1, target=SMTPHandler(include_html=True))
    try:
        1 // 0  # noqa: B018
    except ZeroDivisionError:
        handler.handle(record("failed", logging.ERROR, exc_info=sys.exc_info()))

    names = [attachment[0] for attachment in mail.outbox[0].attachments]
    assert any(str(name).endswith(".html") for name in names)


def test_the_targets_filters_apply_and_its_level_does_not() -> None:
    target = SMTPHandler()
    target.setLevel(logging.CRITICAL)
    target.addFilter(lambda record: record.getMessage() != "secret")
    handler = MemoryHandler(3, target=target)

    for message in ("first", "secret", "third"):
        handler.handle(record(message))

    assert mail.outbox[0].extra_headers["X-Maillog-Count"] == "2"
    assert "secret" not in mail.outbox[0].body


def test_nothing_is_mailed_where_the_target_lets_nothing_pass() -> None:
    target = SMTPHandler()
    target.addFilter(lambda record: False)
    handler = MemoryHandler(1, target=target)

    handler.handle(record())

    assert mail.outbox == []


def test_another_target_gets_record_by_record() -> None:
    target = Listing()
    handler = MemoryHandler(10, "WARNING", target)

    handler.handle(record("first"))
    handler.handle(record("second", logging.WARNING))

    assert target.seen == ["first", "second"]


def test_a_target_that_fails_for_one_record_gets_the_others_once() -> None:
    target = Listing()
    handler = Raising(3, target=target)

    for message in ("first", "fail", "third"):
        handler.handle(record(message))
    handler.flush()

    assert target.seen == ["first", "fail", "third"]
    assert [str(error) for error in handler.errors] == ["no room"]


def test_a_target_that_can_not_send_is_asked_once_a_buffer() -> None:
    target = FailingTarget()
    handler = Raising(2, target=target)

    for _ in range(5):
        handler.handle(record())

    assert (target.tries, len(handler.errors), len(handler.buffer)) == (2, 2, 1)
    handler.buffer.clear()  # else the next dictConfig tries to mail it


def test_settarget_replaces_the_target() -> None:
    target = Listing()
    handler = MemoryHandler(1)

    handler.setTarget(target)
    handler.handle(record())

    assert target.seen == ["hello"]
    assert mail.outbox == []


def test_close_flushes_and_lets_go_of_the_target() -> None:
    target = Listing()
    handler = MemoryHandler(10, target=target)
    handler.handle(record())

    handler.close()

    assert target.seen == ["hello"]
    assert handler.target is None


def test_close_keeps_what_is_not_to_be_flushed() -> None:
    target = Listing()
    handler = MemoryHandler(10, target=target, flushOnClose=False)
    handler.handle(record())

    handler.close()

    assert target.seen == []


def test_a_closed_handler_does_not_grow() -> None:
    handler = MemoryHandler(3)
    handler.close()

    for number in range(10):
        handler.handle(record(str(number)))

    assert [kept.getMessage() for kept in handler.buffer] == ["7", "8", "9"]


def test_an_empty_buffer_sends_nothing() -> None:
    handler = MemoryHandler(3)

    handler.flush()
    handler.close()

    assert mail.outbox == []


def test_shouldflush_is_overridable() -> None:
    class Handler(MemoryHandler):
        def shouldFlush(self, record: logging.LogRecord) -> bool:
            return record.getMessage() == "now"

    handler = Handler(1)

    handler.handle(record("later", logging.CRITICAL))
    assert mail.outbox == []
    handler.handle(record("now"))

    assert len(mail.outbox) == 1


def test_an_error_in_shouldflush_is_not_raised() -> None:
    class Handler(Raising):
        def shouldFlush(self, record: logging.LogRecord) -> bool:
            raise LookupError("what?")

    handler = Handler(1)

    handler.handle(record())

    assert [str(error) for error in handler.errors] == ["what?"]
    handler.buffer.clear()  # else the next dictConfig mails it


def test_our_own_records_are_not_kept() -> None:
    handler = MemoryHandler(1)

    handler.handle(record(name="django_maillog.worker"))
    handler.emit(record(name="django_maillog"))

    assert (handler.buffer, mail.outbox) == ([], [])


@pytest.mark.parametrize("key", ["class", "()"])
@pytest.mark.parametrize("target", ["a_mail", "z_mail"])
def test_dictconfig_finds_the_target_by_name(key: str, target: str, configure_logging: Configure) -> None:
    configure_logging(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "memory": {key: "django_maillog.handlers.MemoryHandler", "capacity": 2, "target": target},
                target: {"class": "django_maillog.handlers.SMTPHandler", "toaddrs": "you@example.com"},
            },
            "loggers": {"shop": {"handlers": ["memory"]}},
        }
    )

    logging.getLogger("shop").error("failed")

    assert [message.to for message in mail.outbox] == [["you@example.com"]]


def test_an_unknown_target_goes_to_handle_error() -> None:
    handler = Raising(1, target="nowhere")

    handler.handle(record())

    assert "target='nowhere' must name" in str(handler.errors[0])


@pytest.mark.parametrize("flush_on_close", [True, False])
def test_an_exit_mails_only_what_is_to_be_flushed(flush_on_close: bool) -> None:
    code = f"""
import logging, logging.handlers
from django_maillog.handlers import MemoryHandler
handler = MemoryHandler(10, target=logging.StreamHandler(), flushOnClose={flush_on_close})
logging.getLogger().addHandler(handler)
logging.getLogger().warning("at the end")
"""
    environment = {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": "."}

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stderr == ("at the end\n" if flush_on_close else "")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"capacity": -1}, "capacity must be a whole number, at least 0, not -1"),
        ({"capacity": "10"}, "capacity must be a whole number, at least 0, not '10'"),
        ({"capacity": True}, "capacity must be"),
        (
            {"flushLevel": "LOUD"},
            r"flushLevel must be a level's number or its name \(CRITICAL, .*\), not 'LOUD'",
        ),
        ({"flushLevel": None}, "flushLevel must be"),
        ({"target": 5}, "target must be a handler or the name of one, not 5"),
        ({"flushOnClose": "no"}, "flushOnClose must be True or False, not 'no'"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        MemoryHandler(**{"capacity": 10, **arguments})


def test_it_is_a_subclass_of_its_namesake() -> None:
    assert issubclass(MemoryHandler, logging.handlers.MemoryHandler)


# One buffer a request

EACH: dict[str, Any] = {"per_request": True, "flushLevel": "ERROR"}


def test_a_request_that_ends_with_an_error_is_one_digest_of_everything() -> None:
    handler = MemoryHandler(100, **EACH)

    request_started.send(None)
    handler.handle(record("price of hat is 7", logging.DEBUG))
    handler.handle(record("no stock", logging.ERROR))
    handler.handle(record("no hat", logging.ERROR))
    handler.handle(record("said sorry", logging.INFO))
    assert mail.outbox == []
    request_finished.send(None)

    [message] = mail.outbox
    assert message.extra_headers["X-Maillog-Count"] == "3"
    assert "Before it, in this request:" in message.body
    assert "DEBUG shop: price of hat is 7" in message.body
    assert "said sorry" in message.body
    assert handler.buffer == []


def test_a_request_without_an_error_is_forgotten() -> None:
    handler = MemoryHandler(2, **EACH)

    request_started.send(None)
    for number in range(10):
        handler.handle(record(str(number), logging.WARNING))
    request_finished.send(None)
    handler.flush()

    assert mail.outbox == []


def test_a_full_buffer_of_a_request_goes_with_its_error_and_keeps_the_latest_without() -> None:
    target = Listing()
    handler = MemoryHandler(2, target=target, **EACH)

    request_started.send(None)
    for number in range(5):
        handler.handle(record(str(number), logging.WARNING))
    handler.handle(record("no hat", logging.ERROR))
    for number in range(5):
        handler.handle(record(f"after {number}", logging.WARNING))
    request_finished.send(None)

    assert target.seen == ["3", "4", "no hat"]


def test_what_another_thread_adds_at_a_requests_end_does_not_cost_its_mail() -> None:
    handler = Raising(100, **EACH)

    class Adding(logging.Filter):
        """As a thread of the same request does that has looked up where to keep its record."""

        def filter(self, _record: logging.LogRecord) -> bool:
            queue.append(record("late"))
            return True

    handler.target.addFilter(Adding())
    request_started.send(None)
    handler.handle(record("no stock", logging.ERROR))
    queue = context.current().kept[handler._kept_key].records
    request_finished.send(None)

    assert handler.errors == []
    assert [message.subject for message in mail.outbox] == ["[Django] ERROR no stock"]


def test_requests_do_not_mix() -> None:
    target = Listing()
    handler = MemoryHandler(100, target=target, **EACH)
    everybody = threading.Barrier(8)

    def serve(number: int) -> None:
        request_started.send(None)
        for step in range(3):
            handler.handle(record(f"{number} {step}", logging.INFO))
            everybody.wait(30)
        if number % 2:
            handler.handle(record(f"{number} failed", logging.ERROR))
        everybody.wait(30)
        with lock:
            request_finished.send(None)

    lock = threading.Lock()
    threads = [threading.Thread(target=serve, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    served = [target.seen[place : place + 4] for place in range(0, len(target.seen), 4)]
    assert sorted(served) == [[f"{number} {step}" for step in (0, 1, 2, "failed")] for number in (1, 3, 5, 7)]


def test_outside_of_requests_the_process_has_one_buffer() -> None:
    target = Listing()
    handler = MemoryHandler(100, target=target, **EACH)

    handler.handle(record("by a command", logging.INFO))
    handler.handle(record("failed", logging.ERROR))

    assert target.seen == ["by a command", "failed"]


def test_a_target_that_fails_does_not_break_the_end_of_a_request() -> None:
    handler = Raising(10, target=FailingTarget(), **EACH)

    request_started.send(None)
    handler.handle(record("failed", logging.ERROR))
    request_finished.send(None)

    assert [str(error) for error in handler.errors] == ["away"]


def test_a_request_that_never_ends_is_told_when_the_next_begins() -> None:
    target = Listing()
    handler = MemoryHandler(10, target=target, **EACH)

    request_started.send(None)
    handler.handle(record("killed", logging.ERROR))
    request_started.send(None)
    assert target.seen == ["killed"]
    request_finished.send(None)


def test_a_closed_handler_sends_nothing_more() -> None:
    target = Listing()
    handler = MemoryHandler(10, target=target, **EACH)

    request_started.send(None)
    handler.handle(record("failed", logging.ERROR))
    handler.close()
    request_finished.send(None)

    assert target.seen == []
