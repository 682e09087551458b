"""The hooks over targets, on Airflow's own connections, and the form fields that Airflow shows for them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import BaseHook, Connection

from ml_event_provider import config
from ml_event_provider.exceptions import UnknownTarget
from ml_event_provider.get_provider_info import get_provider_info
from ml_event_provider.hooks.dingtalk import DingTalkHook
from ml_event_provider.hooks.target import TargetHook
from ml_event_provider.hooks.webhook import WebhookHook
from ml_event_provider.targets import Outcome
from tests.peers.receiver import ROBOT_SECRET, ROBOT_TOKEN, WEBHOOK_SECRET, Receiver, closed_port
from tests.peers.samples import sample_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOOKS = [WebhookHook, DingTalkHook]


@pytest.fixture(autouse=True)
def loopback_allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__ALLOWED_HOSTS", "127.0.0.1")
    config.forget()
    yield
    monkeypatch.undo()
    config.forget()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Defines an Airflow connection in the environment and gives its id."""

    def define(conn_type: str, **fields: Any) -> str:
        monkeypatch.setenv("AIRFLOW_CONN_ALERTS", json.dumps({"conn_type": conn_type, **fields}))
        return "alerts"

    return define


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def webhook_fields(receiver: Receiver) -> dict[str, Any]:
    return {"host": receiver.url("/webhook"), "password": WEBHOOK_SECRET}


def test_the_webhook_hook_sends_a_signed_message(connect: Callable[..., str], receiver: Receiver) -> None:
    hook = WebhookHook(connect("mleventswebhook", **webhook_fields(receiver)))
    assert hook.send(sample_message()).outcome is Outcome.DELIVERED
    assert receiver.requests[0].verified


def test_the_dingtalk_hook_sends_a_signed_message(connect: Callable[..., str], receiver: Receiver) -> None:
    fields = {"host": receiver.url("/dingtalk/robot/send"), "password": ROBOT_TOKEN}
    hook = DingTalkHook(connect("mleventsdingtalk", **fields, extra={"secret": ROBOT_SECRET}))
    assert hook.send(sample_message()).code == "errcode 0"
    assert receiver.requests[0].verified


def test_test_connection_says_what_the_remote_said(connect: Callable[..., str], receiver: Receiver) -> None:
    fields = webhook_fields(receiver)
    assert WebhookHook(connect("mleventswebhook", **fields)).test_connection() == (True, "HTTP 200: OK")
    wrong = {**fields, "password": "whsec_" + "QUJD" * 10}
    working, words = WebhookHook(connect("mleventswebhook", **wrong)).test_connection()
    assert (working, words) == (False, "HTTP 401: No matching signature found")
    working, words = WebhookHook(
        connect("mleventswebhook", host=f"http://127.0.0.1:{closed_port()}/x")
    ).test_connection()
    assert working is False
    assert words.startswith("connection refused: ")


def test_a_forbidden_address_fails_the_test_with_what_to_do(
    connect: Callable[..., str], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__ALLOWED_HOSTS", "")
    config.forget()
    hook = WebhookHook(connect("mleventswebhook", **webhook_fields(receiver)))
    working, words = hook.test_connection()
    assert working is False
    assert "[ml_events] allowed_hosts" in words
    assert receiver.requests == []


def test_any_served_connection_can_be_used(connect: Callable[..., str], receiver: Receiver) -> None:
    hook = TargetHook(connect("http", host=receiver.url("/any")))
    assert hook.send(sample_message()).outcome is Outcome.DELIVERED


def test_a_connection_that_no_target_serves_is_an_error(connect: Callable[..., str]) -> None:
    with pytest.raises(UnknownTarget, match="ftp"):
        TargetHook(connect("ftp", host="x")).send(sample_message())


def test_the_timeout_is_the_option_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__SEND_TIMEOUT_SECONDS", "7.5")
    config.forget()
    assert WebhookHook("x").timeout == 7.5
    assert WebhookHook("x", timeout=2.0).timeout == 2.0


@pytest.mark.parametrize("hook", HOOKS)
def test_airflow_finds_the_hook_of_the_connection_type(hook: type[TargetHook], connect: Callable[..., str]) -> None:
    declared = {item["connection-type"]: item for item in get_provider_info()["connection-types"]}
    entry = declared[hook.conn_type]
    assert entry["hook-class-name"] == f"{hook.__module__}.{hook.__name__}"
    assert entry["hook-name"] == hook.hook_name
    assert issubclass(hook, BaseHook)
    # As Airflow makes it: by the attribute that names the connection.
    made = hook(**{hook.conn_name_attr: connect(hook.conn_type)})
    assert made.conn_id == "alerts"
    assert isinstance(BaseHook.get_connection("alerts"), Connection)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_field_of_the_form_changes_what_is_sent(
    hook: type[TargetHook], connect: Callable[..., str], receiver: Receiver
) -> None:
    """A field that is shown but not read would be a promise not kept."""
    values = {
        "mleventswebhook": {
            "format": "cloudevents-structured",
            "previous_secret": "whsec_" + "QUJD" * 10,
            "headers": '{"X-Team": "ml"}',
            "bearer_token": "bearer-0123456789",
        },
        "mleventsdingtalk": {
            "secret": ROBOT_SECRET,
            "keywords": "unusual-word",
            "message_type": "text",
            "at_mobiles": "13800000001",
            "at_all": True,
        },
    }[hook.conn_type]
    entry = {item["connection-type"]: item for item in get_provider_info()["connection-types"]}[hook.conn_type]
    # The body template is filled by the renderer.
    assert set(entry["conn-fields"]) - {"body_template"} == set(values)
    path = "/webhook" if hook is WebhookHook else "/dingtalk/robot/send"
    password = WEBHOOK_SECRET if hook is WebhookHook else ROBOT_TOKEN
    for name, value in values.items():
        receiver.clear()
        for extra in ({}, {name: value}):
            hook(connect(hook.conn_type, host=receiver.url(path), password=password, extra=extra)).send(
                sample_message()
            )
        plain, changed = (
            (
                request.body,
                set(request.query),
                set(request.headers),
                len(request.headers.get("webhook-signature", "")),
            )
            for request in receiver.requests
        )
        assert plain != changed, name
