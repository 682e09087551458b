from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from ml_event_provider.targets import Outcome
from ml_event_provider.targets.slack import MAX_BODY, SlackTarget, blocks, webhook_url
from tests.peers.receiver import SLACK_PATH, SLACK_TOKEN, Behaviour, Receiver
from tests.peers.rules import slack_problem
from tests.peers.samples import SampleConnection, sample_message

if TYPE_CHECKING:
    from ml_event_provider.targets.network import Network


@pytest.fixture
def target(network: Network) -> SlackTarget:
    return SlackTarget(network)


def webhook(receiver: Receiver, **changes: Any) -> SampleConnection:
    fields: dict[str, Any] = {"host": receiver.url("/slack/services"), "password": SLACK_PATH}
    return SampleConnection(conn_type="slackwebhook", **{**fields, **changes})


def bot(receiver: Receiver, **changes: Any) -> SampleConnection:
    extra = {"base_url": receiver.url("/slack/api/"), "channel": "#ml", **changes.pop("extra", {})}
    return SampleConnection(conn_type="slack", **{"password": SLACK_TOKEN, **changes}, extra=extra)


def test_a_webhook_message_has_header_text_context_and_buttons(target: SlackTarget, receiver: Receiver) -> None:
    result = target.send(webhook(receiver), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.DELIVERED, "ok")
    document = receiver.requests[0].json()
    assert document["text"] == "Task fit of train failed"
    header, section, context, actions = document["blocks"]
    assert header["text"]["text"] == "Task fit of train failed"
    assert section["text"] == {"type": "mrkdwn", "text": "The task **fit** failed: ValueError größer 大"}
    assert "rule failures" in context["elements"][0]["text"]
    assert "2026-11-20 12:00:01 UTC" in context["elements"][0]["text"]
    assert [button["url"] for button in actions["elements"]] == [
        "https://airflow.example/runs/1",
        "https://airflow.example/logs/1",
    ]


def test_without_links_there_are_no_buttons() -> None:
    kinds = [block["type"] for block in blocks(sample_message(run_url="", log_url=""))]
    assert kinds == ["header", "section", "context"]


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"password": "T0/B0/x"}, "https://hooks.slack.com/services/T0/B0/x"),
        ({"password": " /T0/B0/x "}, "https://hooks.slack.com/services/T0/B0/x"),
        ({"password": "https://hooks.slack.com/services/T/B/x"}, "https://hooks.slack.com/services/T/B/x"),
        ({"password": "T0/B0/x", "host": "https://slack.example/in/"}, "https://slack.example/in/T0/B0/x"),
        ({"password": "x", "host": "slack.example", "schema": "http"}, "http://slack.example/x"),
        ({"password": "x", "host": "slack.example/in", "port": 81}, "https://slack.example:81/in/x"),
        ({"extra": {"webhook_token": "T0/B0/x"}}, "https://hooks.slack.com/services/T0/B0/x"),
    ],
)
def test_the_webhooks_url_is_built_as_by_airflows_hook(fields: dict[str, Any], url: str) -> None:
    assert webhook_url(SampleConnection(conn_type="slackwebhook", **fields)) == url


@pytest.mark.parametrize(
    ("status", "word", "outcome"),
    [
        (404, "no_service", Outcome.REFUSED),
        (404, "no_service_id", Outcome.REFUSED),
        (404, "no_team", Outcome.REFUSED),
        (404, "channel_not_found", Outcome.REFUSED),
        (410, "channel_is_archived", Outcome.REFUSED),
        (403, "action_prohibited", Outcome.REFUSED),
        (403, "invalid_token", Outcome.REFUSED),
        (403, "team_disabled", Outcome.REFUSED),
        (403, "posting_to_general_channel_denied", Outcome.REFUSED),
        (400, "invalid_payload", Outcome.REFUSED),
        (400, "invalid_blocks", Outcome.REFUSED),
        (400, "no_text", Outcome.REFUSED),
        (400, "user_not_found", Outcome.REFUSED),
        (400, "too_many_attachments", Outcome.REFUSED),
        (200, "invalid_payload", Outcome.REFUSED),
        (500, "rollup_error", Outcome.RETRY),
        (429, "rate_limited", Outcome.RETRY),
        (200, "rate_limited", Outcome.RETRY),
        (400, "service_unavailable", Outcome.RETRY),
        (503, "anything", Outcome.RETRY),
        (500, "ok", Outcome.RETRY),
        (404, "ok", Outcome.REFUSED),
        (200, "", Outcome.RETRY),
        (200, "<html>Welcome to the proxy</html>", Outcome.RETRY),
        (200, "ok, but not quite", Outcome.RETRY),
    ],
)
def test_every_word_of_a_webhook_has_its_outcome(
    target: SlackTarget, receiver: Receiver, status: int, word: str, outcome: Outcome
) -> None:
    receiver.next(Behaviour(status=status, body=word))
    result = target.send(webhook(receiver), sample_message(), timeout=5)
    assert result.outcome is outcome
    assert word in result.reason


