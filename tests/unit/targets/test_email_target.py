from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
import threading
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import compat32
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider.targets import Outcome
from ml_event_provider.targets.email import EmailTarget
from ml_event_provider.targets.network import Network, short
from tests.peers.certificates import Authority
from tests.peers.receiver import closed_port
from tests.peers.samples import SampleConnection, sample_message
from tests.peers.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_700_000_000.0
PLAIN = {"disable_ssl": True, "disable_tls": True, "from_email": "ML events <ml@airflow.example>"}


@pytest.fixture
def target(network: Network) -> EmailTarget:
    return EmailTarget(network, now=lambda: NOW)


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


def decoded(content: bytes, name: str) -> str:
    """A header as its reader sees it: raw, without quotes, and with its encoded words decoded, once."""
    raw = str(message_from_bytes(content, policy=compat32)[name])
    return str(make_header(decode_header(re.sub(r"\\(.)", r"\1", re.sub(r'"\s+<', " <", raw).removeprefix('"')))))


def connection(server: MailServer, **changes: Any) -> SampleConnection:
    extra = {**PLAIN, "to": "ann@team.example, bob@team.example", **changes.pop("extra", {})}
    return SampleConnection(conn_type="smtp", host="127.0.0.1", port=server.port, extra=extra, **changes)


