"""An SMTP session for an Airflow ``smtp`` connection: guarded address, TLS, login, one time limit."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.targets.answers import UnusableError
from ml_event_provider.targets.connections import flag_of, text_of
from ml_event_provider.targets.deadline import Deadline, TimedSocket
from ml_event_provider.targets.hosts import ascii_host

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

    from ml_event_provider.connection import Connection
    from ml_event_provider.targets.network import Network


#: The longest reply that is read, in bytes: one may have lines without end.
MAX_REPLY_BYTES: Final = 64 * 1024


class _Replies:
    """The file that replies are read from; ``left`` is how much more of one is read."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.left = 0
        self.close = file.close

    def readline(self, size: int) -> bytes:
        """The next line.

        :raises TimeoutError: if the reply goes on and on.
        """
        line = self._file.readline(size)
        self.left -= len(line)
        if self.left < 0:
            raise TimeoutError("the reply does not end")
        return line


class Client(smtplib.SMTP):
    """``smtplib`` over a guarded connection, with a deadline for the whole session."""

    def __init__(self, host: str, port: int, network: Network, deadline: Deadline, tls: ssl.SSLContext | None) -> None:
        self._network = network
        self._deadline = deadline
        self._tls = tls
        # The dot at the end is for the resolver alone.
        self._looked_up = host
        super().__init__(host.rstrip("."), port, local_hostname=own_name(), timeout=deadline.remaining())

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        sock = self._network.connect(self._looked_up, port, self._deadline)
        if self._tls is None:
            return sock
        try:
            return self._tls.wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise

    def getreply(self) -> tuple[int, bytes]:
        """The server's next reply."""
        if self.file is None and self.sock is not None:
            self.file = _Replies(TimedSocket(self.sock, self._deadline).makefile())
        if isinstance(self.file, _Replies):
            self.file.left = MAX_REPLY_BYTES
        return super().getreply()

    def send(self, s: Any) -> None:
        """Send bytes or text."""
        if self.sock is not None:
            self.sock.settimeout(self._deadline.remaining())
        super().send(s)


@contextlib.contextmanager
def session(connection: Connection, network: Network, timeout: float) -> Iterator[Client]:
    """A session that has greeted, is secured and logged in as the connection says; closed at the end.

    The fields are those of ``SmtpHook``: TLS from the start unless ``disable_ssl``, else STARTTLS unless
    ``disable_tls``; ``ssl_context`` ``none`` accepts any certificate; ``auth_type`` ``basic`` or ``oauth2``.

    :raises UnusableError: if a field is missing, or the server lacks what the fields ask for.
    :raises OSError: ``smtplib.SMTPException`` and network errors.
    """
    host = (connection.host or "").strip()
    if not host:
        raise UnusableError("the field host is empty: give the mail server")
    try:
        host = ascii_host(host)
    except ValueError as error:
        raise UnusableError(f"the field host: {error}: give the mail server's name") from None
    extra = connection.extra_dejson
    from_start = not flag_of(extra, "disable_ssl")
    context = _tls(text_of(extra, "ssl_context"))
    port = connection.port or (smtplib.SMTP_SSL_PORT if from_start else smtplib.SMTP_PORT)
    client = Client(host, port, network, Deadline(timeout), context if from_start else None)
    try:
        client.ehlo_or_helo_if_needed()
        if not from_start and not flag_of(extra, "disable_tls"):
            _start_tls(client, context)
        _log_in(client, connection)
        yield client
        # The message is out: whatever goes wrong with the farewell changes nothing.
        with contextlib.suppress(OSError):
            client.quit()
    finally:
        client.close()


@cache
def own_name() -> str:
    """The name to greet with (RFC 5321, 4.1.1.1): the machine's full one, or an address."""
    name = socket.getfqdn()
    return name if "." in name and name.isascii() else "[127.0.0.1]"


def _tls(kind: str) -> ssl.SSLContext:
    if kind not in {"", "default", "none"}:
        raise UnusableError(f"the extra field 'ssl_context' is {kind!r}; it is 'default' or 'none'")
    context = ssl.create_default_context()
    if kind == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _start_tls(client: Client, context: ssl.SSLContext) -> None:
    try:
        code, words = client.starttls(context=context)
    except smtplib.SMTPNotSupportedError:
        raise UnusableError("the server offers no STARTTLS; if it is meant, set the extra disable_tls") from None
    if code != 220:
        raise smtplib.SMTPResponseException(code, words)
    client.ehlo()


def _log_in(client: Client, connection: Connection) -> None:
    extra = connection.extra_dejson
    try:
        if text_of(extra, "auth_type") == "oauth2":
            user = connection.login or text_of(extra, "from_email")
            text = f"user={user}\x01auth=Bearer {_oauth_token(connection)}\x01\x01"
            client.auth("XOAUTH2", lambda _challenge=None: text)
        elif connection.login and connection.password:
            client.login(connection.login, connection.password)
    except smtplib.SMTPNotSupportedError:
        raise UnusableError("the server offers no login: remove login and password, or use TLS") from None
    except UnicodeEncodeError:
        raise UnusableError("login and password must be ASCII: SMTP cannot carry others") from None


def _oauth_token(connection: Connection) -> str:
    """The extra ``access_token``, or one that the provider's hook gets for the client's credentials."""
    if token := text_of(connection.extra_dejson, "access_token"):
        return token
    try:
        from airflow.providers.smtp.hooks.smtp import SmtpHook
    except ImportError:
        raise UnusableError("OAuth needs the extra 'access_token' or apache-airflow-providers-smtp") from None
    hook = SmtpHook(auth_type="oauth2")
    hook.smtp_connection = connection  # type: ignore[assignment]
    try:
        return hook._get_oauth2_token()
    except Exception as error:  # noqa: BLE001 - whatever the identity library raises, it is about these credentials
        raise UnusableError(f"no OAuth token: {error}") from None
