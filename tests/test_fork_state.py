"""What this package holds at module level, and what becomes of each in a fork's child.

A fork copies all of it, and none of the threads: what speaks of the parent's threads, files and locks begins
afresh in the child, and what is true of both stays.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from threading import local
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

import pytest

import django_maillog
from tests.sites import Site

RESET = {
    "forks.forks": "what the parent's threads are busy with, and that it forks",
    "handlers.lifecycle.process": "what is unreported, and whether the process ends",
    "outbox.claim_lock._files": "the parent's claims: closed",
    "outbox.delivery._unsettled": "outcomes that the parent records",
    "spool.journal.journal": "the parent's segment, memory and lock",
    "spool.segment._open": "the parent's files and their locks: closed",
    "worker.thread.worker": "threads, requests, locks, what the database owes",
}
KEPT = {
    "buffers._handlers": "the handlers are copied, too; what each of them has seen is forgotten",
    "buffers._number_of": "goes on",
    "buffers.thread": "the thread that forks goes on in the child",
    "capture.chain._codes": "the code is the same",
    "capture.context._of_asgi": "the requests of the thread that forks go on in the child",
    "capture.context._scope": "the request or task of the thread that forks goes on in the child",
    "capture.fingerprint._messages": "the code is the same",
    "capture.prepare._release": "the release is the same",
    "charset._codec_of": "the databases are the same",
    "conf._tested": "the child of a test is one",
    "conf._asked": "the release is the same",
    "conf._group_id": "the groups are the same",
    "digest.templating._own_engine": "the templates are the same",
    "frames._roots": "the folders are the same",
    "hosts._noted_at": "the host is the same",
    "handlers.names._named": "the handlers are the same",
    "handlers.queries._noting": "the handlers are the same",
    "handlers.scopes._is_connected": "the signals' receivers are the same",
    "receivers._attached": "the loggers are the same",
    "receivers._task_logger_passed_on": "the loggers are the same",
    "spool.files._warned": "true of the files, whoever imports them",
    "spool.folder._testing_folders": "it goes by process number",
    "spool.mailed._unwritten": "true of the files, whoever imports them",
    "spool.segment._known_bad": "true of the files, whoever imports them",
    "worker.calls._flushing": "the buffers are the same",
}

FORK = """
import json, logging, os, sys, threading
from django_maillog.handlers import lifecycle
from django_maillog.spool.journal import journal
from django_maillog.worker import thread
log = logging.getLogger("shop")

def fail():
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("it failed")

def state():
    return {
        "threads": sorted(each.name for each in threading.enumerate() if each.name.startswith("maillog")),
        "has a worker": thread.worker._thread is not None,
        "unreported": list(lifecycle.process.unreported),
        "ending": lifecycle.process.ending,
        "segment": journal._writer is not None,
        "appended": journal.appended,
    }

fail()
fail()
lifecycle.process.ending = True
with thread.worker.inbox.changed, journal._lock:
    pid = os.fork()
    if not pid:
        found = state()
        # The locks are held by a thread that is not here.
        other = threading.Thread(target=fail)
        other.start()
        other.join(30)
        print(json.dumps([found, state()]), flush=True)
        os._exit(0)
os.waitpid(pid, 0)
lifecycle.process.ending = False
"""


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(django_maillog.__path__, "django_maillog."):
        if ".migrations" not in found.name:
            yield importlib.import_module(found.name)


def is_state(value: object) -> bool:
    """Whether it can change: a container, an object of threading or of ours, or a cache without a size."""
    if isinstance(value, (type, ModuleType, tuple, frozenset, str, int, float)):
        return False
    if isinstance(value, (dict, list, set, Counter, WeakKeyDictionary, WeakSet)):
        return True
    if isinstance(value, (WeakValueDictionary, ContextVar, count, local)):
        return True
    parameters = getattr(value, "cache_parameters", None)
    if parameters is not None:
        return bool(parameters()["maxsize"] is None)
    return type(value).__module__.startswith(("django_maillog.", "threading"))


def module_state() -> Iterator[str]:
    """The names at module level that hold state; one in capital letters is a constant."""
    for module in modules():
        short = module.__name__.removeprefix("django_maillog.")
        tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
        own = {name for node in tree.body for name in names_bound(node)}
        changed = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
        for name, value in vars(module).items():
            if name in ("__all__", "urlpatterns"):
                continue
            if name in changed or (name in own and not name.strip("_").isupper() and is_state(value)):
                yield f"{short}.{name}"


def names_bound(node: ast.stmt) -> Iterator[str]:
    targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
    yield from (target.id for target in targets if isinstance(target, ast.Name))
    if isinstance(node, ast.FunctionDef):
        yield node.name


def test_all_state_at_module_level_is_listed_here() -> None:
    assert set(module_state()) == set(RESET) | set(KEPT), "say here what a fork's child does with it"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_begins_afresh(site: Site) -> None:
    done = site.run(FORK, env={"PYTHONWARNINGS": "ignore::DeprecationWarning", "MAILLOG_WORKER": "thread"})

    before, after = json.loads(done.stdout)
    assert before == {
        "threads": [],
        "has a worker": False,
        "unreported": [],
        "ending": False,
        "segment": False,
        "appended": 0,
    }
    assert after == {
        "threads": ["maillog-clock", "maillog-worker"],
        "has a worker": True,
        "unreported": ["mail"],
        "ending": False,
        "segment": True,
        "appended": 1,
    }


# What the worker imports for its first mail takes a moment, and the fork comes in it.
FORK_WHILE_LOADING = """
import logging, os, signal, sys, threading, time
importing = threading.Event()

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "django.template.loaders.locmem":
            importing.set()
            time.sleep(0.3)

sys.meta_path.insert(0, Slow())
logging.getLogger("shop").error("before the fork")
assert importing.wait(60)
pid = os.fork()
if not pid:
    signal.alarm(20)
    import django.template.loaders.locmem
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_inherits_no_import_that_nobody_ends(site: Site) -> None:
    done = site.run(FORK_WHILE_LOADING, env={"PYTHONWARNINGS": "ignore::DeprecationWarning"})

    assert done.stdout == "0\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_first_record_of_a_child_is_a_full_one(site: Site) -> None:
    site.run(FORK, env={"PYTHONWARNINGS": "ignore::DeprecationWarning", "MAILLOG_WORKER": "none"})

    assert sorted(["traceback" in value for value in values] for values in spooled(site)) == [
        [True],
        [True, False],
    ]


def spooled(site: Site) -> list[list[dict[str, Any]]]:
    """The records of each process."""
    return [
        [value for line in path.read_text().splitlines() if "fingerprint" in (value := json.loads(line))]
        for path in site.spool_dir.glob("*.jsonl")
    ]
