"""Slack, by incoming webhook (connection type ``slackwebhook``) or as a bot by Web API (``slack``).

The connections are those of Airflow's Slack provider. A webhook answers the text ``ok`` or an error word; the
Web API answers HTTP 200 for refused messages too, with ``ok`` false. Source: Slack's pages "Sending messages
using incoming webhooks", "chat.postMessage", "Rate limits" and "Blocks".
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from ml_event_provider.events import Event
from ml_event_provider.hookspecs import hookimpl
from ml_event_provider.targets.answers import UnusableError, outcome_of, retry_after, told
from ml_event_provider.targets.connections import json_bytes, text_of
from ml_event_provider.targets.fitting import fitted, pieces
from ml_event_provider.targets.model import Capabilities, Message, Outcome, Result
from ml_event_provider.targets.network import NETWORK, Answer, Network, short
from ml_event_provider.targets.secrets import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ml_event_provider.connection import Connection
    from ml_event_provider.targets import Target

WEBHOOKS: Final = "hooks.slack.com/services"
API: Final = "https://slack.com/api/"
#: Limits in characters; beyond some 13,200 in all Slack answers ``msg_blocks_too_long``.
MAX_HEADER: Final = 150
MAX_SECTION: Final = 3000
MAX_BODY: Final = 12_000
MAX_CONTEXT: Final = 600
MAX_BLOCKS: Final = 50

#: Error words that may pass by themselves; all others are final.
TRANSIENT: Final = frozenset(
    {
        *("rate_limited", "ratelimited", "rollup_error", "timeout", "request_timeout", "internal_error"),
        *("fatal_error", "service_unavailable", "accesslimited", "team_added_to_org"),
    }
)
#: What to do about the most frequent final ones.
ADVICE: Final = {
    "no_service": "the webhook was removed or disabled: make a new one",
    "no_service_id": "the webhook's URL is not complete",
    "no_team": "the workspace does not exist any more",
    "team_disabled": "the workspace is not active any more",
    "invalid_token": "the webhook's URL is wrong",
    "channel_is_archived": "unarchive the channel or choose another one",
    "is_archived": "unarchive the channel or choose another one",
    "channel_not_found": "check the channel, and invite the bot",
    "not_in_channel": "invite the bot to the channel",
    "action_prohibited": "the workspace's administrators do not allow it",
    "posting_to_general_channel_denied": "the administrators keep this channel closed: choose another one",
    "invalid_auth": "check the token",
    "not_authed": "check the token",
    "account_inactive": "check the token: its user was removed",
    "token_revoked": "make a new token",
    "missing_scope": "give the bot the scope chat:write",
}
_WORD = re.compile(r"[a-z][a-z0-9_]{1,60}")


class SlackTarget:
    """Sends a message of blocks: header, text, context, buttons to run and log.

    A ``slack`` connection needs a channel: the rule's option ``channel`` or the extra of that name.

    :param now: the time in seconds since 1970.
    """

    connection_types: tuple[str, ...] = ("slackwebhook", "slack")
    channel = "slack"
    capabilities = Capabilities(dialect="mrkdwn", max_title_bytes=MAX_HEADER, max_body_bytes=MAX_BODY)
    caller_options: frozenset[str] = frozenset({"channel"})

    def __init__(self, network: Network = NETWORK, now: Callable[[], float] = time.time) -> None:
        self._network = network
        self._now = now

    def send(self, connection: Connection, message: Message, *, timeout: float) -> Result:
        """Post one message; the text ``ok`` or ``{"ok": true}`` is success."""
        mask = Mask(connection)
        return told(connection, mask, lambda: self._send(connection, message, timeout, mask))

    def parts(self, connection: Connection, options: Mapping[str, Any]) -> frozenset[str]:
        """Title and body."""
        return frozenset({"title", "body"})

    def check(self, connection: Connection, *, timeout: float) -> Result:
        """Ask the Web API whom the token belongs to, or post a short text to the webhook."""
        if connection.conn_type == "slack":
            mask = Mask(connection)
            return told(connection, mask, lambda: self._call(connection, "auth.test", {}, timeout, mask))
        now = datetime.fromtimestamp(self._now(), UTC)
        kind = "ml_event_provider.connection.test"
        event = Event(id=str(uuid4()), source="/ml_event_provider", type=kind, time=now)
        message = Message(
            delivery_id=event.id,
            event=event,
            title="connection test",
            body=f"connection {connection.conn_id} works",
        )
        return self.send(connection, message, timeout=timeout)

    def _send(self, connection: Connection, message: Message, timeout: float, mask: Mask) -> Result:
        document: dict[str, Any] = {
            "text": _escaped(message.title or message.body)[:MAX_SECTION],
            "blocks": blocks(message),
        }
        if connection.conn_type == "slack":
            channel = text_of(message.options, "channel") or text_of(connection.extra_dejson, "channel")
            if not channel:
                raise UnusableError("no channel: give the rule's option 'channel' or the extra field 'channel'")
            return self._call(connection, "chat.postMessage", {"channel": channel, **document}, timeout, mask)
        headers = {"Content-Type": "application/json"}
        url = webhook_url(connection)
        answer = self._network.post(url, json_bytes(document), headers, timeout=timeout, mask=mask)
        return answer if isinstance(answer, Result) else read_webhook(answer, self._now)

    def _call(
        self, connection: Connection, method: str, document: dict[str, Any], timeout: float, mask: Mask
    ) -> Result:
        token = (connection.password or "").strip()
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise UnusableError("the bot's token is missing or malformed: put it into the field password")
        base = text_of(connection.extra_dejson, "base_url") or API
        headers = {"Content-Type": "application/json; charset=utf-8", "Authorization": f"Bearer {token}"}
        answer = self._network.post(
            f"{base.rstrip('/')}/{method}", json_bytes(document), headers, timeout=timeout, mask=mask
        )
        return answer if isinstance(answer, Result) else read_api(answer, self._now)


def webhook_url(connection: Connection) -> str:
    """The webhook's URL, built as ``SlackWebhookHook`` does: the password is the whole URL or its end."""
    token = ((connection.password or "") or text_of(connection.extra_dejson, "webhook_token")).strip()
    if not token:
        raise UnusableError("the webhook's token is missing: put it, or the whole URL, into the field password")
    if "://" in token:
        return token
    base = connection.host or ""
    if "://" not in base:
        base = f"{connection.schema or 'https'}://{base or WEBHOOKS}"
    if connection.port and urlsplit(base).port is None:
        base = urlsplit(base)._replace(netloc=f"{urlsplit(base).netloc}:{connection.port}").geturl()
    return f"{base.rstrip('/')}/{token.lstrip('/')}".rstrip("/")


