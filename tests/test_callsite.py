"""Messages that were formatted before they were logged are known by the call that made them."""

from __future__ import annotations

import importlib.util
import io
import itertools
import logging
import os
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_maillog.capture import callsite
from django_maillog.capture import fingerprint as fingerprints
from django_maillog.capture.callsite import template_of
from django_maillog.capture.fingerprint import fingerprint

from .log_records import full
from .test_printed import queued, sent

_numbers = itertools.count()

HEAD = """
import logging

records = []


class Keeping(logging.Handler):
    def emit(self, record):
        records.append(record)


log = logging.Logger("shop")
log.addHandler(Keeping())


class View:
    log = log
    adapter = logging.LoggerAdapter(log, {})


self = View()
"""


@pytest.fixture(autouse=True)
def _forget() -> None:
    fingerprints._messages.clear()
    callsite._read.cache_clear()
    callsite._lines.cache_clear()


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Import a module with this source, and forget it afterwards."""
    loaded: list[str] = []

    def load(source: str) -> ModuleType:
        made = imported(source, tmp_path)
        loaded.append(made.__name__)
        return made

    yield load
    for name in loaded:
        del sys.modules[name]


def imported(source: str, folder: Path) -> ModuleType:
    name = f"maillog_callsite_{next(_numbers)}"
    file = folder / f"{name}.py"
    file.write_text(HEAD + textwrap.dedent(source), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    made = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def record_of(made: ModuleType, *args: Any) -> logging.LogRecord:
    made.fail(*args)
    record: logging.LogRecord = made.records[-1]
    return record


def template(record: logging.LogRecord) -> str:
    return template_of(record, record.getMessage()).replace("\x1e", "…")


CALLS = {
    'log.error(f"Login of {x} failed")': "Login of … failed",
    'log.error(F"Login of {x!r} failed")': "Login of … failed",
    'log.error(f"Login of {x!s:>{20}} failed")': "Login of … failed",
    'log.error(rf"Login of {x} failed")': "Login of … failed",
    "log.error(f'Login of {x} failed: {{no}}')": "Login of … failed: {no}",
    'log.error(f"Login " "of " f"{x} failed")': "Login of … failed",
    'log.error(\n    f"Login of {x} "\n    "failed"\n)': "Login of … failed",
    'log.error(  # why\n    f"Login of {x} failed",  # that\n    extra={"a": 1},\n)': "Login of … failed",
    'log.error(f"""Login of {x}\n failed""")': "Login of …\n     failed",
    "log.error(f\"Login {f'of {x}'} failed\")": "Login … failed",
    'log.error("Login of %s failed" % x)': "Login of … failed",
    'log.error("Login of %(x)s failed, 100%%" % {"x": x})': "Login of … failed, 100%",
    'log.error("Login of {} failed".format(x))': "Login of … failed",
    'log.error("Login of {0!r:>{1}} failed {{}}".format(x, 9))': "Login of … failed {}",
    'log.error("Login of " + str(x) + " failed")': "Login of … failed",
    'log.error("Login of "\n    + str(x)\n    + " failed")': "Login of … failed",
    'log.error("%s failed: " % "Login" + f"of {x} it is")': "… failed: of … it is",
    'log.error("Login failed for good")': "Login failed for good",
    'log.error((text := f"Login of {x} failed"))': "Login of … failed",
    'log.error(msg=f"Login of {x} failed")': "Login of … failed",
    'log.log(logging.ERROR, f"Login of {x} failed")': "Login of … failed",
    'log.log(logging.ERROR, msg=f"Login of {x} failed")': "Login of … failed",
    'self.log.critical(f"Login of {x} failed")': "Login of … failed",
    'self.log.exception(f"Login of {x} failed", exc_info=None)': "Login of … failed",
    'self.adapter.error(f"Login of {x} failed")': "Login of … failed",
    'logging.LoggerAdapter(log, {}).error(f"Login of {x} failed")': "Login of … failed",
    '(log\n    .error(f"Login of {x} failed"))': "Login of … failed",
    'if x: log.error(f"Login of {x} failed"); y = 1': "Login of … failed",
    'y = log.error(f"Login of {x} failed") or (1, 2)': "Login of … failed",
    'log.error(f"Login of {x} failed") if x else None': "Login of … failed",
    'log.error(f"Zugang für {x} gestört ✗")': "Zugang für … gestört ✗",
}


@pytest.mark.parametrize(("call", "expected"), CALLS.items(), ids=range(len(CALLS)))
def test_what_is_constant_in_a_call(load: Callable[[str], ModuleType], call: str, expected: str) -> None:
    made = load(f"def fail(x):\n{textwrap.indent(call, '    ')}\n    return 7\n")
    first, second = record_of(made, "bob"), record_of(made, "Eve & Ada")

    assert template(first) == template(second) == expected
    assert fingerprint(first) == fingerprint(second)
    assert not fingerprint(first).is_free_text


WITH_ARGUMENTS = {
    'log.error("Login of %s failed", x)': "Login of %s failed",
    'log.error("Login of %s failed 100%%", x)': "Login of %s failed 100%%",
    'log.error("Login of "\n    "%(x)s failed", {"x": x})': "Login of %(x)s failed",
    'log.error(msg="Login of %s failed")': "Login of %s failed",
    'log.error(f"Login of {x} failed: %s", x)': "Login of … failed: …",
    'log.error(f"Login of {x} failed: 100%% %s", x)': "Login of … failed: 100% …",
    'log.error("Login of {} failed: %s".format(x), x)': "Login of … failed: …",
    'log.error("Login of " + x + " failed: %s", x)': "Login of … failed: …",
    'log.log(logging.ERROR, f"Login of {x} failed: %s", x)': "Login of … failed: …",
    'Prefixed(log, {"name": x}).error("Login of %s failed", x)': "Login of … failed",
}
PREFIXED = """
class Prefixed(logging.LoggerAdapter):
    def process(self, msg, kwargs):
        return f"[{self.extra['name']}] {msg}", kwargs

