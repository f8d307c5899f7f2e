"""The demo's mail server: a real one, which keeps and hands over what it gets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailbox:
    """aiosmtpd's handler: parses and keeps each message, and tells who waits."""

    def __init__(self, received: Callable[[EmailMessage], None]) -> None:
        self.messages: list[EmailMessage] = []
        self._received = received
        self._changed = threading.Condition()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        message = message_from_bytes(cast(bytes, envelope.content), policy=policy.default)
        self._received(message)
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()
        return "250 OK"

    def reported(self) -> int:
        """How many errors the mails account for."""
        return sum(int(message["X-Maillog-Count"]) for message in self.messages)

    def wait_until_reported(self, errors: int, timeout: float) -> bool:
        """Whether the mails account for that many errors before the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: self.reported() >= errors, timeout)

    def save(self, folder: Path) -> None:
        """Write each message to a file that mail programs open."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, message in enumerate(self.messages, 1):
            (folder / f"{number}.eml").write_bytes(message.as_bytes())


def serve(mailbox: Mailbox) -> Controller:
    """A mail server on a free port of this machine, in a thread of its own."""
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), data_size_limit=None)
    controller.start()
    return controller


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return cast(int, listener.getsockname()[1])
