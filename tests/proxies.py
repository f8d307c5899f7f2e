"""A TCP proxy in front of a server: it can refuse, freeze, and come back, while the server itself goes on."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards connections on a free loopback port to the server of a database URL.

    `freeze`: connections are accepted, and nothing ever answers. `refuse`: they are reset, and the port is
    closed. `restore`: what was frozen is reset, and everything is forwarded again.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        default = 5432 if "postgres" in parts.scheme else 3306
        self._server = (parts.hostname or "127.0.0.1", parts.port or default)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        user = f"{parts.username}:{parts.password}@" if parts.password else f"{parts.username}@"
        self.url = parts._replace(netloc=f"{user}127.0.0.1:{self.port}").geturl()
        self._frozen = False
        self._connections: set[socket.socket] = set()
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._closed = True
        self.refuse()

    def freeze(self) -> None:
        self._frozen = True

    def refuse(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._reset_connections()

    def restore(self) -> None:
        self._reset_connections()
        self._frozen = False
        if self._listener.fileno() < 0:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._listen()

    def _reset_connections(self) -> None:
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    connection.shutdown(socket.SHUT_RDWR)
            self._connections.clear()

    def _listen(self) -> None:
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _address = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            with self._lock:
                self._connections |= {client, server}
            with contextlib.suppress(OSError):
                self._forward(client, server)
            with self._lock:
                self._connections -= {client, server}

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            for source in select.select([client, server], [], [], 0.05)[0]:
                while self._frozen and client in self._connections:
                    select.select([], [], [], 0.05)
                data = source.recv(65536)
                if not data:
                    return
                (server if source is client else client).sendall(data)
