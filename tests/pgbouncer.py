"""A real PgBouncer in transaction mode, in front of the test server of PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import psycopg

from tests.databases import lack
from tests.sites import wait_for

CONFIGURATION = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = {clients}
query_wait_timeout = {wait}
server_lifetime = 5
"""


class PgBouncer:
    """Its ``url`` is that of a database behind it.

    ``pool_size``: connections to the server that all clients share. ``server_lifetime`` is short, so that
    they are changed in the middle of a test.
    """

    def __init__(self, url: str, *, pool_size: int = 3, clients: int = 100, wait: float = 120) -> None:
        self.program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        if self.program is None:
            lack("pgbouncer isn't installed")
        parts = urlsplit(url)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.url = parts._replace(netloc=f"{parts.username}@127.0.0.1:{self.port}").geturl()
        self._configuration = CONFIGURATION.format(
            host=parts.hostname,
            port=parts.port or 5432,
            user=f"{parts.username} password={parts.password}" if parts.password else parts.username,
            listen_port=self.port,
            pool_size=pool_size,
            clients=clients,
            wait=wait,
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Self:
        # It refuses to be root, and another user must be able to read this.
        folder = Path(self._exits.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        folder.chmod(0o755)
        self._path = folder / "pgbouncer.ini"
        self._path.write_text(self._configuration)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.kill()
        self._exits.close()

    def start(self) -> None:
        """Start it, again after a `kill`, on the same port."""
        assert self.program is not None
        is_root = os.geteuid() == 0
        self._process = subprocess.Popen(
            [self.program, "-q", str(self._path)],
            user="nobody" if is_root else None,
            group="nogroup" if is_root else None,
            extra_groups=[] if is_root else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._answers)

    def kill(self) -> None:
        """Kill it: all connections are reset, and the port is closed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let clients connect and ask, and give none of them a server."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR2)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "pgbouncer doesn't start"
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url):
            return True
        return False
