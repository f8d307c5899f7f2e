"""A Django project in processes of its own: real settings, database, spool, mail server, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"mail": {"class": "django_maillog.handlers.BufferingHandler", "level": "ERROR"}},
    "root": {"handlers": ["mail"], "level": "INFO"},
    # Naming Django's loggers takes Django's own handlers off them: mail_admins, and that of runserver.
    "loggers": {"django": {"level": "INFO"}, "django.server": {"propagate": False}},
}
SETUP = "import django; django.setup()\n"


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return as soon as the condition holds."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "waited in vain"
        time.sleep(0.05)


class Site:
    """Runs Python and management commands under `tests.settings`, with a database and a spool of its own.

    `env` is what every process gets on top of this one's environment; setting names in it become settings.
    """

    def __init__(self, *, folder: Path, database_url: str, email_url: str) -> None:
        self.folder = folder
        self.spool_dir = folder / "spool"
        self.env: dict[str, str] = {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": database_url,
            "EMAIL_URL": email_url,
            "MAILLOG_SPOOL_DIR": str(self.spool_dir),
            "PYTHONDEVMODE": "1",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self.configure_logging(LOGGING)
        self._started: list[subprocess.Popen[str]] = []

    def configure_logging(self, config: Mapping[str, Any]) -> None:
        """Use this LOGGING in processes started from now on."""
        self.env["MAILLOG_TEST_LOGGING"] = json.dumps(config)

    def run(
        self,
        code: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run Python source with Django set up, to its end."""
        return self._run(["-c", SETUP + code, *args], env, timeout, check)

    def manage(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        return self._run(["-m", "django", *args], env, timeout, check)

    def start(self, code: str, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start Python source with Django set up; it is killed when the test ends, if it still runs."""
        return self.popen([sys.executable, "-c", SETUP + code, *args], env=env)

    def popen(
        self, command: list[str], *, env: Mapping[str, str] | None = None, stderr: IO[str] | int | None = None
    ) -> subprocess.Popen[str]:
        """Start a command in the site's environment, with pipes to its input and output."""
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        self._started.append(process)
        return process

    def stop(self) -> None:
        """Kill what was started and still runs, and close its pipes."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
            with process:
                process.wait(60)

    def _environment(self, env: Mapping[str, str] | None) -> dict[str, str]:
        return {**os.environ, **self.env, **(env or {})}

    def _run(
        self, args: list[str], env: Mapping[str, str] | None, timeout: float, check: bool
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *args],
            cwd=ROOT,
            env=self._environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done
