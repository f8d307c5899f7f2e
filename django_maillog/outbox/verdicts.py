"""What a mailer says, or raises, becomes a verdict: sent, to be tried again, or never."""

from __future__ import annotations

import smtplib
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

# RFC 4954: they speak of the connection, not of the message.
AUTHENTICATION_CODES = frozenset({530, 534, 535, 538})
TOO_LARGE = frozenset({413, 523, 552})  # HTTP's, and SMTP's (RFC 1870, 3463)
# HTTP statuses of an API that say "later": time-out, too early, too many requests.
LATER = frozenset({408, 425, 429})
# Codes of AWS' errors that say the same, with status 400; an expired token is renewed.
AWS_LATER = ("Throttl", "TooManyRequests", "LimitExceeded", "ExpiredToken")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How a try ended.

    ``sent``, and ``confirmed`` unless the backend said that it sent nothing; or else ``retry``, later or
    never; ``handed_over``: the server was given the message, and may have it; ``connection_lost``: the next
    message needs a new connection; ``unreachable``: it won't get one now; ``too_large``: less of it may pass;
    ``error``: what the server said.
    """

    sent: bool = False
    confirmed: bool = True
    retry: bool = False
    handed_over: bool = True
    connection_lost: bool = False
    unreachable: bool = False
    too_large: bool = False
    error: str = ""


def unreachable(error: Exception) -> Verdict:
    """What an error means that keeps us from the mailer."""
    return Verdict(
        retry=True, handed_over=False, connection_lost=True, unreachable=True, error=_describe(error)
    )


def classify(error: Exception) -> Verdict:
    """What an error while sending means (RFC 5321, 4.2.1: 4xx is worth another try, 5xx is not)."""
    text = _describe(error)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _answer in error.recipients.values()]
        return Verdict(retry=any(code < 500 for code in codes), error=text)
    if isinstance(error, smtplib.SMTPResponseException):
        code = error.smtp_code
        of_connection = code in AUTHENTICATION_CODES or code == 421
        return Verdict(
            retry=code < 500 or of_connection,
            connection_lost=of_connection,
            too_large=code in TOO_LARGE,
            error=text,
        )
    status = _http_status(error)
    if status is not None:
        is_final = 400 <= status < 500 and status not in LATER
        return Verdict(retry=not is_final, too_large=status in TOO_LARGE, error=text)
    # Anymail's: the service refuses all recipients, and will again.
    if any(kind.__name__ == "AnymailRecipientsRefused" for kind in type(error).__mro__):
        return Verdict(error=text)
    # SMTPServerDisconnected, a time-out, a reset: it may or may not have the message.
    if isinstance(error, OSError):
        return Verdict(retry=True, connection_lost=True, error=text)
    # A bad address, a header that can't be: never better. Of another backend's error nothing is known.
    return Verdict(retry=not isinstance(error, (ValueError, TypeError)), error=text)


def _http_status(error: Exception) -> int | None:
    """The answer of a mail service's API, as anymail, boto and HTTP libraries say it."""
    if isinstance(error, HTTPError):
        return error.code
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return _aws_status(response)
    for holder in (error, response):
        status = getattr(holder, "status_code", None)
        if type(status) is int:
            return status
    return None


def _aws_status(response: dict[str, Any]) -> int | None:
    """The status in what boto's ClientError holds, and anymail passes on; None if it is something else."""
    try:
        status, code = response["ResponseMetadata"]["HTTPStatusCode"], str(response["Error"]["Code"])
    except (KeyError, TypeError):
        return None
    if any(word in code for word in AWS_LATER):
        return 429
    return status if type(status) is int else None


def _describe(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return describe_refused(error.recipients)
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_decode(error.smtp_error)}"
    return f"{type(error).__name__}: {error}"[:1000]


def describe_refused(refused: dict[str, Any]) -> str:
    """Who was refused, and why."""
    return "; ".join(f"{address}: {code} {_decode(answer)}" for address, (code, answer) in refused.items())[
        :1000
    ]


def _decode(answer: bytes | str) -> str:
    return (answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer))[:500]
