"""E-mail over Airflow's ``smtp`` connections, with a result for each recipient.

A server may take a message for one recipient and refuse it for another; ``smtplib.sendmail`` and Airflow's
``SmtpHook`` call that a success. Here each recipient's answer is kept in ``Result.recipients``. Where some
were put off, the next try must name those who have it (their answer is ``"delivered"``) in the option
``skip_recipients``, so that nobody gets the message twice.
"""

from __future__ import annotations

import re
import smtplib
import time
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, getaddresses
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.exceptions import ForbiddenAddress
from ml_event_provider.hookspecs import hookimpl
from ml_event_provider.targets.answers import UnusableError, told
from ml_event_provider.targets.connections import list_of, text_of
from ml_event_provider.targets.failures import explain
from ml_event_provider.targets.model import Capabilities, Message, Outcome, Result
from ml_event_provider.targets.network import NETWORK, Network, short
from ml_event_provider.targets.secrets import Mask
from ml_event_provider.targets.smtp import Client, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ml_event_provider.connection import Connection
    from ml_event_provider.targets import Target

#: One address without a name (RFC 5321, 4.5.3.1.3 allows 254 characters); nothing in it can end a command.
_ADDRESS = re.compile(r"""[^\s@<>()\[\]\\,;:"\x00-\x1f\x7f]{1,64}@[^\s@<>()\[\]\\,;:"\x00-\x1f\x7f]{1,253}""")
#: Bodies go in seven bits, which every server takes.
_POLICY = SMTP.clone(cte_type="7bit")
#: The answer of a recipient who has the message; all others are the server's code and words.
_HAS_IT: Final = Outcome.DELIVERED.value


class EmailTarget:
    """Sends multipart text and HTML.

    Recipients are the rule's option ``to`` (a list, or a text with commas), else the connection's extra
    ``to``; the sender is the extra ``from_email``, else the login. ``Message-ID`` follows from the delivery's
    id, so that mail systems can tell a second copy.

    :param now: the time in seconds since 1970.
    """

    connection_types: tuple[str, ...] = ("smtp",)
    channel = "email"
    capabilities = Capabilities(dialect="html", max_title_bytes=500, max_body_bytes=200_000)
    caller_options: frozenset[str] = frozenset({"to"})

    def __init__(self, network: Network = NETWORK, now: Callable[[], float] = time.time) -> None:
        self._network = network
        self._now = now

    def send(self, connection: Connection, message: Message, *, timeout: float) -> Result:
        """Send to all recipients but those in the option ``skip_recipients``.

        Delivered if nobody was put off and at least one took it; ``recipients`` holds each one's answer.
        """
        return told(connection, Mask(connection), lambda: self._send(connection, message, timeout))

    def check(self, connection: Connection, *, timeout: float) -> Result:
        """Greet, log in and do nothing (``NOOP``)."""

        def ask(client: Client) -> Result:
            code, words = client.noop()
            return _result(code, words, {})

        return told(connection, Mask(connection), lambda: self._talk(connection, timeout, {}, ask))

    def _send(self, connection: Connection, message: Message, timeout: float) -> Result:
        extra = connection.extra_dejson
        everybody = addresses(message.options.get("to") or extra.get("to"))
        if not everybody:
            raise UnusableError("no recipients: give the rule's option 'to' or the extra field 'to'")
        skipped = set(list_of(message.options, "skip_recipients"))
        done = {address: _HAS_IT for address in everybody if address in skipped}
        todo = [address for address in everybody if address not in done]
        if not todo:
            return Result.delivered("250", "all recipients accepted it before", recipients=done)
        sender = _sender(text_of(extra, "from_email") or (connection.login or ""))
        mail = compose(message, sender, everybody, datetime.fromtimestamp(self._now(), UTC))
        return self._talk(connection, timeout, done, lambda client: _hand_over(client, mail, sender[1], todo, done))

    def _talk(
        self,
        connection: Connection,
        timeout: float,
        done: Mapping[str, str],
        talk: Callable[[Client], Result],
    ) -> Result:
        """Talk in a session; all that the server or the network does becomes a result."""
        try:
            with session(connection, self._network, timeout) as client:
                return talk(client)
        except ForbiddenAddress as error:
            return Result.refused("forbidden address", str(error), recipients=done)
        except smtplib.SMTPResponseException as error:
            return _result(error.smtp_code, error.smtp_error, done)
        except smtplib.SMTPNotSupportedError as error:
            return Result.refused("not supported", short(str(error)), recipients=done)
        except OSError as error:
            code, words = explain(error)
            return Result.retry(code, f"{connection.host}: {words}", recipients=done)


