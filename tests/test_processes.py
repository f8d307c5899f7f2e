"""Every way in which a Django project runs: each error arrives once, exits are quick, nothing is printed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.databases import lack
from tests.sites import LOGGING, Site, wait_for
from tests.smtp import SMTPServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

QUICK: dict[str, Any] = {**LOGGING, "handlers": {"mail": {**LOGGING["handlers"]["mail"], "group_wait": 0}}}

# Since Python 3.12 a fork of a process with threads, ours or others', warns; since 3.13 the child warns, too,
# if such a thread had a connection open at that moment, to SQLite or by psycopg, when the copy is collected.
FORK_IS_FINE = {
    "PYTHONWARNINGS": "ignore::DeprecationWarning,ignore:unclosed database:ResourceWarning,"
    "ignore:<psycopg.Connection:ResourceWarning"
}

FORK = """
import logging, os, sys
log = logging.getLogger("shop")
log.error("before the fork")
pid = os.fork()
if not pid:
    log.error("in the child")
    sys.exit()
log.error("in the parent")
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""

MULTIPROCESSING = """
import logging, multiprocessing, sys
log = logging.getLogger("shop")
def work(number):
    log.error("task %s", number, extra={"fingerprint": "task"})
if __name__ == "__main__":
    log.error("before")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=[number]) for number in range(8)]
    for process in processes: process.start()
    for process in processes: process.join()
    with context.Pool(2) as pool:
        pool.map(work, range(8, 20))
        pool.close()
        pool.join()
"""

# A module, since a child that isn't a fork imports it. The parent lives on until its input ends.
CHILDREN = """
import importlib, logging, sys, threading
import django
django.setup()
def work(number):
    logging.getLogger("shop").error("task %s", number, extra={"fingerprint": str(number)})
if __name__ == "__main__":
    import maillog_children
    module, method = sys.argv[1:]
    context = importlib.import_module(module).get_context(method)
    processes = [context.Process(target=maillog_children.work, args=[number]) for number in range(2)]
    for process in processes: process.start()
    for process in processes: process.join()
    print(threading.active_count(), flush=True)
    sys.stdin.read()
"""

# As RQ's work horse ends.
WORK_HORSE = """
import logging, os, sys
pid = os.fork()
if not pid:
    logging.getLogger("shop").error("in the child")
    os._exit(0)
os.waitpid(pid, 0)
print("done", flush=True)
sys.stdin.read()
"""

IDLE = """
import sys
from django_maillog.worker import calls, thread
thread.LOOK_SECONDS = 0.2
calls.wake()
while not thread.worker.inbox.idle: pass
print("idle", flush=True)
sys.stdin.read()
"""

# A signal comes whenever a module of ours imports another: it is in sys.modules then, and half made.
SIGNAL_WHILE_IMPORTING = """
import logging, signal, sys
log = logging.getLogger("shop")
signal.signal(signal.SIGUSR1, lambda *args: log.error("by a signal handler"))
class Finder:
    def find_spec(self, name, *args):
        ours = [module for name, module in sys.modules.items() if name.startswith("django_maillog.")]
        if logging.root.handlers and any(module.__spec__._initializing for module in ours):
            signal.raise_signal(signal.SIGUSR1)
sys.meta_path.insert(0, Finder())
import django
django.setup()
log.error("the first record")
"""

THREADS = """
import logging, sys, threading
log = logging.getLogger("shop")
def work(number):
    for _ in range(200):
        log.error("thread %s", number, extra={"fingerprint": str(number)})
threads = [threading.Thread(target=work, args=[number]) for number in range(32)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

TWO_HOSTS = """
import logging, sys
from django_maillog.spool import writer
writer.HOST = sys.argv[1]
log = logging.getLogger("shop")
for number in range(300):
    log.error("from %s", sys.argv[1], extra={"fingerprint": "same"})
"""

ASYNC = """
import asyncio, json, logging, time
log = logging.getLogger("shop")
async def main():
    times = []
    for number in range(200):
        before = time.perf_counter()
        log.error("in a coroutine")
        times.append(time.perf_counter() - before)
        await asyncio.sleep(0)
    print(json.dumps(sorted(times[1:])))