def test_a_mail_has_text_html_and_headers(target: EmailTarget, server: MailServer) -> None:
    message = sample_message(parts={"html": "<p>größer <b>大</b></p>"})
    result = target.send(connection(server), message, timeout=5)
    assert (result.outcome, result.code) == (Outcome.DELIVERED, "250")
    assert result.recipients == {"ann@team.example": "delivered", "bob@team.example": "delivered"}
    (mail,) = server.mails
    assert mail.sender == "ml@airflow.example"
    assert mail.recipients == ["ann@team.example", "bob@team.example"]
    parsed = mail.message
    assert parsed["From"] == "ML events <ml@airflow.example>"
    assert parsed["To"] == "ann@team.example, bob@team.example"
    assert parsed["Subject"] == "Task fit of train failed"
    assert parsed["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert parsed["Message-ID"] == "<ml-event-delivery-1@airflow.example>"
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed.get_content_type() == "multipart/alternative"
    text, html = parsed.iter_parts()
    assert text.get_content().strip() == "The task **fit** failed: ValueError größer 大"
    assert html.get_content().strip() == "<p>größer <b>大</b></p>"
    assert mail.content.isascii()


def test_a_mail_without_html_is_plain_text(target: EmailTarget, server: MailServer) -> None:
    target.send(connection(server), sample_message(), timeout=5)
    assert server.mails[0].message.get_content_type() == "text/plain"


@pytest.mark.parametrize(
    ("option", "recipients"),
    [
        (["eve@x.example"], ["eve@x.example"]),
        ("eve@x.example; Max Muster <max@x.example>", ["eve@x.example", "max@x.example"]),
        (["eve@x.example", "eve@x.example"], ["eve@x.example"]),
        ('"Muster, Max" <max@x.example>', ["max@x.example"]),
        ("postmaster@bücher.example", ["postmaster@xn--bcher-kva.example"]),
    ],
)
def test_the_rules_recipients_replace_the_connections(
    target: EmailTarget, server: MailServer, option: Any, recipients: list[str]
) -> None:
    target.send(connection(server), sample_message(options={"to": option}), timeout=5)
    assert server.mails[0].recipients == recipients


def test_one_refused_recipient_does_not_hide_behind_the_others(target: EmailTarget, server: MailServer) -> None:
    server.refuse["bob@team.example"] = "550 5.1.1 no such user"
    result = target.send(connection(server), sample_message(), timeout=5)
    assert result.outcome is Outcome.DELIVERED
    assert result.recipients == {
        "ann@team.example": "delivered",
        "bob@team.example": "550 5.1.1 no such user",
    }
    assert result.reason == "taken for 1 of 2; bob@team.example: 550 5.1.1 no such user"
    assert server.received_by() == {"ann@team.example": 1}


def test_a_recipient_that_is_put_off_gets_the_next_try_alone(target: EmailTarget, server: MailServer) -> None:
    server.refuse["bob@team.example"] = "450 4.2.1 mailbox busy"
    first = target.send(connection(server), sample_message(), timeout=5)
    assert (first.outcome, first.code) == (Outcome.RETRY, "450")
    assert first.recipients["ann@team.example"] == "delivered"
    assert first.recipients["bob@team.example"] == "450 4.2.1 mailbox busy"
    server.refuse.clear()
    done = [who for who, answer in first.recipients.items() if answer == "delivered"]
    second = target.send(connection(server), sample_message(options={"skip_recipients": done}), timeout=5)
    assert second.outcome is Outcome.DELIVERED
    assert second.recipients == {"ann@team.example": "delivered", "bob@team.example": "delivered"}
    assert server.received_by() == {"ann@team.example": 1, "bob@team.example": 1}
    assert server.mails[0].message["Message-ID"] == server.mails[1].message["Message-ID"]
    assert server.mails[1].message["To"] == "ann@team.example, bob@team.example"


def test_who_has_the_mail_is_known_also_when_the_next_try_fails(target: EmailTarget) -> None:
    dead = SampleConnection(
        conn_type="smtp",
        host="127.0.0.1",
        port=closed_port(),
        extra={**PLAIN, "to": "ann@x.example,bob@x.example"},
    )
    result = target.send(dead, sample_message(options={"skip_recipients": ["ann@x.example"]}), timeout=5)
    assert (result.outcome, result.code) == (Outcome.RETRY, "connection refused")
    assert result.recipients == {"ann@x.example": "delivered"}


def test_when_all_have_it_nothing_is_sent(target: EmailTarget, server: MailServer) -> None:
    options = {"skip_recipients": ["ann@team.example", "bob@team.example"]}
    assert target.send(connection(server), sample_message(options=options), timeout=5).outcome is Outcome.DELIVERED
    assert server.mails == []


def test_refused_for_all_is_refused(target: EmailTarget, server: MailServer) -> None:
    server.refuse |= {"ann@team.example": "550 no", "bob@team.example": "553 never"}
    result = target.send(connection(server), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "550")
    assert result.recipients == {"ann@team.example": "550 no", "bob@team.example": "553 never"}
    assert server.mails == []


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("552 5.3.4 message too big", Outcome.REFUSED),
        ("554 5.7.1 this is spam", Outcome.REFUSED),
        ("451 4.3.0 try later", Outcome.RETRY),
        ("452 4.3.1 disk full", Outcome.RETRY),
        ("421 4.3.2 shutting down", Outcome.RETRY),
    ],
)
def test_a_message_that_is_refused_as_a_whole(
    target: EmailTarget, server: MailServer, reply: str, outcome: Outcome
) -> None:
    server.data_reply = reply
    result = target.send(connection(server), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (outcome, reply[:3])
    assert set(result.recipients.values()) == {reply}


@pytest.mark.parametrize(
    "address",
    [
        "no at",
        "a@b@c.example",
        "a@",
        "@b.example",
        "a b@c.example",
        "a@b.example\x00",
        "x" * 65 + "@b.example",
    ],
)
def test_what_is_no_address_is_refused_without_harm_to_others(
    target: EmailTarget, server: MailServer, address: str
) -> None:
    result = target.send(connection(server), sample_message(options={"to": ["ann@x.example", address]}), timeout=5)
    assert result.recipients["ann@x.example"] == "delivered"
    assert all(mail.recipients == ["ann@x.example"] for mail in server.mails)


@pytest.mark.parametrize(
    "evil",
    [
        "x\r\nBcc: evil@x.example",
        "x\nBcc: evil@x.example",
        "x\rBcc: evil",
        "x\u2028Bcc: evil@x.example",
        "x\x0bBcc: y",
        "=?utf-8?q?hi=0D=0ABcc=3A_evil=40x.example=0D=0A=0D=0A<b>phish</b>?=",
        "=?utf-8?b?aGkNCkJjYzogZXZpbEB4LmV4YW1wbGUNCg0KPGI+cGhpc2g8L2I+?=",
        "=?us-ascii?Q?=0ABcc:_evil@x.example?= =?utf-8?q?=0A=0Abody?=",
    ],
)
def test_no_text_can_add_a_header_or_a_recipient(target: EmailTarget, server: MailServer, evil: str) -> None:
    message = sample_message(title=evil, delivery_id=evil, body=f"{evil}\r\n.\r\nMAIL FROM:<evil@x.example>")
    mailer = connection(server, extra={"from_email": f"{evil} <ml@airflow.example>"})
    result = target.send(mailer, message, timeout=5)
    assert server.received_by() == {"ann@team.example": 1, "bob@team.example": 1}, result
    (mail,) = server.mails
    assert mail.message["Bcc"] is None
    assert len(mail.message.defects) == 0
    assert "MAIL FROM:<evil@x.example>" in mail.message.get_content()
    assert decoded(mail.content, "Subject") == short(evil)
    assert [one.addr_spec for one in mail.message["From"].addresses] == ["ml@airflow.example"]


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        ("Öps (ML) <ml@airflow.example>", "Öps (ML)"),
        ("Öps, ML <ml@airflow.example>", "Öps, ML"),
        ('"Öps, ML" <ml@airflow.example>', "Öps, ML"),
        ("Ops, ML; a@b <ml@airflow.example>", "Ops, ML; a@b"),
        ('"O\\"Brien" <ml@airflow.example>', 'O"Brien'),
        ("ml@airflow.example (Ops)", "Ops"),
        ("=?utf-8?q?a=2C_b?= <ml@airflow.example>", "=?utf-8?q?a=2C_b?="),
        ("大" * 60 + " <ml@airflow.example>", "大" * 60),
        ("n" * 200 + " <ml@airflow.example>", "n" * 200),
        ("ml@airflow.example", ""),
        ("<ml@airflow.example>", ""),
    ],
)
@pytest.mark.parametrize("to", ["ann@x.example", "jürgen@x.example"], ids=["ascii", "smtputf8"])
def test_a_senders_name_is_one_name_whatever_stands_in_it(
    target: EmailTarget, server: MailServer, sender: str, name: str, to: str
) -> None:
    mailer = connection(server, extra={"from_email": sender})
    result = target.send(mailer, sample_message(options={"to": to}, title="größer"), timeout=5)
    assert result.outcome is Outcome.DELIVERED, result
    (mail,) = server.mails
    assert mail.content.count(b"From:") == 1
    assert decoded(mail.content, "From") == (f"{name} <ml@airflow.example>" if name else "ml@airflow.example")
    assert [one.addr_spec for one in mail.message["From"].addresses] == ["ml@airflow.example"]
    assert (mail.message["To"], decoded(mail.content, "Subject")) == (to, "größer")
    assert max(map(len, mail.content.split(b"\r\n"))) <= 78


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("info@straße.example", "info@xn--strae-oqa.example"),
        ("info@STRASSE.example", "info@strasse.example"),
        ("Info@Bücher.Example", "Info@xn--bcher-kva.example"),
        ("a@βόλος.example", "a@xn--nxasmm1c.example"),
        ("a@xn--strae-oqa.example", "a@xn--strae-oqa.example"),
        ("a@日本語。example", "a@xn--wgv71a119e.example"),
        # A Cyrillic letter among Latin ones: a domain of its own, which its ASCII form shows.
        ("a@\u0430pple.example", "a@xn--pple-43d.example"),
    ],
)
def test_a_domain_is_the_one_that_was_written(
    target: EmailTarget, server: MailServer, address: str, taken: str
) -> None:
    mailer = connection(server, extra={"from_email": address})
    result = target.send(mailer, sample_message(options={"to": [address]}), timeout=5)
    assert result.recipients == {address: "delivered"}
    (mail,) = server.mails
    assert (mail.sender, mail.recipients, str(mail.message["To"])) == (taken, [taken], taken)


