"""A mail server (aiosmtpd) that answers each recipient as told and keeps what it took.

with MailServer(refuse={"gone@example.com": "550 5.1.1 no such user"}) as server:
    …
    assert server.mails[0].recipients == ["ok@example.com"]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING, Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from email.message import EmailMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message that was taken."""

    sender: str
    recipients: list[str]
    content: bytes
    login: str

    @property
    def message(self) -> EmailMessage:
        """The content, parsed."""
        return message_from_bytes(self.content, policy=default)  # type: ignore[return-value]


@dataclass(kw_only=True)
class MailServer:
    """A server on a loopback port.

    :param refuse: replies to ``RCPT TO`` by recipient; all others are taken. May be changed while it runs.
    :param data_reply: the reply to the message, instead of taking it.
    :param login: user and password that must be given.
    :param starttls: offer and demand STARTTLS with this context; ``tls`` speaks TLS from the start.
    """

    refuse: dict[str, str] = field(default_factory=dict)
    data_reply: str = ""
    login: tuple[str, str] | None = None
    starttls: ssl.SSLContext | None = None
    tls: ssl.SSLContext | None = None
    mails: list[Mail] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Self:
        options: dict[str, Any] = {"enable_SMTPUTF8": True}
        if self.starttls:
            options |= {"tls_context": self.starttls, "require_starttls": True}
        if self.login:
            encrypted = bool(self.tls or self.starttls)
            options |= {
                "authenticator": self._authenticate,
                "auth_required": True,
                "auth_require_tls": encrypted and not self.tls,
            }
        self._controller = _Controller(self, hostname="127.0.0.1", port=self.port, ssl_context=self.tls, **options)
        self._controller.start()
        self.port = self._controller.port
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        given = (data.login.decode(), data.password.decode())
        if given == self.login:
            session.given_login = given[0]
            return AuthResult(success=True)
        # A server that repeats what it was given: nothing of it may be told.
        return AuthResult(success=False, handled=False, message=f"535 5.7.8 wrong password {given[1]}")

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.data_reply:
            return self.data_reply
        content = envelope.original_content or envelope.content
        self.mails.append(
            Mail(
                sender=envelope.mail_from,
                recipients=list(envelope.rcpt_tos),
                content=content,
                login=getattr(session, "given_login", ""),
            )
        )
        return f"250 2.0.0 taken as {len(self.mails)}"

    def received_by(self) -> Mapping[str, int]:
        """How many messages each recipient got."""
        counts: dict[str, int] = {}
        for mail in self.mails:
            for address in mail.recipients:
                counts[address] = counts.get(address, 0) + 1
        return counts


class _Controller(Controller):
    """Knows its port when the system chose it."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()
