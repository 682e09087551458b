"""One inbox for all channels: strict receivers for webhooks, DingTalk, Slack and mail, with connections."""

from __future__ import annotations

import json
import logging
import re
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.peers import receiver
from tests.peers.receiver import Behaviour, Received, Receiver
from tests.peers.smtp import Mail, MailServer

if TYPE_CHECKING:
    from pathlib import Path

MAIL_LOGIN = ("ml-events", "mail-password")
MAIL_FROM = "ML events <ml-events@example.com>"
MAIL_TO = "ml-team@example.com"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message as it came in.

    ``delivery_id`` is empty on Slack, which carries none. ``verified`` says that signature, credentials and
    form were right, ``accepted`` that it was also answered so.
    """

    channel: str
    delivery_id: str
    content: bytes
    text: str
    verified: bool
    accepted: bool
    problem: str


class Inbox:
    """Receives for all channels while the block lasts."""

    def __init__(self) -> None:
        self.http = Receiver()
        self.mail = MailServer(login=MAIL_LOGIN)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self._running.enter_context(self.http)
        # On the loopback address the login needs no TLS; aiosmtpd warns of it at each session.
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS")
        self._running.enter_context(self.mail)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def connections(self) -> dict[str, dict[str, object]]:
        """An Airflow connection for each channel, by its id, in Airflow's JSON form."""
        return {
            "ml_webhook": {
                "conn_type": "mleventswebhook",
                "host": self.http.url("/webhook/ml"),
                "password": receiver.WEBHOOK_SECRET,
            },
            "ml_dingtalk": {
                "conn_type": "mleventsdingtalk",
                "host": self.http.url("/dingtalk/robot/send"),
                "password": receiver.ROBOT_TOKEN,
                "extra": {"secret": receiver.ROBOT_SECRET},
            },
            "ml_slack": {
                "conn_type": "slackwebhook",
                "host": self.http.url("/slack/services"),
                "password": receiver.SLACK_PATH,
            },
            "smtp_default": {
                "conn_type": "smtp",
                "host": "127.0.0.1",
                "port": self.mail.port,
                "login": MAIL_LOGIN[0],
                "password": MAIL_LOGIN[1],
                "extra": {"disable_ssl": True, "disable_tls": True, "from_email": MAIL_FROM, "to": MAIL_TO},
            },
        }

    def fail_next(self, status: int) -> None:
        """Answer the next HTTP request with this status, whoever sends it."""
        self.http.next(Behaviour(status=status, body="busy, try again"))

    def letters(self) -> list[Letter]:
        """All that came, by channel in the order of arrival."""
        return [*map(_posted, list(self.http.requests)), *map(_mailed, list(self.mail.mails))]

    def save(self, directory: Path) -> None:
        """Write each message as it came into a file of its own."""
        directory.mkdir(parents=True, exist_ok=True)
        for number, letter in enumerate(self.letters(), 1):
            ending = "eml" if letter.channel == "email" else "json"
            (directory / f"{number:02}-{letter.channel}.{ending}").write_bytes(letter.content)


def _posted(request: Received) -> Letter:
    return Letter(
        channel=request.channel,
        delivery_id=request.message_id,
        content=request.body,
        text=_text(request),
        verified=request.verified,
        accepted=request.verified and request.status == 200,
        problem=request.problem or ("" if request.status == 200 else f"was answered HTTP {request.status}"),
    )


def _mailed(mail: Mail) -> Letter:
    message = mail.message
    plain = message.get_body(("plain",))
    return Letter(
        channel="email",
        delivery_id=_UUID.findall(str(message["Message-ID"]))[-1],
        content=mail.content,
        text=f"Subject: {message['Subject']}\nTo: {message['To']}\n\n{plain.get_content() if plain else ''}",
        verified=mail.login == MAIL_LOGIN[0],
        accepted=mail.login == MAIL_LOGIN[0],
        problem="" if mail.login == MAIL_LOGIN[0] else "nobody logged in",
    )


def _text(request: Received) -> str:
    """What a person would read."""
    try:
        document = request.json()
    except ValueError:
        return request.body.decode("utf-8", "replace")
    if request.channel == "dingtalk":
        content = document.get(document.get("msgtype", ""), {})
        return str(content.get("text") or content.get("content") or document)
    if request.channel == "slack":
        return "\n".join(line for block in document.get("blocks", ()) for line in _block_lines(block))
    return json.dumps(document, indent=2, ensure_ascii=False)


def _block_lines(block: dict[str, object]) -> list[str]:
    """The texts of a Slack block, of its elements too."""
    parts = [block, *(block.get("elements") or ())]  # type: ignore[misc]
    found = [part.get("text") for part in parts if isinstance(part, dict)]
    lines = [str(text.get("text") if isinstance(text, dict) else text) for text in found if text]
    return ["[" + "] [".join(lines) + "]"] if block.get("type") == "actions" else lines