@pytest.mark.parametrize("address", ["a@ex\u200dample.example", "a@-.\u200d", "a@ex..ample", "a\u200d@x.example"])
def test_a_domain_that_can_be_none_is_refused_with_the_reason(
    target: EmailTarget, server: MailServer, address: str
) -> None:
    result = target.send(connection(server), sample_message(options={"to": [address]}), timeout=5)
    assert result.outcome is Outcome.REFUSED
    assert result.recipients[address].startswith("553 5.1.3 ")
    assert server.mails == []


def test_addresses_beyond_ascii_use_smtputf8(target: EmailTarget, server: MailServer) -> None:
    result = target.send(connection(server), sample_message(options={"to": "jürgen@x.example"}), timeout=5)
    assert result.outcome is Outcome.DELIVERED, result
    assert server.mails[0].recipients == ["jürgen@x.example"]


@pytest.mark.parametrize("to", [None, "", [], " , "])
def test_without_recipients_nothing_is_sent(target: EmailTarget, server: MailServer, to: Any) -> None:
    result = target.send(connection(server, extra={"to": to}), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "unusable")
    assert "'to'" in result.reason


def test_the_login_is_the_sender_where_none_is_given(target: EmailTarget, server: MailServer) -> None:
    mailer = connection(server, login="login@airflow.example", extra={"from_email": None})
    target.send(mailer, sample_message(), timeout=5)
    assert server.mails[0].sender == "login@airflow.example"
    nobody = target.send(connection(server, extra={"from_email": ""}), sample_message(), timeout=5)
    assert (nobody.outcome, nobody.code) == (Outcome.REFUSED, "unusable")


