"""An SMTP connection from the arguments of the standard library's ``SMTPHandler``."""

from __future__ import annotations

import ssl
from functools import cached_property
from typing import Any

from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend

from ..compat import HAS_MAILERS


class SMTPBackend(EmailBackend):
    """Django's SMTP backend with the TLS of the standard library's ``SMTPHandler``.

    Like ``smtplib.SMTP.starttls()`` without a context it encrypts but does not verify the server's
    certificate, so that a relay with a self-signed certificate goes on working when the handler's dotted path
    changes. Where the certificate must be verified, leave ``mailhost`` out and let the project's mailer
    (``EMAIL_*`` or ``MAILERS``) send.
    """

    secure: tuple[str, ...] = ()

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if self.secure:
            keyfile, certfile = self.secure[0], self.secure[-1]
            context.load_cert_chain(certfile, keyfile)
        return context


def smtp_connection(
    *,
    host: str,
    port: int | None,
    username: str | None,
    password: str | None,
    timeout: float | None,
    secure: tuple[str, ...] | None,
) -> BaseEmailBackend:
    """A connection from the arguments of the stdlib's ``SMTPHandler``, whatever the project's settings."""
    options: dict[str, Any] = {
        "host": host,
        "port": port or 25,
        # Empty strings, because None means "as in the settings" to Django before 6.1.
        "username": username or "",
        "password": password or "",
        # The standard library uses TLS with credentials only.
        "use_tls": bool(username) and secure is not None,
        "use_ssl": False,
        "timeout": timeout,
        "ssl_keyfile": "",
        "ssl_certfile": "",
    }
    if HAS_MAILERS:
        options["alias"] = "django_maillog"  # with an alias Django 6.1 reads no EMAIL_* setting
    backend = SMTPBackend(**options)
    backend.secure = secure or ()
    backend.timeout = timeout  # before Django 6.1, None was taken for EMAIL_TIMEOUT
    return backend
