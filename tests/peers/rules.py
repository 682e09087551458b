"""What the real services check and answer, each as a function of one request."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: DingTalk accepts clocks that differ by at most an hour.
DINGTALK_SKEW_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a service says to a request; ``problem`` is empty where it was accepted."""

    channel: str
    status: int = 200
    answer: str = ""
    problem: str = ""


@cache
def _verifier(secret: str) -> Webhook:
    return Webhook(secret)


def webhook(secret: str, headers: Mapping[str, str], body: bytes) -> Ruling:
    """Standard Webhooks, verified by the reference library."""
    try:
        _verifier(secret).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError) as error:
        return Ruling(channel="webhook", status=401, answer=str(error), problem=str(error))
    return Ruling(channel="webhook", answer="")


def dingtalk(
    token: str,
    secret: str,
    keywords: tuple[str, ...],
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
    now: float,
) -> Ruling:
    """A custom robot: HTTP 200 always, the truth in ``errcode``."""

    def refuse(errcode: int, errmsg: str) -> Ruling:
        answer = json.dumps({"errcode": errcode, "errmsg": errmsg}, ensure_ascii=False)
        return Ruling(channel="dingtalk", answer=answer, problem=errmsg)

    if query.get("access_token") != token:
        return refuse(300005, "token is not exist")
    if secret:
        timestamp = query.get("timestamp", "")
        if not timestamp.isdecimal() or abs(int(timestamp) - now * 1000) > DINGTALK_SKEW_MS:
            return refuse(310000, "description:timestamp invalid;solution:check the timestamp")
        digest = hmac.new(secret.encode(), f"{timestamp}\n{secret}".encode(), hashlib.sha256).digest()
        if not hmac.compare_digest(base64.b64encode(digest).decode(), query.get("sign", "")):
            return refuse(310000, "description:sign not match")
    if not headers.get("content-type", "").startswith("application/json"):
        return refuse(43004, "invalid http header Content-Type")
    if len(body) > 20_000:
        return refuse(460101, "message too long, exceed 20000 bytes")
    try:
        document = json.loads(body)
    except ValueError:
        return refuse(40035, "invalid parameter json")
    problem = _dingtalk_problem(document)
    if problem:
        return refuse(400105, problem)
    content = document[document["msgtype"]]
    text = content.get("content") or content["text"]
    if keywords and not any(keyword in text for keyword in keywords):
        return refuse(310000, "description:keywords not in content")
    return Ruling(channel="dingtalk", answer='{"errcode":0,"errmsg":"ok"}')


def _dingtalk_problem(document: Any) -> str:
    kind = document.get("msgtype")
    if kind not in {"text", "markdown", "actionCard"}:
        return "unsupported msgtype"
    content = document.get(kind, {})
    wanted = {"text": ("content",), "markdown": ("title", "text"), "actionCard": ("title", "text", "btns")}[kind]
    for name in wanted:
        if not content.get(name):
            return f"param {kind}.{name} is required"
    for button in content.get("btns", []):
        if not button.get("title") or not button.get("actionURL"):
            return "a button needs title and actionURL"
    text = content.get("content") or content.get("text")
    missing = [number for number in document.get("at", {}).get("atMobiles", []) if f"@{number}" not in text]
    return f"mentioned but not in the text: {missing}" if missing else ""


def slack_webhook(expected: str, path: str, headers: Mapping[str, str], body: bytes) -> Ruling:
    """An incoming webhook: ``ok`` or an error word as text."""

    def refuse(status: int, word: str, problem: str = "") -> Ruling:
        return Ruling(channel="slack", status=status, answer=word, problem=problem or word)

    if path != expected:
        return refuse(404, "no_service")
    try:
        document = json.loads(body)
    except ValueError:
        return refuse(400, "invalid_payload")
    if not document.get("text") and not document.get("blocks"):
        return refuse(400, "no_text")
    problem = slack_problem(document.get("blocks", []))
    return refuse(400, "invalid_blocks", problem) if problem else Ruling(channel="slack", answer="ok")


def slack_api(token: str, method: str, headers: Mapping[str, str], body: bytes) -> Ruling:
    """The Web API: HTTP 200 always, the truth in ``ok``."""

    def refuse(word: str, *messages: str) -> Ruling:
        document = {"ok": False, "error": word, "response_metadata": {"messages": list(messages)}}
        return Ruling(channel="slack", answer=json.dumps(document), problem=messages[0] if messages else word)

    if headers.get("authorization") != f"Bearer {token}":
        return refuse("invalid_auth")
    if method == "auth.test":
        return Ruling(channel="slack", answer='{"ok":true,"team":"Local","user":"ml-events"}')
    if method != "chat.postMessage":
        return refuse("unknown_method")
    document = json.loads(body)
    if document.get("channel") not in {"#ml", "C0123456789"}:
        return refuse("channel_not_found")
    problem = slack_problem(document.get("blocks", []))
    if problem:
        return refuse("invalid_blocks", problem)
    return Ruling(channel="slack", answer='{"ok":true,"channel":"C0123456789","ts":"1700000000.000100"}')


def slack_problem(blocks: list[dict[str, Any]]) -> str:
    """What breaks Block Kit's limits, lengths in UTF-16 units as the strictest reading."""
    if len(blocks) > 50:
        return "no more than 50 items allowed [json-pointer:/blocks]"
    if sum(map(_length, blocks)) > 13_200:
        return "msg_blocks_too_long"
    for index, block in enumerate(blocks):
        where = f"[json-pointer:/blocks/{index}]"
        match block:
            case {"type": "header", "text": {"type": "plain_text", "text": text}} if 0 < _units(text) <= 150:
                continue
            case {"type": "section", "text": {"type": "mrkdwn", "text": text}} if 0 < _units(text) <= 3000:
                continue
            case {"type": "context", "elements": [*elements]} if 0 < len(elements) <= 10:
                continue
            case {"type": "actions", "elements": [*buttons]} if 0 < len(buttons) <= 25 and all(
                len(button["url"]) <= 3000 and 0 < len(button["text"]["text"]) <= 75 for button in buttons
            ):
                continue
        return f"invalid block {where}"
    return ""


def _length(block: dict[str, Any]) -> int:
    texts = [block.get("text", {}), *block.get("elements", [])]
    return sum(_units(text["text"]) for text in texts if isinstance(text.get("text"), str))


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