def test_login_and_password_are_used(target: EmailTarget) -> None:
    with MailServer(login=("me", "pass-0123456789")) as server:
        right = connection(server, login="me", password="pass-0123456789")
        wrong = connection(server, login="me", password="wrong-9876543210")
        assert target.send(right, sample_message(), timeout=5).outcome is Outcome.DELIVERED
        assert server.mails[0].login == "me"
        result = target.send(wrong, sample_message(), timeout=5)
        assert target.check(right, timeout=5).outcome is Outcome.DELIVERED
        assert target.check(wrong, timeout=5).code == "535"
    assert (result.outcome, result.code) == (Outcome.REFUSED, "535")
    # The server repeated the password.
    assert result.reason == "5.7.8 wrong password ***"


def test_a_server_without_login_is_told(target: EmailTarget, server: MailServer) -> None:
    result = target.send(connection(server, login="me", password="password-1"), sample_message(), timeout=5)
    assert result.outcome is Outcome.REFUSED
    assert "login" in result.reason


@pytest.mark.parametrize("way", ["ssl", "starttls"])
def test_tls_verifies_the_servers_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: EmailTarget, way: str
) -> None:
    authority = Authority(tmp_path)
    context = authority.server_context("127.0.0.1")
    server = MailServer(tls=context) if way == "ssl" else MailServer(starttls=context)
    if way == "ssl":
        # aiosmtpd's own first connection to itself.
        monkeypatch.setattr(ssl, "create_default_context", _unverified(ssl.create_default_context))
    with server:
        monkeypatch.undo()
        extra = {"disable_ssl": way != "ssl", "disable_tls": False}
        unknown = target.send(connection(server, extra=extra), sample_message(), timeout=5)
        accepted = target.send(connection(server, extra={**extra, "ssl_context": "none"}), sample_message(), timeout=5)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        trusted = target.send(connection(server, extra=extra), sample_message(), timeout=5)
    assert (unknown.outcome, unknown.code) == (Outcome.RETRY, "TLS")
    assert accepted.outcome is Outcome.DELIVERED
    assert trusted.outcome is Outcome.DELIVERED


def _unverified(original: Any) -> Any:
    def make(*args: Any, **options: Any) -> ssl.SSLContext:
        context: ssl.SSLContext = original(*args, **options)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    return make


def test_a_server_without_starttls_is_refused_with_what_to_do(target: EmailTarget, server: MailServer) -> None:
    result = target.send(connection(server, extra={"disable_tls": False}), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "unusable")
    assert "disable_tls" in result.reason
    assert server.mails == []


def test_oauth_without_credentials_is_refused(target: EmailTarget, server: MailServer) -> None:
    result = target.send(connection(server, extra={"auth_type": "oauth2"}), sample_message(), timeout=5)
    assert result.outcome is Outcome.REFUSED
    assert "access_token" in result.reason


class Scripted:
    """A server that says what the test wants, a line each, with a wait before each byte."""

    def __init__(self, *lines: bytes, drip: float = 0.0) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lines, self._drip, self._end = lines, drip, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Scripted:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._listener.close()
        self._thread.join(5)

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(5)
            try:
                for line in self._lines:
                    for index in range(len(line)):
                        connection.sendall(line[index : index + 1])
                        if self._drip and self._end.wait(self._drip):
                            return
                    connection.recv(4096)
            except OSError:
                return


