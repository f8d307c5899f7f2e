"""The tests' mail server does what the tests ask of it."""

import smtplib
import socket
from email.message import EmailMessage

import pytest

from tests.smtp import SMTPServer


def send(server: SMTPServer, subject: str = "hello", timeout: float = 5) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", subject
    message.set_content("text")
    with smtplib.SMTP(server.host, server.port, timeout=timeout) as client:
        client.send_message(message)


@pytest.fixture
def server() -> SMTPServer:
    return SMTPServer()


def test_messages_are_parsed_and_connections_counted(server: SMTPServer) -> None:
    with server:
        send(server, "first")
        send(server, "second")
        messages = server.wait_for(2)

    assert [message["Subject"] for message in messages] == ["first", "second"]
    assert server.envelopes[0].rcpt_tos == ["b@example.com"]
    assert server.connections == 2


def test_waiting_in_vain_says_what_came(server: SMTPServer) -> None:
    with server:
        send(server)
        with pytest.raises(TimeoutError, match=r"1 of 2 messages .*\['hello'\]"):
            server.wait_for(2, timeout=0.01)


@pytest.mark.parametrize(
    ("stage", "error", "code"),
    [
        ("CONNECT", smtplib.SMTPConnectError, 421),
        ("MAIL", smtplib.SMTPSenderRefused, 451),
        ("RCPT", smtplib.SMTPRecipientsRefused, 450),
        ("DATA", smtplib.SMTPDataError, 552),
    ],
)
def test_a_reply_is_given_once(
    server: SMTPServer, stage: str, error: type[smtplib.SMTPException], code: int
) -> None:
    with server:
        server.answer(f"{code} no", at=stage)
        with pytest.raises(error, match=str(code)):
            send(server)
        send(server)

    assert len(server.messages) == 1


@pytest.mark.parametrize(("stage", "kept"), [("CONNECT", 0), ("EHLO", 0), ("DATA", 0), ("ACCEPTED", 1)])
def test_a_dropped_connection_is_an_error_for_the_client(server: SMTPServer, stage: str, kept: int) -> None:
    with server:
        server.drop(at=stage)
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            send(server)

    assert len(server.messages) == kept


def test_a_hanging_server_can_be_stopped(server: SMTPServer) -> None:
    with server:
        server.hang(at="DATA", times=None)
        with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
            send(server, timeout=0.2)


def test_it_comes_back_on_the_same_port(server: SMTPServer) -> None:
    server.start()
    port = server.port
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, port), timeout=1)

    with server:
        send(server)

    assert server.port == port
    assert len(server.messages) == 1


def test_an_unknown_stage_is_refused(server: SMTPServer) -> None:
    with pytest.raises(ValueError, match="'HELO' isn't one of"):
        server.drop(at="HELO")
