from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk._shared.module_loading import import_string
from airflow.serialization.serialized_objects import BaseSerialization

from ml_event_provider.hooks.mlflow import MLflowHook
from ml_event_provider.registries import Approval, ApprovalPolicy
from ml_event_provider.registries.watch import Watch
from ml_event_provider.triggers.model_approval import ModelApprovalTrigger
from tests.peers.mlflow_relay import BUSY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peers.mlflow_relay import Relay
    from tests.peers.mlflow_server import MlflowServer

TAG = "validation_status"
JSON = {"Content-Type": "application/json"}


def version(status: str = "") -> tuple[int, dict[str, str], bytes]:
    tags = f'[{{"key": "{TAG}", "value": "{status}"}}]'
    return 200, JSON, f'{{"model_version": {{"name": "m", "version": "1", "tags": {tags}}}}}'.encode()


def trigger(model: str = "m", seconds: float = 60, max_errors: int = 3, **changes: Any) -> ModelApprovalTrigger:
    watch = Watch(model=model, version="1", policy=ApprovalPolicy(), max_errors=max_errors)
    settings: dict[str, Any] = {
        "registry": "mlflow",
        "conn_id": "mlflow_default",
        "watch": watch.to_json(),
        "poll_interval": 0.01,
        "request_timeout": 20.0,
        "end_time": datetime.now(UTC) + timedelta(seconds=seconds),
    }
    return ModelApprovalTrigger(**{**settings, **changes})


async def outcome(one: ModelApprovalTrigger) -> tuple[Watch, str]:
    (event,) = [event async for event in one.run()]
    return Watch.from_dict(event.payload["watch"]), event.payload["error"]


async def test_its_end_fits_into_airflows_database_whatever_the_models_name(
    relay: Relay, connect: Callable[..., str]
) -> None:
    connect(relay.url)
    relay.otherwise = version("approved")
    (event,) = [event async for event in trigger("a\0\ud800").run()]
    # What PostgreSQL's jsonb refuses to store.
    assert "\\u0000" not in json.dumps(event.payload).replace("\\\\u0000", "")
    assert Watch.from_dict(event.payload["watch"]).model == "a\0\ud800"


async def test_it_ends_with_the_decision_and_what_was_before(
    mlflow_server: MlflowServer, relay: Relay, connect: Callable[..., str], model: str
) -> None:
    hook = MLflowHook(connect(mlflow_server.url, "mlflow_direct"))
    await asyncio.to_thread(hook.register_model_version, model, "s3://bucket/a", tags={TAG: "in review"})
    connect(relay.url)
    relay.upstream = mlflow_server.url
    relay.before = lambda number: hook.set_version_tag(model, "1", TAG, "approved") if number == 3 else None
    watch, error = await outcome(trigger(model))
    assert error == ""
    assert watch.pending is not None
    assert watch.pending.version.tags == {TAG: "in review"}
    assert watch.decision is not None
    assert watch.decision.status is Approval.APPROVED
    assert len(relay.seen) == 3


async def test_the_loop_goes_on_while_the_registry_is_slow(relay: Relay, connect: Callable[..., str]) -> None:
    connect(relay.url)
    relay.script.extend([version(), version("approved")])
    ticks = 0
    enough = threading.Event()
    held: list[bool] = []
    # The registry answers only when the loop has turned often enough: a blocked loop never lets it.
    relay.before = lambda number: held.append(enough.wait(20))

    async def heartbeat() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1
            if ticks >= 500 and relay.seen:
                enough.set()

    beating = asyncio.create_task(heartbeat())
    watch, _ = await outcome(trigger())
    beating.cancel()
    assert held == [True, True]
    assert watch.decision is not None


async def test_the_end_of_the_time_is_no_decision_and_no_error(relay: Relay, connect: Callable[..., str]) -> None:
    connect(relay.url)
    relay.otherwise = version("in review")
    watch, error = await outcome(trigger(seconds=-1))
    assert (watch.decision, error) == (None, "")
    assert len(relay.seen) == 1


