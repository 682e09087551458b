"""DingTalk's custom robots: signed, with keywords and mentions, at most 20 messages a minute.

The robot answers HTTP 200 for refused messages too: only ``errcode`` 0 in the body is success. Source:
DingTalk's documentation "Custom robot access" and "Custom robot security settings".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import uuid4

from ml_event_provider.events import Event
from ml_event_provider.hookspecs import hookimpl
from ml_event_provider.messages.dialects import DIALECTS
from ml_event_provider.targets.answers import UnusableError, outcome_of, told
from ml_event_provider.targets.connections import flag_of, json_bytes, list_of, text_of, url_of
from ml_event_provider.targets.fitting import fitted
from ml_event_provider.targets.model import Capabilities, Message, Outcome, Result
from ml_event_provider.targets.network import NETWORK, Answer, Network, short
from ml_event_provider.targets.pace import Pace
from ml_event_provider.targets.secrets import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ml_event_provider.connection import Connection
    from ml_event_provider.targets import Target

URL: Final = "https://oapi.dingtalk.com/robot/send"
MESSAGE_TYPES: Final = ("markdown", "text", "actionCard")
#: The largest request body in bytes.
MAX_BYTES: Final = 20_000
#: What a robot may send in a minute.
MESSAGES_PER_MINUTE: Final = 20
#: How long a robot that sent too much stays blocked, in seconds.
BLOCKED_SECONDS: Final = 600.0

THROTTLED: Final = frozenset({130101, 410100})
#: Busy: the platform itself asks for another try.
BUSY: Final = frozenset({-1})
#: Final refusals, and what to do.
REFUSED: Final[Mapping[int, str]] = {
    310000: "check the robot's signing key, keywords and allowed addresses, and this machine's clock",
    300001: "check the access token",
    300005: "check the access token",
    400101: "check the access token",
    400013: "the group does not exist: make a robot in another one",
    400102: "the robot is stopped: start it in the group's settings",
    400106: "the robot does not exist: make a new one",
    40035: "the request is malformed",
    43004: "the request is malformed",
    400105: "the message type is not supported",
    460101: "the message is too long: shorten its template",
    101002: "the message is too long: shorten its template",
}

#: Shared by all threads of the process: the robot counts, not the connection.
PACE = Pace(MESSAGES_PER_MINUTE, 60.0)


class DingTalkTarget:
    """Sends to a custom robot.

    The connection's password is the access token. Extras: ``secret``, ``keywords``, ``message_type``,
    ``at_mobiles``, ``at_user_ids``, ``at_all``, and ``messages_per_minute`` where several dispatchers share a
    robot. A rule's options of the same names override them.

    :param now: the time in seconds since 1970.
    :param pace: what keeps each robot's rate.
    """

    connection_types: tuple[str, ...] = ("mleventsdingtalk", "ml_events_dingtalk")
    channel = "dingtalk"
    capabilities = Capabilities(dialect="markdown", max_title_bytes=200, max_body_bytes=16_000)
    caller_options: frozenset[str] = frozenset({"at_mobiles", "at_user_ids", "at_all", "message_type"})

    def __init__(self, network: Network = NETWORK, now: Callable[[], float] = time.time, pace: Pace = PACE) -> None:
        self._network = network
        self._now = now
        self._pace = pace

    def send(self, connection: Connection, message: Message, *, timeout: float) -> Result:
        """Post one message; ``errcode`` 0 is success.

        While the robot's minute is full the message is held back: ``retry`` with ``attempted=False``.
        """
        mask = Mask(connection)
        return told(connection, mask, lambda: self._send(connection, message, timeout, mask))

    def parts(self, connection: Connection, options: Mapping[str, Any]) -> frozenset[str]:
        """Title and body."""
        return frozenset({"title", "body"})

    def check(self, connection: Connection, *, timeout: float) -> Result:
        """Send a short text message."""
        now = datetime.fromtimestamp(self._now(), UTC)
        kind = "ml_event_provider.connection.test"
        event = Event(id=str(uuid4()), source="/ml_event_provider", type=kind, time=now)
        message = Message(
            delivery_id=event.id,
            event=event,
            title="connection test",
            body=f"connection {connection.conn_id} works",
            options={"message_type": "text", "at_mobiles": [], "at_user_ids": [], "at_all": False},
        )
        return self.send(connection, message, timeout=timeout)

    def _send(self, connection: Connection, message: Message, timeout: float, mask: Mask) -> Result:
        settings = {**connection.extra_dejson, **message.options}
        address, token = _address(connection)
        body = payload(message, settings)
        robot = f"{urlsplit(address).netloc}?{token}"
        wait = self._pace.wait(robot, _per_minute(settings))
        if wait:
            words = "held back: the robot's messages of this minute are sent"
            return Result.retry("paced", words, wait, attempted=False)
        query = [("access_token", token)]
        if secret := text_of(connection.extra_dejson, "secret"):
            timestamp = round(self._now() * 1000)
            query += [("timestamp", str(timestamp)), ("sign", sign(secret, timestamp))]
        headers = {"Content-Type": "application/json; charset=utf-8"}
        answer = self._network.post(f"{address}?{urlencode(query)}", body, headers, timeout=timeout, mask=mask)
        if isinstance(answer, Result):
            return answer
        result = read(answer, self._now)
        if result.outcome is Outcome.RETRY and result.code.startswith("throttled"):
            wait = self._pace.block(robot, result.retry_after or BLOCKED_SECONDS)
            return Result.retry(result.code, result.reason, wait)
        return result


def sign(secret: str, timestamp_ms: int) -> str:
    """The parameter ``sign`` before URL encoding: base64 of HMAC-SHA256 of ``timestamp`` and ``secret``."""
    text = f"{timestamp_ms}\n{secret}".encode()
    return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()


def read(answer: Answer, now: Callable[[], float]) -> Result:
    """What the robot's answer means. An unknown ``errcode``, or none, is a failure worth another try."""
    if not 200 <= answer.status < 300:
        return outcome_of(answer, now)
    document = answer.json()
    if not isinstance(document, dict):
        return Result.retry("no errcode", f"the answer is not the robot's: {answer.words}")
    if document.get("errcode") is None and "wait" in document:
        return Result.retry("throttled", answer.words, _seconds(document["wait"]))
    try:
        errcode = int(str(document.get("errcode")))
    except ValueError:
        return Result.retry("no errcode", f"the answer has no errcode: {answer.words}")
    words = short(answer.mask(str(document.get("errmsg", ""))))
    if errcode == 0:
        return Result.delivered("errcode 0", words)
    code = f"errcode {errcode}"
    if errcode in THROTTLED:
        return Result.retry(f"throttled, {code}", words, BLOCKED_SECONDS)
    if errcode in REFUSED:
        return Result.refused(code, f"{words} ({REFUSED[errcode]})")
    return Result.retry(code, words)