def addresses(value: Any) -> list[str]:
    """The addresses in a list or a text with commas or semicolons, each once, without names."""
    texts = [str(item) for item in value] if isinstance(value, list | tuple | set) else [str(value or "")]
    pairs = getaddresses([text.replace(";", ",").replace("\n", ",") for text in texts])
    return list(dict.fromkeys(address.strip() for _, address in pairs if address.strip()))


def compose(message: Message, sender: tuple[str, str], recipients: Iterable[str], now: datetime) -> EmailMessage:
    """The mail (RFC 5322). Titles and names are made one line, so that nobody can add headers by them."""
    mail = EmailMessage(policy=_POLICY)
    domain = sender[1].rpartition("@")[2]
    mail["From"] = formataddr((short(sender[0]), sender[1]))
    mail["To"] = ", ".join(_ascii_domain(address) for address in recipients if _ADDRESS.fullmatch(address))
    mail["Subject"] = short(message.title) or message.event.type
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<ml-event-{re.sub('[^A-Za-z0-9-]', '-', message.delivery_id)}@{domain}>"
    # RFC 3834: keeps out-of-office answers away.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_whole(message.body))
    if html := message.parts.get("html"):
        mail.add_alternative(_whole(html), subtype="html")
    return mail


def _hand_over(client: Client, mail: EmailMessage, sender: str, todo: list[str], done: Mapping[str, str]) -> Result:
    """Offer the mail to each recipient, then send it to those who take it."""
    utf8 = any(not address.isascii() for address in map(_ascii_domain, [sender, *todo]))
    utf8 = utf8 and client.has_extn("smtputf8")
    code, words = client.mail(sender, ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else [])
    if code != 250:
        return _result(code, words, done)
    answers: dict[str, tuple[int, bytes]] = {}
    for address in todo:
        answers[address] = _offer(client, address, utf8)
    takers = [address for address, (code, _) in answers.items() if 200 <= code < 300]
    if takers:
        reply = client.data(mail.as_bytes(policy=_POLICY.clone(utf8=utf8)))
        answers |= dict.fromkeys(takers, reply)
    return _summary(answers, done)


def _offer(client: Client, address: str, utf8: bool) -> tuple[int, bytes]:
    plain = _ascii_domain(address)
    if not _ADDRESS.fullmatch(plain):
        return 553, b"5.1.3 this is no e-mail address"
    if not plain.isascii() and not utf8:
        return 553, b"5.6.7 the server does not carry addresses beyond ASCII (SMTPUTF8)"
    return client.rcpt(plain)


def _summary(answers: Mapping[str, tuple[int, bytes]], done: Mapping[str, str]) -> Result:
    failed = {
        address: f"{code} {_words(words)}".strip()
        for address, (code, words) in answers.items()
        if not 200 <= code < 300
    }
    recipients = {**done, **dict.fromkeys(answers, _HAS_IT), **failed}
    put_off = [code for code, _ in answers.values() if 400 <= code < 500]
    taken = len(recipients) - len(failed)
    reason = f"taken for {taken} of {len(recipients)}"
    if failed:
        reason += "; " + "; ".join(f"{address}: {words}" for address, words in failed.items())
    if put_off:
        return Result.retry(str(put_off[0]), reason, recipients=recipients)
    if taken:
        return Result.delivered("250", reason, recipients=recipients)
    return Result.refused(str(next(code for code, _ in answers.values())), reason, recipients=recipients)


def _result(code: int, words: bytes | str, recipients: Mapping[str, str]) -> Result:
    """The result that a reply to all of a session means (RFC 5321, 4.2.1): 2 done, 4 later, 5 never."""
    text = _words(words)
    if 200 <= code < 300:
        return Result.delivered(str(code), text, recipients=recipients)
    if 500 <= code < 600:
        return Result.refused(str(code), text, recipients=recipients)
    return Result.retry(str(code), text, recipients=recipients)


def _words(words: bytes | str) -> str:
    return short(words.decode("utf-8", "replace") if isinstance(words, bytes) else words)


def _sender(text: str) -> tuple[str, str]:
    name, address = next(iter(getaddresses([text])), ("", ""))
    address = _ascii_domain(address)
    if not _ADDRESS.fullmatch(address):
        raise UnusableError("the sender is missing or no e-mail address: give the extra field 'from_email'")
    return name, address


def _ascii_domain(address: str) -> str:
    """The address with an international domain in its ASCII form."""
    local, at, domain = address.rpartition("@")
    try:
        return f"{local}{at}{domain.encode('idna').decode()}"
    except UnicodeError:
        return address


def _whole(text: str) -> str:
    """The text without half surrogates, which no mail can carry."""
    return text.encode("utf-8", "replace").decode()


@hookimpl
def ml_event_targets() -> Iterable[Target]:
    """The e-mail target."""
    return (EmailTarget(),)