@pytest.mark.parametrize(
    ("lines", "drip", "outcome", "code"),
    [
        ([b"554 5.3.2 no service here\r\n"], 0, Outcome.REFUSED, "554"),
        ([b"421 4.3.2 too many connections\r\n"], 0, Outcome.RETRY, "421"),
        ([b"220 hello\r\n"], 0, Outcome.RETRY, "reset"),
        ([b"220 " + b"x" * 1000 + b"\r\n"], 0.05, Outcome.RETRY, "timeout"),
        ([b"220 hello\r\n", b"250 " + b"y" * 1000 + b"\r\n"], 0.05, Outcome.RETRY, "timeout"),
        ([b"220 hello\r\n", b"250 ok\r\n", b"550 5.7.1 sender refused\r\n"], 0, Outcome.REFUSED, "550"),
        ([b"220 hello\r\n", b"250 ok\r\n", b"451 4.7.1 greylisted\r\n"], 0, Outcome.RETRY, "451"),
        (
            [b"220 hello\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"],
            0,
            Outcome.RETRY,
            "reset",
        ),
    ],
    ids=[
        "no service",
        "busy",
        "hangs up",
        "drips",
        "drips later",
        "sender refused",
        "greylisted",
        "lost in data",
    ],
)
def test_what_a_server_does_to_the_session_is_a_result(
    target: EmailTarget, lines: list[bytes], drip: float, outcome: Outcome, code: str
) -> None:
    with Scripted(*lines, drip=drip) as scripted:
        extra = {**PLAIN, "to": "ann@x.example, bob@x.example"}
        mailer = SampleConnection(conn_type="smtp", host="127.0.0.1", port=scripted.port, extra=extra)
        result = target.send(mailer, sample_message(), timeout=0.6 if drip else 5)
    assert (result.outcome, result.code) == (outcome, code), result


def test_a_reply_that_goes_on_and_on_is_given_up_before_it_fills_the_memory(target: EmailTarget) -> None:
    sent = 0

    def talk(listener: socket.socket) -> None:
        nonlocal sent
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            while True:
                sent += connection.send((b"220-" + b"x" * 1000 + b"\r\n") * 50)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=talk, args=(listener,), daemon=True)
        server.start()
        mailer = SampleConnection(
            conn_type="smtp", host="127.0.0.1", port=listener.getsockname()[1], extra={**PLAIN, "to": "ann@x.example"}
        )
        # More time than any test has: what ends it is not the time.
        result = target.send(mailer, sample_message(), timeout=3600)
        server.join(30)
    assert (result.outcome, result.code) == (Outcome.RETRY, "timeout")
    assert not server.is_alive()
    # What the sockets' buffers took, and no more.
    assert sent < 50_000_000


def test_the_mail_server_is_guarded_like_a_url(server: MailServer) -> None:
    target = EmailTarget(Network(allowed_hosts=lambda: ()))
    result = target.send(connection(server), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "forbidden address")
    assert server.mails == []


def test_a_mail_server_is_the_one_that_was_written(server: MailServer) -> None:
    asked: list[str] = []

    def resolve(name: str, port: int, **_: Any) -> list[Any]:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    target = EmailTarget(Network(allowed_hosts=lambda: ("straße.example",), resolver=resolve))
    mailer = connection(server)
    mailer.host = "Straße.example"
    assert target.send(mailer, sample_message(), timeout=5).outcome is Outcome.DELIVERED
    assert asked == ["xn--strae-oqa.example"]
    mailer.host = "a\u200db.example"
    result = target.send(mailer, sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "unusable")
    assert "is no host name" in result.reason


def test_the_check_greets_and_sends_nothing(target: EmailTarget, server: MailServer) -> None:
    result = target.check(connection(server), timeout=5)
    assert (result.outcome, result.code) == (Outcome.DELIVERED, "250")
    assert server.mails == []


def test_smtplib_would_call_a_half_refused_mail_a_success(server: MailServer) -> None:
    """The behaviour that makes this target necessary."""
    server.refuse["bob@team.example"] = "550 5.1.1 no such user"
    with smtplib.SMTP("127.0.0.1", server.port) as client:
        refused = client.sendmail("ml@x.example", ["ann@team.example", "bob@team.example"], "Subject: x\r\n\r\ny")
    assert set(refused) == {"bob@team.example"}