def payload(message: Message, settings: Mapping[str, Any]) -> bytes:
    """The request's body, at most 20,000 bytes: the text is cut where needed, never mentions or keywords."""
    kind = text_of(settings, "message_type") or "markdown"
    if kind not in MESSAGE_TYPES:
        raise UnusableError(f"message_type is {kind!r}; it is one of {', '.join(MESSAGE_TYPES)}")
    mobiles, users = list_of(settings, "at_mobiles"), list_of(settings, "at_user_ids")
    mentioned = [*mobiles, *users]
    at = {"atMobiles": mobiles, "atUserIds": users, "isAtAll": flag_of(settings, "at_all")}
    buttons = _buttons(message) if kind == "actionCard" else []
    if kind == "actionCard" and not buttons:
        kind = "markdown"

    def document(text: str, title: str) -> bytes:
        content: dict[str, Any] = {"content": text} if kind == "text" else {"title": title, "text": text}
        if buttons:
            content |= {"btnOrientation": "1", "btns": buttons}
        # msgUuid is the idempotency key: the same for every try of a delivery.
        return json_bytes({"msgtype": kind, kind: content, "at": at, "msgUuid": message.delivery_id})

    title = fitted(message.title, lambda text: len(text.encode("utf-8", "replace")) <= 512)
    text = _text(message, title, kind)
    tail = part = ""
    for seen in (text, ""):
        tail = _tail(seen, mentioned, list_of(settings, "keywords"))
        if len(document(tail, title)) > MAX_BYTES - len("…".encode()):
            raise UnusableError("mentions and links alone exceed DingTalk's 20,000 bytes: use fewer")
        part = _cut(text, tail, title, document)
        if part == text:
            break
    # A mention or keyword that stood in what was cut off stands in the second tail.
    return document(part + tail, title)


def _cut(text: str, tail: str, title: str, document: Callable[[str, str], bytes]) -> str:
    return fitted(text, lambda part: len(document(part + tail, title)) <= MAX_BYTES)


def _text(message: Message, title: str, kind: str) -> str:
    """The body, headed by the title unless it begins with it: DingTalk shows titles in previews only."""
    if not title or message.body.startswith("#") or title in message.body[: len(title) + 20]:
        return message.body
    if kind == "text":
        return f"{title}\n{message.body}"
    return f"### {DIALECTS['markdown'].inline(title)}\n\n{message.body}"


def _tail(text: str, mentioned: list[str], keywords: list[str]) -> str:
    """What must stand in the text: mentions that do not, and one keyword if none does."""
    missing = [f"@{name}" for name in mentioned if f"@{name}" not in text]
    if keywords and not any(keyword in text for keyword in keywords):
        missing.append(keywords[0])
    return "\n\n" + " ".join(missing) if missing else ""


def _buttons(message: Message) -> list[dict[str, str]]:
    links = {"Run": message.run_url, "Log": message.log_url}
    return [{"title": title, "actionURL": url} for title, url in links.items() if url]


def _address(connection: Connection) -> tuple[str, str]:
    """The URL without its query, and the access token, from the password or a pasted whole URL."""
    parts = urlsplit(url_of(connection, "https", URL))
    token = (connection.password or "").strip() or dict(parse_qsl(parts.query)).get("access_token", "")
    if "://" in token:
        token = dict(parse_qsl(urlsplit(token).query)).get("access_token", "")
    if not token:
        raise UnusableError("the access token is missing: put it into the field password")
    path = parts.path if parts.path.strip("/") else urlsplit(URL).path
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), token


def _per_minute(settings: Mapping[str, Any]) -> int:
    text = text_of(settings, "messages_per_minute") or str(MESSAGES_PER_MINUTE)
    if not text.isdecimal() or not 1 <= int(text) <= MESSAGES_PER_MINUTE:
        raise UnusableError(f"messages_per_minute is {text!r}; it is from 1 to {MESSAGES_PER_MINUTE}")
    return int(text)


def _seconds(value: Any) -> float:
    try:
        return min(max(float(value), 1.0), BLOCKED_SECONDS)
    except (TypeError, ValueError):
        return BLOCKED_SECONDS


@hookimpl
def ml_event_targets() -> Iterable[Target]:
    """The DingTalk target."""
    return (DingTalkTarget(),)
