"""E-mail over Airflow's ``smtp`` connections, with a result for each recipient.

A server may take a message for one recipient and refuse it for another; ``smtplib.sendmail`` and Airflow's
``SmtpHook`` call that a success. Here each recipient's answer is kept in ``Result.recipients``. Where some
were put off, the next try must name those who have it (their answer is ``"delivered"``) in the option
``skip_recipients``, so that nobody gets the message twice.
"""

from __future__ import annotations

import smtplib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.exceptions import ForbiddenAddress
from ml_event_provider.hookspecs import hookimpl
from ml_event_provider.rules.recipients import addresses, split_name
from ml_event_provider.targets.answers import UnusableError, told
from ml_event_provider.targets.connections import list_of, text_of
from ml_event_provider.targets.failures import explain
from ml_event_provider.targets.mail import compose, mail_address
from ml_event_provider.targets.model import Capabilities, Message, Outcome, Result
from ml_event_provider.targets.network import NETWORK, Network, short
from ml_event_provider.targets.secrets import Mask
from ml_event_provider.targets.smtp import Client, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ml_event_provider.connection import Connection
    from ml_event_provider.targets import Target

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

    def parts(self, connection: Connection, options: Mapping[str, Any]) -> frozenset[str]:
        """Subject, text and HTML."""
        return frozenset({"title", "body", "html"})

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

        def mail(named: Sequence[str]) -> bytes:
            return compose(message, sender, named, datetime.fromtimestamp(self._now(), UTC))

        envelope = _Envelope(sender[1], {each: _mail_address(each) for each in everybody}, todo, done)
        return self._talk(connection, timeout, done, lambda client: _hand_over(client, mail, envelope))

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


@dataclass(frozen=True, slots=True)
class _Envelope:
    """Who sends to whom. ``plain`` has each recipient's address in its ASCII form, or why it is none."""

    sender: str
    plain: Mapping[str, str | ValueError]
    todo: Sequence[str]
    done: Mapping[str, str]


def _hand_over(client: Client, mail: Callable[[Sequence[str]], bytes], envelope: _Envelope) -> Result:
    """Offer the mail to each recipient, then send it to those who take it."""
    known = {each: plain for each, plain in envelope.plain.items() if isinstance(plain, str)}
    wanted = [envelope.sender, *(known[each] for each in envelope.todo if each in known)]
    utf8 = not all(map(str.isascii, wanted)) and client.has_extn("smtputf8")
    if not envelope.sender.isascii() and not utf8:
        raise UnusableError("the server does not carry a sender beyond ASCII (SMTPUTF8): correct 'from_email'")
    code, words = client.mail(envelope.sender, ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else [])
    if code != 250:
        return _result(code, words, envelope.done)
    answers = {each: _offer(client, envelope.plain[each], utf8) for each in envelope.todo}
    takers = [each for each, (code, _) in answers.items() if 200 <= code < 300]
    if takers:
        reply = client.data(mail([plain for plain in known.values() if utf8 or plain.isascii()]))
        answers |= dict.fromkeys(takers, reply)
    return _summary(answers, envelope.done)


def _offer(client: Client, plain: str | ValueError, utf8: bool) -> tuple[int, bytes]:
    if isinstance(plain, ValueError):
        return 553, f"5.1.3 {plain}".encode()
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
    name, address = split_name(text)
    try:
        return name, mail_address(address)
    except ValueError as error:
        raise UnusableError(f"the sender is missing or {error}: give the extra field 'from_email'") from None


def _mail_address(text: str) -> str | ValueError:
    try:
        return mail_address(text)
    except ValueError as error:
        return error


@hookimpl
def ml_event_targets() -> Iterable[Target]:
    """The e-mail target."""
    return (EmailTarget(),)