asyncio.run(main())
"""

AT_EXIT = """
import atexit, logging, threading, time
log = logging.getLogger("shop")
atexit.register(log.error, "at exit")
threading._register_atexit(log.error, "while threads end")
print(time.time())
"""

TASKS = """
import logging
import django
from celery import Celery
django.setup()
app = Celery("tasks", broker="filesystem://", broker_connection_retry_on_startup=False)
app.conf.broker_transport_options = {
    "data_folder_in": "FOLDER", "data_folder_out": "FOLDER", "control_folder": "FOLDER"
}
@app.task
def fail():
    logging.getLogger("shop").error("in a task")
"""

GROUPS = """
import json
from django_maillog.models import Group
print(json.dumps(dict(Group.objects.values_list("title", "count"))))
"""


def groups(site: Site) -> Any:
    site.manage("flush_maillogs")
    return json.loads(site.run(GROUPS, env={"MAILLOG_WORKER": "none"}).stdout)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def need(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            lack(f"{module} isn't installed")


def get(url: str, process: subprocess.Popen[str]) -> int:
    """The status of the answer, as soon as somebody answers."""
    give_up_at = time.monotonic() + 60
    while True:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)


def end(process: subprocess.Popen[str]) -> None:
    """Ask it to end, as a process manager does."""
    began_at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert time.monotonic() - began_at < 20


def serve(site: Site, folder: Path, command: list[str], paths: list[str], port: int) -> str:
    """Start a server, visit these paths four times each, end it; what it printed."""
    site.configure_logging(QUICK)
    site.env["HOME"] = str(folder)  # gunicorn keeps a socket there
    with (folder / "stderr").open("w+") as output:
        process = site.popen([sys.executable, "-m", *command], stderr=output)
        for path in paths * 4:
            assert get(f"http://127.0.0.1:{port}{path}", process) == 500
        end(process)
        output.seek(0)
        return output.read()


@pytest.mark.parametrize("worker", ["thread", "none"])
def test_records_in_hand_at_a_fork_arrive_once(site: Site, smtp: SMTPServer, worker: str) -> None:
    done = site.run(FORK, env={"MAILLOG_WORKER": worker, **FORK_IS_FINE})

    assert (done.stdout, done.stderr) == ("0\n", "")
    assert groups(site) == {"before the fork": 1, "in the child": 1, "in the parent": 1}
    assert sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages) == 3


def test_processes_and_pools_of_multiprocessing(site: Site, smtp: SMTPServer) -> None:
    done = site.run(MULTIPROCESSING, env=FORK_IS_FINE)

    assert done.stderr == ""
    assert sum(groups(site).values()) == 21
    assert sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages) == 21


@pytest.mark.parametrize(
    ("module", "method"),
    [("multiprocessing", "fork"), ("multiprocessing", "forkserver"), ("billiard", "fork")],
)
def test_children_that_never_return_mail_their_news_while_the_parent_goes_on(
    site: Site, smtp: SMTPServer, tmp_path: Path, module: str, method: str
) -> None:
    need(module)
    (tmp_path / "maillog_children.py").write_text(CHILDREN)
    site.env["PYTHONPATH"] += os.pathsep + str(tmp_path)

    parent = site.popen([sys.executable, str(tmp_path / "maillog_children.py"), module, method])
    assert parent.stdout is not None
    threads = int(parent.stdout.readline())

    assert sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages) == 2
    assert parent.poll() is None
    assert threads == 1, "a fork of a process with threads warns"


@pytest.mark.parametrize("who", ["an idle process", "the command"])
def test_what_a_work_horse_has_left_is_imported(site: Site, smtp: SMTPServer, who: str) -> None:
    site.configure_logging(QUICK)
    idle = site.start(IDLE) if who == "an idle process" else None
    if idle and idle.stdout:
        assert idle.stdout.readline() == "idle\n"

    parent = site.start(WORK_HORSE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "done\n"
    if not idle:
        site.manage("flush_maillogs", "--due")

    [mail] = smtp.wait_for(1)
    assert parent.poll() is None
    assert mail["Subject"].endswith("in the child")


def test_a_signal_handler_may_log_while_a_module_of_ours_is_being_imported(
    site: Site, smtp: SMTPServer
) -> None:
    done = site.popen([sys.executable, "-c", SIGNAL_WHILE_IMPORTING], stderr=subprocess.PIPE)
    _, printed = done.communicate(timeout=60)

    assert printed == ""
    assert sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages) > 1
    assert groups(site)["the first record"] == 1


def test_32_threads_at_once(site: Site, smtp: SMTPServer) -> None:
    done = site.run(THREADS)

    assert done.stderr == ""
    assert groups(site) == {f"thread {number}": 200 for number in range(32)}


def test_the_processes_of_two_containers_share_a_spool_folder(site: Site, smtp: SMTPServer) -> None:
    processes = [site.start(TWO_HOSTS, f"web{number % 2}") for number in range(4)]
    for process in processes:
        process.communicate(timeout=60)

    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert sum(groups(site).values()) == 1200
    assert sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages) == 1200


def test_an_event_loop_is_never_blocked(site: Site, smtp: SMTPServer) -> None:
    done = site.run(ASYNC)

    assert done.stderr == ""
    times = json.loads(done.stdout)
    assert times[len(times) // 2] < 0.002
    assert times[-1] < 0.5, "a call waited"
    assert groups(site) == {"in a coroutine": 200}


def test_what_is_logged_while_the_interpreter_ends_is_kept(site: Site, smtp: SMTPServer) -> None:
    done = site.run(AT_EXIT)

    assert time.time() - float(done.stdout) < 10
    assert done.stderr == ""
    assert groups(site) == {"at exit": 1, "while threads end": 1}


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_gunicorn(site: Site, smtp: SMTPServer, tmp_path: Path, kind: str) -> None:
    need("gunicorn", *(["gevent"] if kind == "gevent" else []))
    port = free_port()
    command = ["gunicorn", "--workers=2", f"--worker-class={kind}", f"--bind=127.0.0.1:{port}"]
    if (
        kind != "gevent"
    ):  # gevent patches too late for a preloaded app: requests share connections, with or without us
        command.append("--preload")

    printed = serve(
        site,
        tmp_path,
        [*command, "django.core.wsgi:get_wsgi_application()"],
        ["/division/", "/chained/"],
        port,
    )

    assert "Traceback" not in printed
    assert sorted(groups(site).values()) == [4, 4]
    assert sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages) == 8


def test_uvicorn_with_an_async_view(site: Site, smtp: SMTPServer, tmp_path: Path) -> None:
    need("uvicorn")
    port = free_port()
    command = ["uvicorn", "--factory", "--lifespan=off", f"--port={port}", "--log-level=warning"]

    printed = serve(
        site, tmp_path, [*command, "django.core.asgi:get_asgi_application"], ["/asynchronous/"], port
    )

    assert "SynchronousOnlyOperation" not in printed
    assert list(groups(site).values()) == [4]


def test_runserver_with_autoreload(site: Site, smtp: SMTPServer, tmp_path: Path) -> None:
    port = free_port()

    serve(site, tmp_path, ["django", "runserver", str(port)], ["/division/"], port)

    assert list(groups(site).values()) == [4]


def test_a_celery_prefork_worker(site: Site, smtp: SMTPServer, tmp_path: Path) -> None:
    need("celery")
    folder = tmp_path / "broker"
    folder.mkdir()
    (tmp_path / "celery_tasks.py").write_text(TASKS.replace("FOLDER", str(folder)))
    site.configure_logging(QUICK)
    site.env["PYTHONPATH"] += os.pathsep + str(tmp_path)
    site.env["PYTHONWARNINGS"] = "ignore"
    with (tmp_path / "stderr").open("w+") as output:
        worker = site.popen(
            [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--pool=prefork", "-c2"],
            stderr=output,
        )
        site.run("import celery_tasks\nfor _ in range(3): celery_tasks.fail.delay()")

        [mail, *_more] = smtp.wait_for(1)
        wait_for(lambda: groups(site) == {"in a task": 3})
        end(worker)

    assert mail["Subject"].endswith("in a task")


@pytest.mark.parametrize("broken", ["a file", "a link"])
def test_without_a_usable_spool_folder_memory_takes_over_with_one_warning(
    site: Site, smtp: SMTPServer, tmp_path: Path, broken: str
) -> None:
    if site.spool_dir.exists():  # the checks that come with "migrate" have made it
        site.spool_dir.rmdir()
    if broken == "a file":
        site.spool_dir.write_text("not a folder")
    else:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        site.spool_dir.symlink_to(tmp_path / "elsewhere")

    done = site.run(
        "import logging, sys\n"
        "logging.getLogger('django_maillog').addHandler(logging.StreamHandler(sys.stdout))\n"
        "for number in range(50): logging.getLogger('shop').error('kept %s', number)"
    )

    assert done.stdout.count("spool folder unusable") == 1
    assert sum(int(mail["X-Maillog-Count"]) for mail in smtp.messages) == 50
    assert done.stderr == ""