"""


@pytest.mark.parametrize(("call", "expected"), WITH_ARGUMENTS.items(), ids=range(len(WITH_ARGUMENTS)))
def test_a_call_with_arguments_is_one_bug_whatever_it_puts_into_its_template(
    load: Callable[[str], ModuleType], call: str, expected: str
) -> None:
    made = load(PREFIXED + f"def fail(x):\n{textwrap.indent(call, '    ')}\n")
    first, second = record_of(made, "bob"), record_of(made, "Eve & Ada")

    assert fingerprint(first) == fingerprint(second)
    assert not fingerprint(first).is_free_text
    assert words_of(first).replace("\x1e", "…") == expected


def words_of(record: logging.LogRecord) -> str:
    """What its fingerprint is made of."""
    return fingerprints._words_of(record)[0]


def test_a_template_made_before_its_call_counts_by_its_words(
    load: Callable[[str], ModuleType],
) -> None:
    made = load('def fail(x):\n    text = f"Login of {x} failed: %s"\n    log.error(text, x)\n')

    assert fingerprint(record_of(made, 1)) == fingerprint(record_of(made, 2))
    first, second = (fingerprint(record_of(made, name)) for name in ("bob", "eve"))
    assert first.fingerprint != second.fingerprint
    assert first.site == second.site
    assert first.is_free_text


@pytest.mark.parametrize("change", [("Login", "Logout"), ("log.error", "print")])
def test_a_changed_file_leaves_a_template_as_it_was(
    load: Callable[[str], ModuleType], change: tuple[str, str]
) -> None:
    call = "def fail(x):\n    log.error(\"Login of '%s' failed\", x)\n"
    changed, made = load(call), load(call)
    source = Path(str(changed.__file__))
    source.write_text(source.read_text(encoding="utf-8").replace(*change), encoding="utf-8")

    found = fingerprint(record_of(changed, "bob"))

    assert found.fingerprint == fingerprint(record_of(made, "bob")).fingerprint
    assert found.is_free_text


NO_TEMPLATE = [
    "text = f'Login of {x} failed'\nlog.error(text)",
    "log.error(f'Login of {x} failed'); log.error(f'Logout of {x} failed')",
    "log.error(f'Login of {log.error(1) or x} failed')",
    "log.error(f'{x}: {x}')",
    "log.error(f'no {x}')",
    "log.error(str(x))",
    "log.error('%s' % x)",
    "log.error('Login of {}'.join(x))",
    "log.error('Login failed' if x else f'Logout of {x} failed')",
    "log.error(*[f'Login of {x} failed'])",
    "log.error(r'Login \\d' + x)",
    "getattr(log, 'error')(f'Login of {x} failed')",
]


@pytest.mark.parametrize("call", NO_TEMPLATE)
def test_what_is_unexpected_has_no_template(load: Callable[[str], ModuleType], call: str) -> None:
    made = load(f"def fail(x):\n{textwrap.indent(call, '    ')}\n")

    record = record_of(made, "bob")

    assert template(record) == ""
    assert fingerprint(record).is_free_text


def test_a_site_of_unlike_templates_has_its_share_of_problems(load: Callable[[str], ModuleType]) -> None:
    made = load("def fail(x):\n    log.error(x, 7)\n")
    values = [full(record_of(made, f"{word} %s is out")) for word in ("bread", "milk")]

    assert values[0]["fingerprint"] != values[1]["fingerprint"]
    assert values[0]["site"] == values[1]["site"]


def test_a_text_that_goes_on_at_the_margin_belongs_to_its_call(load: Callable[[str], ModuleType]) -> None:
    made = load("def fail(x):\n    log.error(f'''Login of\n{x}\nfailed''')\n")

    assert template(record_of(made, "bob")) == "Login of\n…\nfailed"


def test_arguments_that_a_queue_has_put_in_are_no_constants(load: Callable[[str], ModuleType]) -> None:
    made = load('def fail(x):\n    log.error("Login of %s failed", x)\n')

    first, second = (queued(record_of(made, name)) for name in ("bob", "Eve & Ada"))

    assert template(first) == template(second) == "Login of … failed"
    assert fingerprint(first) == fingerprint(second)


def test_an_adapter_that_puts_something_in_front_is_no_matter(load: Callable[[str], ModuleType]) -> None:
    made = load(
        """
        class Named(logging.LoggerAdapter):
            def process(self, msg, kwargs):
                return f"[{self.extra['name']}] {msg}", kwargs

        def fail(x):
            Named(log, {"name": x}).error(f"Login of {x} failed")
        """
    )

    assert fingerprint(record_of(made, "bob")) == fingerprint(record_of(made, "eve"))


def test_a_wrapper_with_a_stacklevel_is_known_by_its_text(load: Callable[[str], ModuleType]) -> None:
    made = load(
        """
        def wrapper(text):
            log.error(text, stacklevel=2)

        def fail(x):
            wrapper(f"Login of {x} failed")
        """
    )

    assert template(record_of(made, "bob")) == ""


def test_a_file_that_has_changed_since_has_no_template(load: Callable[[str], ModuleType]) -> None:
    made = load('def fail(x):\n    log.error(f"Login of {x} failed")\n')
    source = Path(str(made.__file__))
    source.write_text(source.read_text(encoding="utf-8").replace("Login", "Logout"), encoding="utf-8")

    assert template(record_of(made, "bob")) == ""


def test_a_file_that_is_gone_or_too_large_has_no_template(load: Callable[[str], ModuleType]) -> None:
    gone, large = (load('def fail(x):\n    log.error(f"Login of {x} failed")\n') for _ in range(2))
    Path(str(gone.__file__)).unlink()
    with Path(str(large.__file__)).open("a", encoding="utf-8") as file:
        file.write("#" * callsite._MAX_SOURCE_CHARACTERS)

    assert template(record_of(gone, "bob")) == template(record_of(large, "bob")) == ""


def test_records_of_others_have_no_template(load: Callable[[str], ModuleType]) -> None:
    made = load('def fail(x):\n    log.error(f"Login of {x} failed")\n')
    record = record_of(made, "bob")
    assert template(sent(record)) == "Login of … failed"  # this process has sent it to itself

    for process in (None, os.getpid() + 1):
        record.process = process
        assert template(record) == ""


@pytest.mark.parametrize("field", ["pathname", "lineno", "process"])
@pytest.mark.parametrize("value", [None, "", -1, 0, 10**9, ["unhashable"], object()])
def test_strange_fields_break_nothing(load: Callable[[str], ModuleType], field: str, value: object) -> None:
    record = record_of(load('def fail(x):\n    log.error(f"Login of {x} failed")\n'), "bob")
    record.__dict__[field] = value

    assert template(record) == ""


def test_a_module_that_was_never_loaded_has_no_template(tmp_path: Path) -> None:
    source = HEAD + 'def fail(x):\n    log.error(f"Login of {x} failed")\n'
    (tmp_path / "loose.py").write_text(source)
    made = ModuleType("loose")
    exec(compile(source, str(tmp_path / "loose.py"), "exec"), made.__dict__)

    assert template(record_of(made, "bob")) == ""


def test_a_module_in_an_archive_has_its_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("maillog_zipped.py", HEAD + 'def fail(x):\n    log.error(f"Login of {x} failed")\n')
    monkeypatch.syspath_prepend(str(tmp_path / "app.zip"))
    made = importlib.import_module("maillog_zipped")
    try:
        assert template(record_of(made, "bob")) == "Login of … failed"
    finally:
        del sys.modules["maillog_zipped"]


def test_a_source_is_read_once(load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    made = load(
        """
        def fail(x):
            log.error(f"Login of {x} failed")

        def other(x):
            log.error(f"Not {x} again")
        """
    )
    reads: list[str] = []
    get_source = made.__loader__.get_source  # type: ignore[union-attr]

    def counted(name: str) -> str:
        reads.append(name)
        return str(get_source(name))

    monkeypatch.setattr(made.__loader__, "get_source", counted)

    for name in ("bob", "eve"):
        assert template(record_of(made, name)) == "Login of … failed"
        made.other(name)
        assert template(made.records[-1]) == "Not … again"

    assert reads == [made.__name__]


def test_a_page_break_in_a_source_is_no_line_break(load: Callable[[str], ModuleType]) -> None:
    made = load('\x0c\ndef fail(x):\n    log.error(f"Login of {x} failed")\n')

    assert template(record_of(made, "bob")) == "Login of … failed"


# Constants without letters of their own, and values that look like constants, on one line and on several.
CONSTANTS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12), min_size=1, max_size=4
)
WORDS = st.from_regex(r"[a-z]{4,9}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8"), max_size=15)


def as_f_string(constants: list[str]) -> str:
    quoted = [repr(text).replace("{", "{{").replace("}", "}}") for text in constants]
    return " f'{x}' ".join(f"f{text}" for text in quoted)


def as_percent(constants: list[str]) -> str:
    holes = "(" + "x, " * (len(constants) - 1) + ")"
    return f"{'%s'.join(text.replace('%', '%%') for text in constants)!r} % {holes}"


def as_format(constants: list[str]) -> str:
    text = "{0}".join(text.replace("{", "{{").replace("}", "}}") for text in constants)
    return f"{text!r}.format(x)"


def as_sum(constants: list[str]) -> str:
    return " + str(x) + ".join(map(repr, constants))


@pytest.mark.parametrize("write", [as_f_string, as_percent, as_format, as_sum])
@settings(max_examples=60, deadline=None)
@given(
    first=CONSTANTS,
    second=CONSTANTS,
    words=st.lists(WORDS, min_size=2, max_size=2, unique=True),
    values=st.lists(VALUES, min_size=3),
)
def test_all_messages_of_one_call_share_a_fingerprint_and_two_calls_dont(
    tmp_path_factory: pytest.TempPathFactory,
    write: Callable[[list[str]], str],
    first: list[str],
    second: list[str],
    words: list[str],
    values: list[str],
) -> None:
    calls = [write([words[0], *first]), write([words[1], *second])]
    source = "".join(f"def fail{number}(x):\n    log.error({call})\n" for number, call in enumerate(calls))
    made = imported(source, tmp_path_factory.getbasetemp())
    try:
        keys = []
        for fail in (made.fail0, made.fail1):
            for value in values:
                fail(value)
            found = [fingerprint(record) for record in made.records]
            made.records.clear()
            assert len(set(found)) == 1
            keys.append(found[0])
        assert keys[0].fingerprint != keys[1].fingerprint
    finally:
        del sys.modules[made.__name__]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_no_text_of_a_call_breaks_it(call: str) -> None:
    for text in (call, f".error({call}", f".error({call})", f".log({call!r}, {call}"):
        with patch.object(callsite, "_lines", return_value=io.StringIO(text).readlines()):
            assert isinstance(callsite._read.__wrapped__("shop.py", 1), callsite.Call | None)