async def test_a_decision_at_the_end_of_the_time_counts(relay: Relay, connect: Callable[..., str]) -> None:
    connect(relay.url)
    relay.otherwise = version("approved")
    watch, _ = await outcome(trigger(seconds=-1))
    assert watch.decision is not None


async def test_errors_are_waited_out(relay: Relay, connect: Callable[..., str]) -> None:
    connect(relay.url)
    relay.script.extend([BUSY, BUSY, version(), BUSY, BUSY, version("rejected")])
    watch, error = await outcome(trigger())
    assert error == ""
    assert watch.decision is not None
    assert watch.decision.status is Approval.REJECTED


async def test_too_many_errors_end_with_the_registrys_words(relay: Relay, connect: Callable[..., str]) -> None:
    connect(relay.url)
    relay.script.append(version("in review"))
    relay.otherwise = BUSY
    watch, error = await outcome(trigger())
    assert "after 3 errors in a row; the last: " in error
    assert "TEMPORARILY_UNAVAILABLE: busy" in error
    assert watch.pending is not None
    assert len(relay.seen) == 4


async def test_a_refusal_ends_at_once(relay: Relay, connect: Callable[..., str]) -> None:
    connect(relay.url)
    relay.otherwise = (404, JSON, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "gone"}')
    _, error = await outcome(trigger())
    assert "RESOURCE_DOES_NOT_EXIST: gone" in error
    assert len(relay.seen) == 1


async def test_a_connection_that_cannot_be_read_is_an_error_like_others() -> None:
    _, error = await outcome(trigger(conn_id="nowhere", max_errors=2))
    assert "after 2 errors in a row; the last: connection 'nowhere' cannot be read: " in error


async def test_an_unknown_registry_is_named(connect: Callable[..., str]) -> None:
    connect("http://127.0.0.1:1")
    _, error = await outcome(trigger(registry="nonesuch", max_errors=1))
    assert "no model registry is named 'nonesuch'" in error


async def test_a_rotated_password_is_used_at_the_next_look(relay: Relay, connect: Callable[..., str]) -> None:
    connect(relay.url, password="old")
    relay.script.extend([version(), version("approved")])
    relay.before = lambda number: connect(relay.url, password="new")
    await outcome(trigger())
    assert [seen[2].get("Authorization") for seen in relay.seen] == ["Bearer old", "Bearer new"]


async def test_a_cancelled_trigger_does_not_wait_for_the_registry(relay: Relay, connect: Callable[..., str]) -> None:
    connect(relay.url)
    asked, release = threading.Event(), threading.Event()
    answered: list[bool] = []

    def hold(number: int) -> None:
        asked.set()
        answered.append(release.wait(20))

    relay.before = hold
    running = asyncio.create_task(outcome(trigger()))
    try:
        assert await asyncio.to_thread(asked.wait, 20)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert answered == []
    finally:
        release.set()


async def test_a_trigger_that_another_triggerer_takes_over_ends_the_same_way(
    relay: Relay, connect: Callable[..., str]
) -> None:
    connect(relay.url)
    relay.script.extend([version(), version("approved")])
    path, arguments = trigger().serialize()
    sent = json.dumps(BaseSerialization.serialize(arguments))
    again = import_string(path)(**BaseSerialization.deserialize(json.loads(sent)))
    assert again.serialize() == (path, arguments)
    watch, _ = await outcome(again)
    assert watch.decision is not None


@pytest.mark.parametrize(("errors", "factor"), [(0, 1), (1, 2), (2, 4), (3, 8), (9, 8)])
def test_the_wait_grows_with_errors_to_a_limit(errors: int, factor: int) -> None:
    one = trigger(poll_interval=10.0)
    pauses = {one._pause(errors) for _ in range(20)}
    assert all(9 * factor <= pause <= 11 * factor for pause in pauses)
    assert len(pauses) > 1