def read_webhook(answer: Answer, now: Callable[[], float]) -> Result:
    """What an incoming webhook's answer means."""
    word = answer.words
    if answer.status == 200 and word == "ok":
        return Result.delivered("ok", "ok")
    if _WORD.fullmatch(word) and word != "ok":
        return _failure(word, word, answer, now)
    result = outcome_of(answer, now)
    if result.outcome is Outcome.DELIVERED:
        return Result.retry(result.code, f"the answer is not Slack's: {answer.words}")
    return result


def read_api(answer: Answer, now: Callable[[], float]) -> Result:
    """What the Web API's answer means."""
    document = answer.json()
    if not isinstance(document, dict) or not isinstance(document.get("ok"), bool):
        result = outcome_of(answer, now)
        if result.outcome is Outcome.DELIVERED:
            return Result.retry(result.code, f"the answer is not Slack's: {answer.words}")
        return result
    if document["ok"] and answer.status == 200:
        return Result.delivered("ok", short(answer.mask(str(document.get("ts") or document.get("team") or "ok"))))
    word = short(answer.mask(str(document.get("error") or "no error word")))
    details = document.get("response_metadata")
    messages = details.get("messages") if isinstance(details, dict) else None
    more = f"{word}: {'; '.join(map(str, messages))}" if isinstance(messages, list) and messages else word
    return _failure(word, short(answer.mask(more)), answer, now)


def blocks(message: Message) -> list[dict[str, Any]]:
    """The message in Block Kit, within Slack's limits."""
    found: list[dict[str, Any]] = []
    if message.title.strip():
        title = fitted(message.title.strip(), lambda text: _units(text) <= MAX_HEADER)
        found.append({"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}})
    body = fitted(message.body, lambda text: _units(text) <= MAX_BODY)
    # Half the limit in characters is within it in UTF-16 units, whatever the characters are.
    limit = MAX_SECTION if _units(body) == len(body) else MAX_SECTION // 2
    found += [{"type": "section", "text": {"type": "mrkdwn", "text": part}} for part in pieces(body, limit)]
    found.append({"type": "context", "elements": [{"type": "mrkdwn", "text": _context(message)}]})
    links = {"Run": message.run_url, "Log": message.log_url}
    buttons = [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": name},
            "url": url,
            "action_id": name.lower(),
        }
        for name, url in links.items()
        if url and len(url) <= MAX_SECTION
    ]
    if buttons:
        found.append({"type": "actions", "elements": buttons})
    return found[:MAX_BLOCKS]


def _context(message: Message) -> str:
    moment = int(message.event.time.timestamp())
    shown = f"<!date^{moment}^{{date_num}} {{time_secs}}|{message.event.time:%Y-%m-%d %H:%M:%S} UTC>"
    parts = [message.severity, message.rule and f"rule {message.rule}", message.event.type]
    return f"{_escaped(' · '.join(part for part in parts if part))[:MAX_CONTEXT]} · {shown}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _units(text: str) -> int:
    """The length as Slack may count it, in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _failure(word: str, words: str, answer: Answer, now: Callable[[], float]) -> Result:
    code = word if answer.status == 200 else f"HTTP {answer.status} {word}"
    if word in TRANSIENT or answer.status == 429 or answer.status >= 500:
        return Result.retry(code, words, retry_after(answer, now))
    return Result.refused(code, f"{words} ({ADVICE[word]})" if word in ADVICE else words)


@hookimpl
def ml_event_targets() -> Iterable[Target]:
    """The Slack target."""
    return (SlackTarget(),)
