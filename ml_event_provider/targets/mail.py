"""Composes mails (RFC 5322) so that no text can add a header, a recipient or a body.

Headers are written here, not by ``email``: its header classes decode encoded words in the values that they are given,
and before Python 3.11.10 wrote what they decoded, line breaks included. Each mail is parsed again before it goes out.
"""

from __future__ import annotations

import base64
import re
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP, compat32
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from ml_event_provider.targets.answers import UnusableError
from ml_event_provider.targets.hosts import ascii_host
from ml_event_provider.targets.network import short

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ml_event_provider.targets.model import Message

#: The local part of an address (RFC 5321, 4.5.3.1.1); nothing in it can end a command or be taken for an encoded word.
_LOCAL: Final = re.compile(r"""(?!.*=\?)[^\s@<>()\[\]\\,;:"\x00-\x1f\x7f]{1,64}""")
#: Names that need no quotes (RFC 5322, atoms and spaces).
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
#: A line with encoded words has at most 76 characters (RFC 2047); so much text goes into one beside a header's name.
_LINE: Final = 76
_WORD_BYTES: Final = (_LINE - len("Subject: =?utf-8?b??=")) // 4 * 3
#: Bodies go in seven bits, which every server takes.
_POLICY: Final = SMTP.clone(cte_type="7bit")


def mail_address(text: str) -> str:
    """The address with its domain in ASCII (IDNA 2008).

    :raises ValueError: if it is none; says why.
    """
    local, at, domain = text.rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or not local.isprintable():
        raise ValueError("this is no e-mail address")
    return f"{local}@{ascii_host(domain)}"


def compose(message: Message, sender: tuple[str, str], recipients: Iterable[str], now: datetime) -> bytes:
    """The mail as bytes. Names and titles beyond ASCII go as encoded words.

    :param sender: name, which may be empty, and address.
    :param recipients: whom the mail names, addresses as :func:`mail_address` gives them.
    :raises UnusableError: if what was composed does not read back as what was meant.
    """
    name, address = short(sender[0]), sender[1]
    domain = address.rpartition("@")[2]
    headers = [
        ("From", _sender(name, address)),
        ("To", ",\r\n ".join(recipients) or "undisclosed-recipients:;"),
        ("Subject", _text(short(message.title) or message.event.type)),
        ("Date", format_datetime(now)),
        ("Message-ID", f"<ml-event-{re.sub('[^A-Za-z0-9-]', '-', message.delivery_id)}@{domain}>"),
        # RFC 3834: keeps out-of-office answers away.
        ("Auto-Submitted", "auto-generated"),
    ]
    content = _content(message)
    mail = "".join(f"{name}: {value}\r\n" for name, value in headers).encode() + content
    _check(mail, headers, content)
    return mail


def _content(message: Message) -> bytes:
    """The MIME headers, which hold nothing of anybody's, and the body."""
    inner = EmailMessage(policy=_POLICY)
    inner.set_content(_whole(message.body))
    if html := message.parts.get("html"):
        inner.add_alternative(_whole(html), subtype="html")
    return inner.as_bytes()


def _check(mail: bytes, headers: list[tuple[str, str]], content: bytes) -> None:
    """Read the mail as its receiver does, and compare: a last line, should a text ever end a header."""
    read = BytesParser(policy=compat32).parsebytes(mail, headersonly=True)
    inner = BytesParser(policy=compat32).parsebytes(content, headersonly=True)
    meant = [*headers, *inner.items()]
    found = read.items()
    same = [name for name, _ in found] == [name for name, _ in meant] and all(
        _unfolded(str(value)) == _unfolded(str(other))
        for (_, value), (_, other) in zip(found, meant, strict=True)
        # An address beyond ASCII stands in UTF-8, which this parser shows as unknown characters.
        if str(other).isascii()
    )
    if not same:
        raise UnusableError("the mail's headers do not read back as they were written: change its title or sender")


def _unfolded(value: str) -> str:
    return re.sub(r"\r?\n(?=[ \t])", "", value)


def _sender(name: str, address: str) -> str:
    if not name:
        return address
    phrase = _phrase(name)
    fits = "\r\n" not in phrase and len(f"From: {phrase} <{address}>") <= _LINE
    return phrase + (" " if fits else "\r\n ") + f"<{address}>"


def _phrase(name: str) -> str:
    """A display name: bare, in quotes, or as encoded words, in which no special character means anything."""
    if not name.isascii() or "=?" in name:
        return _encoded(name)
    if _PLAIN_NAME.fullmatch(name) and len(name) < _LINE:
        return name
    quoted = re.sub(r'(["\\])', r"\\\1", name)
    return f'"{quoted}"' if len(quoted) < _LINE else _encoded(name)


def _text(text: str) -> str:
    """A one-line text: folded at its spaces, or as encoded words where it could be taken for one or is not ASCII."""
    if not text.isascii() or "=?" in text:
        return _encoded(text)
    lines: list[str] = []
    for word in text.split(" "):
        if lines and len(lines[-1]) + len(word) < _LINE - len("Subject: "):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\r\n ".join(lines)


def _encoded(text: str) -> str:
    """Encoded words (RFC 2047) of whole characters; readers join them without the spaces between."""
    words: list[bytes] = [b""]
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(words[-1]) + len(octets) > _WORD_BYTES:
            words.append(b"")
        words[-1] += octets
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in words)


def _whole(text: str) -> str:
    """The text without half surrogates, which no mail can carry."""
    return text.encode("utf-8", "replace").decode()
