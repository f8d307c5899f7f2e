"""See what django_maillog does: a real site fails, a real mail server gets the mails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError

from shop.mailbox import Mailbox, free_port, serve

MANAGE = Path(__file__).parents[3] / "manage.py"
SECRET = "correct-horse-battery-staple"
# How long a part of the demo's errors may take to arrive; the rules need a few seconds.
PATIENCE = 40.0
# Seconds; the handler's defaults are 30, 300 and 14400.
HURRY = {"MAIL_GROUP_WAIT": "3", "MAIL_GROUP_INTERVAL": "3", "MAIL_REPEAT_INTERVAL": "6"}

ONCE = ["/checkout/", "/invoice/", "/stock/shoes/", "/delivery/", "/order/1/", "/order/2/", "/order/3/"]


class Command(BaseCommand):
    help = "Start a site and a mail server, make the site fail 213 times, and show the mails."
    # The demo has a database of its own; this process needs none.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--exit",
            action="store_true",
            help="stop when the mails were shown (default: keep the site running)",
        )
        parser.add_argument(
            "--save", type=Path, metavar="FOLDER", help="keep the mails there as .eml files (default: don't)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with ExitStack() as stack:
            # Whoever opened a file in the folder may need a moment to close it on Windows.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            mailbox = Mailbox(self.show)
            mail_server = serve(mailbox)
            stack.callback(mail_server.stop)
            site = Site(folder, mail_server.port)
            self.say("Migrating a fresh database ...")
            site.prepare()
            stack.callback(site.stop)
            site.start()
            self.say(f"The site is at {site.url}, its mail server on port {mail_server.port}.")
            self.fail(site, mailbox)
            if options["save"]:
                mailbox.save(options["save"])
            if not options["exit"]:
                self.stay(site)

    def fail(self, site: Site, mailbox: Mailbox) -> None:
        """Make the site fail, and wait until the mails account for everything."""
        started = time.monotonic()
        self.say("Seven kinds of failure, and the same error 200 times ...")
        errors = site.get(*ONCE) + site.post("/login/", f"user=ada&password={SECRET}")
        errors += site.get(*(f"/search/?page={page}" for page in range(10, 210)))
        self.wait(site, mailbox, errors)
        self.say("A critical error: it is mailed at once ...")
        errors += site.get("/payment/")
        self.wait(site, mailbox, errors)
        self.say("The same old error, 4 times: repeats can wait ...")
        errors += site.get(*["/search/?page=7"] * 4)
        self.wait(site, mailbox, errors)
        if any(SECRET in part.get_content() for mail in mailbox.messages for part in texts(mail)):
            raise CommandError("the password that was posted is in a mail")
        self.stdout.write(
            self.style.SUCCESS(
                f"{errors} errors, {len(mailbox.messages)} mails, every error accounted for,"
                f" in {time.monotonic() - started:.0f} s"
            )
        )

    def wait(self, site: Site, mailbox: Mailbox, errors: int) -> None:
        """Until the mails account for so many errors, no fewer and no more; not for ever."""
        mailbox.wait_until_reported(errors, PATIENCE)
        if mailbox.reported() != errors:
            raise CommandError(
                f"{errors} errors, but mails for {mailbox.reported()}; the site said:\n{site.log()}"
            )

    def stay(self, site: Site) -> None:
        """Keep the site running until Ctrl-C; mails are shown as they come."""
        self.say(f"The site stays at {site.url} (what you break is mailed and shown here).")
        self.say(f"Admin: {site.url}/admin/ - user demo, password demo. Ctrl-C ends it.")
        try:
            site.wait()
        except KeyboardInterrupt:
            self.say("Stopping.")

    def say(self, text: str) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(text))
        self.stdout.flush()

    def show(self, mail: EmailMessage) -> None:
        """Print a mail as a person would read it."""
        line = "=" * 78
        head = [f"{name}: {mail[name].strip()}" for name in ("From", "To", "Subject", "X-Maillog-Reason")]
        text = mail.get_body(("plain",))
        attached = [f"[{part.get_filename()}]" for part in mail.iter_attachments()]
        body = text.get_content().rstrip() if text else ""
        self.stdout.write("\n".join(["", line, *head, line, body, *attached, line, ""]))
        self.stdout.flush()


class Site:
    """The example's site as a process of its own, with its database and spool in a folder that goes away."""

    def __init__(self, folder: Path, smtp_port: int) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._address = f"127.0.0.1:{port}"
        self._log = folder / "site.log"
        self._process: subprocess.Popen[str] | None = None
        self._env = {
            **os.environ,
            **HURRY,
            "DATABASE_URL": f"sqlite:///{folder / 'demo.sqlite3'}",
            "EMAIL_URL": f"smtp://127.0.0.1:{smtp_port}",
            "MAILLOG_SPOOL_DIR": str(folder / "spool"),
            "MAILLOG_SITE_URL": self.url,
            "DJANGO_SUPERUSER_PASSWORD": "demo",
            "PYTHONUNBUFFERED": "1",
        }

    def prepare(self) -> None:
        """Make the tables and the user."""
        self._manage("migrate", "--verbosity=0")
        user = ["--username=demo", "--email=demo@shop.example"]
        self._manage("createsuperuser", "--noinput", "--verbosity=0", *user)

    def start(self) -> None:
        """Run the server, and return when it listens."""
        log = self._log.open("w")
        # --insecure: the admin's static files, without DEBUG.
        command = [sys.executable, str(MANAGE), "runserver", "--noreload", "--insecure", self._address]
        with log:
            self._process = subprocess.Popen(
                command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        listening = threading.Event()
        threading.Thread(target=self._read, args=(self._process.stdout, listening), daemon=True).start()
        if not listening.wait(PATIENCE) or self._process.poll() is not None:
            raise CommandError(f"the site didn't start:\n{self.log()}")

    def log(self) -> str:
        """The end of what the server wrote to its standard error."""
        return self._log.read_text(errors="replace")[-5000:]

    def stop(self) -> None:
        """End the server as Ctrl-C does."""
        if self._process is None:
            return
        with self._process:
            if self._process.poll() is not None:
                return
            self._process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGINT)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # what is started in the background may ignore Ctrl-C
                self._process.kill()

    def wait(self) -> None:
        """Until the server ends."""
        if self._process is not None:
            self._process.wait()

    def get(self, *paths: str) -> int:
        """Ask for pages, four at a time; the number of requests."""
        with ThreadPoolExecutor(4) as pool:
            return len(list(pool.map(self._request, paths)))

    def post(self, path: str, data: str) -> int:
        """Post a form; the number of requests."""
        self._request(path, data.encode())
        return 1

    def _request(self, path: str, data: bytes | None = None) -> None:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", data, timeout=PATIENCE):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 500:
                raise CommandError(f"{path}: {error}") from error

    def _manage(self, *args: str) -> None:
        command = [sys.executable, str(MANAGE), *args]
        done = subprocess.run(
            command, env=self._env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CommandError(f"manage.py {args[0]} failed:\n{done.stdout}{done.stderr}")

    def _read(self, output: IO[str], listening: threading.Event) -> None:
        """Watch for the server's address, then go on reading: a full pipe would stop it."""
        for line in output:
            if self._address in line:
                listening.set()
        listening.set()


def texts(mail: EmailMessage) -> list[EmailMessage]:
    """The parts of a mail that a person reads."""
    return [part for part in mail.walk() if part.get_content_maintype() == "text"]