@pytest.mark.parametrize("way", ["webhook", "bot"])
def test_throttling_keeps_the_wait_that_was_asked_for(target: SlackTarget, receiver: Receiver, way: str) -> None:
    body = "rate_limited" if way == "webhook" else '{"ok":false,"error":"ratelimited"}'
    receiver.next(Behaviour(status=429, body=body, headers={"Retry-After": "30"}))
    connection = webhook(receiver) if way == "webhook" else bot(receiver)
    result = target.send(connection, sample_message(), timeout=5)
    assert (result.outcome, result.retry_after) == (Outcome.RETRY, 30.0)


def test_a_removed_webhook_is_told_with_what_to_do(target: SlackTarget, receiver: Receiver) -> None:
    result = target.send(webhook(receiver, password="T0/B0/gone-for-ever"), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "HTTP 404 no_service")
    assert "make a new one" in result.reason


def test_a_bot_posts_to_the_rules_channel_before_the_connections(target: SlackTarget, receiver: Receiver) -> None:
    assert target.send(bot(receiver), sample_message(), timeout=5).outcome is Outcome.DELIVERED
    options = {"channel": "C0123456789"}
    result = target.send(bot(receiver), sample_message(options=options), timeout=5)
    assert (result.outcome, result.reason) == (Outcome.DELIVERED, "1700000000.000100")
    assert [request.json()["channel"] for request in receiver.requests] == ["#ml", "C0123456789"]


def test_a_bot_without_a_channel_is_refused(target: SlackTarget, receiver: Receiver) -> None:
    result = target.send(bot(receiver, extra={"channel": ""}), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "unusable")
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("channel_not_found", Outcome.REFUSED),
        ("not_in_channel", Outcome.REFUSED),
        ("is_archived", Outcome.REFUSED),
        ("invalid_auth", Outcome.REFUSED),
        ("token_revoked", Outcome.REFUSED),
        ("msg_blocks_too_long", Outcome.REFUSED),
        ("missing_scope", Outcome.REFUSED),
        ("ratelimited", Outcome.RETRY),
        ("internal_error", Outcome.RETRY),
        ("fatal_error", Outcome.RETRY),
        ("service_unavailable", Outcome.RETRY),
        ("request_timeout", Outcome.RETRY),
    ],
)
def test_success_of_the_web_api_is_read_from_the_body(
    target: SlackTarget, receiver: Receiver, word: str, outcome: Outcome
) -> None:
    receiver.next(Behaviour(status=200, body=json.dumps({"ok": False, "error": word})))
    result = target.send(bot(receiver), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (outcome, word)


@pytest.mark.parametrize("body", ["ok", "", "[]", "{}", '{"ok":"true"}', '{"ok":1}', "null"])
def test_an_answer_that_is_not_the_web_apis_is_a_failure(target: SlackTarget, receiver: Receiver, body: str) -> None:
    receiver.next(Behaviour(body=body))
    assert target.send(bot(receiver), sample_message(), timeout=5).outcome is Outcome.RETRY


def test_the_apis_details_are_told(target: SlackTarget, receiver: Receiver) -> None:
    answer = {
        "ok": False,
        "error": "invalid_blocks",
        "response_metadata": {"messages": ["[ERROR] at /blocks/1"]},
    }
    receiver.next(Behaviour(body=json.dumps(answer)))
    assert "/blocks/1" in target.send(bot(receiver), sample_message(), timeout=5).reason


@pytest.mark.parametrize("token", [None, "", "x\r\nEvil: y", "tökén"])
def test_a_token_that_cannot_be_a_header_is_refused(target: SlackTarget, receiver: Receiver, token: str | None) -> None:
    result = target.send(bot(receiver, password=token), sample_message(), timeout=5)
    assert (result.outcome, result.code) == (Outcome.REFUSED, "unusable")
    assert receiver.requests == []


@pytest.mark.parametrize("unit", ["word ", "x", "大", "😀", "line\n", "\n\n", "*b* <https://a.example|x> "])
@pytest.mark.parametrize("title", ["T" * 400, "😀" * 200, ""])
def test_long_messages_keep_slacks_limits(target: SlackTarget, receiver: Receiver, unit: str, title: str) -> None:
    result = target.send(webhook(receiver), sample_message(body=unit * 20_000, title=title), timeout=5)
    assert result.outcome is Outcome.DELIVERED, receiver.requests[0].problem
    for block in receiver.requests[0].json()["blocks"]:
        Block.parse(block).to_dict()  # slack_sdk's own validators


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=400), st.text(max_size=60))
def test_any_text_gives_blocks_within_the_limits(title: str, unit: str) -> None:
    found = blocks(sample_message(title=title, body=unit * (2 * MAX_BODY // max(len(unit), 1))))
    assert slack_problem(found) == ""


def test_the_check_of_a_bot_asks_whose_the_token_is(target: SlackTarget, receiver: Receiver) -> None:
    result = target.check(bot(receiver), timeout=5)
    assert (result.outcome, result.reason) == (Outcome.DELIVERED, "Local")
    assert [request.path for request in receiver.requests] == ["/slack/api/auth.test"]
    wrong = target.check(bot(receiver, password="xoxb-wrong"), timeout=5)
    assert (wrong.outcome, wrong.code) == (Outcome.REFUSED, "invalid_auth")


def test_the_check_of_a_webhook_posts_a_test_text(target: SlackTarget, receiver: Receiver) -> None:
    assert target.check(webhook(receiver), timeout=5).outcome is Outcome.DELIVERED
    assert receiver.requests[0].json()["text"] == "connection test"
