"""A real SMTP server that keeps what it got, and that can be told to misbehave."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

# Where a fault can strike. DATA: the text has come, nothing is kept. ACCEPTED: it is kept, not yet answered.
STAGES = ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "ACCEPTED")


@dataclass
class Fault:
    """What happens at a stage instead of success, for the next `times` times (None: always)."""

    stage: str
    action: str
    times: int | None


class SMTPServer:
    """A server on a free loopback port, in a thread of its own, that parses and keeps every message.

    `options` go to aiosmtpd: `authenticator`, `auth_required`, `tls_context`, `require_starttls` and so on.
    """

    host = "127.0.0.1"

    def __init__(self, **options: Any) -> None:
        self.port = 0
        self.messages: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.connections = 0
        self._options = options
        self._faults: list[Fault] = []
        self._changed = threading.Condition()
        self._controller: _Controller | None = None

    def start(self) -> Self:
        """Listen; after a `stop`, on the same port as before."""
        listener = socket.create_server((self.host, self.port))
        self.port = listener.getsockname()[1]
        self._controller = _Controller(self, listener, self._options)
        self._controller.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection; what was received stays."""
        if self._controller is None:
            return
        self._controller.stop()
        self._controller = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The server as django-environ's EMAIL_URL."""
        return f"smtp://{self.host}:{self.port}"

    def wait_for(self, count: int, timeout: float = 60) -> list[EmailMessage]:
        """All messages, as soon as there are `count`; else a TimeoutError that lists the subjects."""
        with self._changed:
            if self._changed.wait_for(lambda: len(self.messages) >= count, timeout):
                return list(self.messages)
            subjects = [message["Subject"] for message in self.messages]
        raise TimeoutError(f"{len(subjects)} of {count} messages came within {timeout} s: {subjects}")

    def wait_for_connections(self, count: int, timeout: float = 60) -> int:
        """The number of connections ever made, as soon as it is at least `count`."""
        with self._changed:
            if self._changed.wait_for(lambda: self.connections >= count, timeout):
                return self.connections
        raise TimeoutError(f"{self.connections} of {count} connections came within {timeout} s")

    def answer(self, reply: str, *, at: str = "DATA", times: int | None = 1) -> None:
        """Give this reply ("451 Try later") at a stage instead of success."""
        self._add(at, reply, times)

    def hang(self, *, at: str = "DATA", times: int | None = 1) -> None:
        """Don't answer at a stage, until the client goes or the server stops."""
        self._add(at, "hang", times)

    def drop(self, *, at: str = "DATA", times: int | None = 1) -> None:
        """Reset the connection at a stage."""
        self._add(at, "drop", times)

    def behave(self) -> None:
        """Forget every fault that is still to come."""
        with self._changed:
            self._faults.clear()

    def _add(self, stage: str, action: str, times: int | None) -> None:
        if stage not in STAGES:
            raise ValueError(f"{stage!r} isn't one of {STAGES}")
        with self._changed:
            self._faults.append(Fault(stage, action, times))

    def _take(self, stage: str) -> str:
        with self._changed:
            for fault in self._faults:
                if fault.stage != stage:
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if not fault.times:
                        self._faults.remove(fault)
                return fault.action
        return ""

    def _connected(self) -> None:
        with self._changed:
            self.connections += 1
            self._changed.notify_all()

    def _keep(self, envelope: Envelope) -> None:
        message = message_from_bytes(cast(bytes, envelope.content), policy=policy.default)
        with self._changed:
            self.messages.append(message)
            self.envelopes.append(envelope)
            self._changed.notify_all()


class _Protocol(SMTP):
    """One connection."""

    async def strike(self, stage: str) -> str:
        """The reply that a fault asks for at this stage, or "" to go on."""
        action = self.event_handler.server._take(stage)
        if action == "hang":
            await asyncio.get_running_loop().create_future()
        if action == "drop":
            self._wire.abort()
            return "421 Gone"
        return cast(str, action)

    async def _handle_client(self) -> None:
        if not self.event_handler.ready:
            return await super()._handle_client()
        self.event_handler.server._connected()
        reply = await self.strike("CONNECT")
        if not reply:
            return await super()._handle_client()
        if not self._wire.is_closing():
            await self.push(reply)
            self._wire.close()
        return None

    @property
    def _wire(self) -> asyncio.Transport:
        return cast(asyncio.Transport, self.transport)

    def connection_made(self, transport: Any) -> None:
        # asyncio does it only for sockets that were made with the protocol's number. Without it the answer to
        # EHLO, which has several lines, waits 45 ms for the client's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.event_handler.transports.add(transport)
        super().connection_made(transport)


class _Hooks:
    """aiosmtpd's hooks: each asks for a fault first."""

    def __init__(self, server: SMTPServer) -> None:
        self.server = server
        self.transports: set[asyncio.Transport] = set()
        self.ready = False

    async def handle_EHLO(
        self, smtp: _Protocol, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        reply = await smtp.strike("EHLO")
        return [reply] if reply else responses

    async def handle_MAIL(
        self, smtp: _Protocol, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await smtp.strike("MAIL")
        if reply:
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, smtp: _Protocol, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await smtp.strike("RCPT")
        if reply:
            return reply
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, smtp: _Protocol, session: Session, envelope: Envelope) -> str:
        reply = await smtp.strike("DATA")
        if reply:
            return reply
        self.server._keep(envelope)
        return await smtp.strike("ACCEPTED") or "250 OK"


class _Controller(Controller):
    """aiosmtpd's thread on a socket that already listens: no port is lost between finding and using it."""

    def __init__(self, server: SMTPServer, listener: socket.socket, options: dict[str, Any]) -> None:
        self.listener = listener
        super().__init__(
            _Hooks(server), server.host, listener.getsockname()[1], data_size_limit=None, **options
        )

    def factory(self) -> _Protocol:
        return _Protocol(self.handler, **self.SMTP_kwargs)

    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        return cast(
            Awaitable[asyncio.AbstractServer],
            self.loop.create_server(self._factory_invoker, sock=self.listener, ssl=self.ssl_context),
        )

    def start(self) -> None:
        super().start()
        self.handler.ready = True

    def stop(self, no_assert: bool = False) -> None:
        # Since Python 3.12 a server waits for its connections when it closes, a hanging one forever.
        self.loop.call_soon_threadsafe(self._abort)
        super().stop(no_assert)

    def _abort(self) -> None:
        for transport in self.handler.transports:
            transport.abort()
