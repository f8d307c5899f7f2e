"""Certificates made for a test, by an authority that nobody trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


def server_context(host: str) -> ssl.SSLContext:
    """A server's side of TLS for that host."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert(host).configure_cert(context)
    return context


def client_files(folder: Path) -> tuple[str, str]:
    """The paths of a client's key and certificate."""
    certificate = trustme.CA().issue_cert("client@example.com")
    key, chain = folder / "client.key", folder / "client.pem"
    certificate.private_key_pem.write_to_path(str(key))
    certificate.cert_chain_pems[0].write_to_path(str(chain))
    return str(key), str(chain)
