"""System checks of what a BufferingHandler reports, and what it keeps as context."""

from __future__ import annotations

import logging
import logging.handlers
import queue
from typing import Any

import pytest

from django_maillog.handlers import BufferingHandler, SMTPHandler
from tests.test_checks import BUFFER, MAIL, Configure, found, ids, logging_of, only


def buffered(root: str | None = None, **arguments: Any) -> dict[str, Any]:
    """LOGGING with a BufferingHandler of these arguments at the root logger, which has this level."""
    config = logging_of(mail=MAIL, buffer={**BUFFER, **arguments})
    config["loggers"] = {"shop": {"level": "NOTSET"}, "django": {"level": "NOTSET"}}
    # Other tests' libraries may have loggers with levels of their own.
    config["disable_existing_loggers"] = True
    return {**config, "root": {"handlers": ["buffer"], **({"level": root} if root else {})}}


@pytest.mark.parametrize(
    ("root", "arguments", "said"),
    [
        ("WARNING", {"level": "DEBUG"}, "every record from DEBUG on"),
        ("INFO", {}, "every record from INFO on"),
        ("WARNING", {}, None),
        ("DEBUG", {"level": "WARNING"}, None),
        ("DEBUG", {"level": "ERROR"}, None),
        ("DEBUG", {"level": "DEBUG", "report_level": "ERROR"}, None),
    ],
)
def test_reporting_everything_is_warned_of(
    root: str, arguments: dict[str, Any], said: str | None, configure_logging: Configure
) -> None:
    configure_logging(buffered(root, **arguments))

    assert ids() == (["django_maillog.W050"] if said else [])
    assert said is None or said in only()[1]


def test_a_logger_of_djangos_is_enough_to_report_everything(configure_logging: Configure) -> None:
    config = buffered("WARNING")
    config["loggers"]["django"] = {"level": "INFO"}
    configure_logging(config)

    assert "every record from INFO on" in only()[1]


@pytest.mark.parametrize(
    ("root", "others", "lowest"),
    [
        (None, {}, "WARNING"),
        ("ERROR", {}, "ERROR"),
        ("CRITICAL", {}, "CRITICAL"),
        ("DEBUG", {}, None),
        ("WARNING", {"shop": {"level": "DEBUG"}}, None),
        ("WARNING", {"django": {"level": "DEBUG"}}, "WARNING"),
        ("WARNING", {"shop": {"level": "DEBUG", "propagate": False}}, "WARNING"),
    ],
)
def test_loggers_that_let_no_context_through_are_warned_of(
    root: str | None, others: dict[str, Any], lowest: str | None, configure_logging: Configure
) -> None:
    config = buffered(root, level="DEBUG", report_level="ERROR", context=50)
    config["loggers"] |= others
    if root is None:
        logging.root.setLevel(logging.WARNING)
    configure_logging(config)

    if lowest is None:
        assert ids() == []
        return
    identity, text, hint = only()
    assert identity == "django_maillog.W051"
    assert f"nothing below {lowest} through" in text
    assert hint.startswith('Set "level": "DEBUG" in LOGGING for "root"')


@pytest.mark.parametrize(
    "arguments",
    [
        {"level": "ERROR", "context": 50},
        {"level": "ERROR", "report_level": "ERROR", "context": 50},
        {"level": "DEBUG", "report_level": "ERROR", "queries": True},
    ],
)
def test_context_that_is_never_kept_is_warned_of(
    arguments: dict[str, Any], configure_logging: Configure
) -> None:
    configure_logging(buffered("DEBUG", **arguments))

    assert only()[0] == "django_maillog.W052"


def test_a_handler_behind_a_queue_is_told_that_it_keeps_no_context(configure_logging: Configure) -> None:
    configure_logging({"version": 1})
    handler = BufferingHandler(target=SMTPHandler(mailhost="relay"), report_level="ERROR", context=5)
    handler.name = "behind a queue"
    handler.setLevel(logging.DEBUG)
    queued = logging.handlers.QueueHandler(queue.SimpleQueue())
    queued.listener = logging.handlers.QueueListener(queued.queue, handler)  # type: ignore[attr-defined,unused-ignore]
    logging.getLogger("shop").addHandler(queued)
    try:
        about = [message.id for message in found() if handler.name in message.msg]
        assert about == ["django_maillog.W053"]
    finally:
        logging.getLogger("shop").removeHandler(queued)


@pytest.mark.parametrize(
    "wrong", [{"context": -1}, {"context": 1.5}, {"context": True}, {"report_level": "LOUD"}, {"queries": 1}]
)
def test_wrong_arguments_about_context_are_refused(wrong: dict[str, Any]) -> None:
    [name] = wrong

    with pytest.raises(ValueError, match=name):
        BufferingHandler(**wrong)
