from __future__ import annotations

import asyncio
import importlib.util
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from ml_event_provider.events.belonging import dag_of
from ml_event_provider.exceptions import RegistryError
from ml_event_provider.hooks.mlflow import MLflowHook
from ml_event_provider.registries import Approval, ModelVersion, RegistryRefused
from ml_event_provider.registries.watch import Sighting
from ml_event_provider.sensors.model_approval import ModelApprovalSensor
from ml_event_provider.triggers.model_approval import ModelApprovalTrigger
from tests.peers.mlflow_relay import BUSY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peers.mlflow_relay import Relay
    from tests.peers.mlflow_server import MlflowServer
    from tests.unit.sensors.conftest import Inbox

TAG = "validation_status"


class Store:
    """Airflow's task state store, as far as JSON goes."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)


def task_context(store: Store | None = None, try_number: int = 1) -> Any:
    ti = SimpleNamespace(
        dag_id="train",
        run_id="manual__1",
        task_id="wait",
        try_number=try_number,
        get_first_reschedule_date=lambda context: None,
    )
    return {"ti": ti} if store is None else {"ti": ti, "task_state_store": store}


@pytest.fixture
def hook(mlflow_server: MlflowServer, connect: Callable[..., str]) -> MLflowHook:
    """Writes to MLflow directly, past the relay."""
    return MLflowHook(connect(mlflow_server.url, "mlflow_direct"))


@pytest.fixture
def relayed(relay: Relay, mlflow_server: MlflowServer, connect: Callable[..., str]) -> Relay:
    """What the sensor's own connection leads to."""
    relay.upstream = mlflow_server.url
    connect(relay.url)
    return relay


def sensor(model: str, **changes: Any) -> ModelApprovalSensor:
    settings = {
        "task_id": "wait",
        "poke_interval": 0.01,
        "timeout": 60,
        "deferrable": False,
        "request_timeout": 20,
    }
    return ModelApprovalSensor(model=model, **{**settings, **changes})


async def first_event(trigger: ModelApprovalTrigger) -> Any:
    async for event in trigger.run():
        return event.payload


@pytest.mark.parametrize(("team", "workspace"), [("red", "red"), (None, "default")])
def test_what_a_teams_sensor_saw_is_the_teams(team: str | None, workspace: str) -> None:
    version = ModelVersion(model="churn", version="1", tags={TAG: "approved"})
    decision = Sighting(version=version, status=Approval.APPROVED, time=datetime.now(UTC))
    context = {**task_context(), "dag_run": SimpleNamespace(team_name=team)}
    task = sensor("churn")
    event = task._event(context, task._new_watch(), decision)
    assert (event.workspace, dag_of(event)) == (workspace, "train")


def run(task: ModelApprovalSensor, context: Any = None) -> Any:
    """Run the task as Airflow does: a deferred one goes on with its trigger's event."""
    context = context or task_context()
    try:
        return task.execute(context)
    except TaskDeferred as deferred:
        _, arguments = deferred.trigger.serialize()
        event = asyncio.run(first_event(ModelApprovalTrigger(**arguments)))
        return task.resume_execution(deferred.method_name, {"event": event}, context)


both = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferrable"])


@both
def test_an_approval_during_the_wait_lets_the_task_go_on_and_is_published(
    hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str, deferrable: bool
) -> None:
    hook.register_model_version(model, "s3://bucket/a", run_id=(run_id := hook.create_run("e")))
    relayed.before = lambda number: hook.set_version_tag(model, "1", TAG, "Approved") if number == 6 else None
    result = run(sensor(model, deferrable=deferrable))
    link = hook.get_version(model).link.replace(relayed.upstream, relayed.url)
    assert result == {
        "model": model,
        "version": "1",
        "status": "approved",
        "tags": {TAG: "Approved"},
        "aliases": [],
        "link": link,
        "run_id": run_id,
    }
    (event,) = inbox.events
    assert event["type"] == "ml.model_version.approval_changed"
    assert event["source"] == "/registries/mlflow/mlflow_default"
    assert (event["workspace"], event["owner"], event["origin"]) == ("fraud", "airflow", "worker")
    assert event["subject"] == f"models/{model}/versions/1"
    assert datetime.fromisoformat(event["data"].pop("previous_seen")) < datetime.fromisoformat(event["time"])
    assert event["data"] == {
        **result,
        "registry": "mlflow",
        "previous_status": "pending",
        "dag_id": "train",
        "dag_run_id": "manual__1",
        "task_id": "wait",
    }


@both
@pytest.mark.parametrize("odd", ["\t", "\n", "\0", "\x1b", "\x85", "\ufffe", "n" * 200])
def test_a_name_that_the_registry_accepts_never_fails_the_task_that_waited_for_it(
    hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str, deferrable: bool, odd: str
) -> None:
    name = f"{model}{odd}2"
    hook.register_model_version(name, "s3://bucket/a")
    relayed.before = lambda number: hook.set_version_tag(name, "1", TAG, "approved") if number == 4 else None
    result = run(sensor(name, version="1", deferrable=deferrable))
    assert result["model"] == name.replace("\0", "\ufffd")
    (event,) = inbox.events
    expected = name if odd == "n" * 200 else f"{model}\ufffd2"
    assert event["subject"] == f"models/{expected}/versions/1"
    assert event["data"]["model"] == name


@both
def test_a_version_that_is_approved_already_is_published_without_a_previous_status(
    hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str, deferrable: bool
) -> None:
    hook.register_model_version(model, "s3://bucket/a", tags={TAG: "approved"})
    assert run(sensor(model, deferrable=deferrable))["status"] == "approved"
    assert [event["data"]["previous_status"] for event in inbox.events] == [None]


@both
def test_latest_stays_the_version_of_the_first_look(
    hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str, deferrable: bool
) -> None:
    hook.register_model_version(model, "s3://bucket/a")

    def meanwhile(number: int) -> None:
        if number == 4:
            hook.register_model_version(model, "s3://bucket/b", tags={TAG: "approved"})
        if number == 7:
            hook.set_version_tag(model, "1", TAG, "approved")

    relayed.before = meanwhile
    assert run(sensor(model, deferrable=deferrable))["version"] == "1"
    assert len(relayed.seen) >= 7


@both
def test_a_rejection_fails_the_task_for_good_and_says_what_was_rejected(
    hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str, deferrable: bool
) -> None:
    hook.register_model_version(model, "s3://bucket/a")
    relayed.before = lambda number: hook.set_version_tag(model, "1", TAG, "Rejected") if number == 4 else None
    with pytest.raises(AirflowFailException) as caught:
        run(sensor(model, deferrable=deferrable))
    link = hook.get_version(model).link.replace(relayed.upstream, relayed.url)
    assert str(caught.value) == (
        f"version 1 of model {model!r} was not approved: rejected (tag 'validation_status' = 'Rejected') {link}"
    )
    assert [event["data"]["status"] for event in inbox.events] == ["rejected"]


@both
def test_a_rejection_can_be_an_answer_like_another(
    hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str, deferrable: bool
) -> None:
    hook.register_model_version(model, "s3://bucket/a", tags={TAG: "rejected"})
    assert run(sensor(model, deferrable=deferrable, fail_on_rejection=False))["status"] == "rejected"


@both
def test_soft_fail_skips_on_rejection_with_the_reason(
    hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str, deferrable: bool
) -> None:
    hook.register_model_version(model, "s3://bucket/a", tags={TAG: "rejected"})
    with pytest.raises(AirflowSkipException, match="was not approved: rejected"):
        run(sensor(model, deferrable=deferrable, soft_fail=True))


@both
@pytest.mark.parametrize(
    ("soft_fail", "error"),
    [(False, AirflowSensorTimeout), (True, AirflowSkipException)],
    ids=["hard", "soft"],
)
def test_a_timeout_says_what_was_waited_for_and_last_seen(
    hook: MLflowHook,
    relayed: Relay,
    inbox: Inbox,
    model: str,
    deferrable: bool,
    soft_fail: bool,
    error: type[Exception],
) -> None:
    hook.register_model_version(model, "s3://bucket/a", tags={TAG: "in review"})
    with pytest.raises(error) as caught:
        run(sensor(model, deferrable=deferrable, soft_fail=soft_fail, timeout=0))
    whole = f"{caught.value} {caught.value.__cause__}"
    assert (
        f"version 1 of model {model!r} was not approved within 0 s:"
        " waited for tag 'validation_status' = 'approved',"
        " last seen pending (tag 'validation_status' = 'in review') http://127.0.0.1:"
    ) in whole
    assert inbox.events == []


@both
def test_errors_of_the_registry_are_waited_out(
    hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str, deferrable: bool
) -> None:
    hook.register_model_version(model, "s3://bucket/a", tags={TAG: "approved"})
    relayed.script.extend([BUSY, (502, {}, b"<html>bad gateway</html>"), BUSY])
    assert run(sensor(model, deferrable=deferrable, max_registry_errors=4))["status"] == "approved"


@both
def test_too_many_errors_in_a_row_fail_in_the_registrys_words(
    relay: Relay, connect: Callable[..., str], model: str, deferrable: bool
) -> None:
    connect(relay.url)
    relay.otherwise = BUSY
    with pytest.raises(RegistryError, match=r"after 3 errors in a row; the last: .*TEMPORARILY_UNAVAILABLE: busy"):
        run(sensor(model, deferrable=deferrable, max_registry_errors=3))
    assert len(relay.seen) == 3


@both
def test_a_version_that_does_not_exist_fails_at_once(
    hook: MLflowHook, relayed: Relay, model: str, deferrable: bool
) -> None:
    with pytest.raises(RegistryRefused, match="RESOURCE_DOES_NOT_EXIST"):
        run(sensor(model, version=1, deferrable=deferrable))
    assert len(relayed.seen) == 1


@both
def test_never_fail_skips_when_the_registry_refuses(relayed: Relay, model: str, deferrable: bool) -> None:
    with pytest.raises(AirflowSkipException, match="RESOURCE_DOES_NOT_EXIST"):
        run(sensor(model, version="1", deferrable=deferrable, never_fail=True))


@both
def test_approval_by_alias(hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str, deferrable: bool) -> None:
    hook.register_model_version(model, "s3://bucket/a")
    relayed.before = lambda number: hook.set_alias(model, "Champion", "1") if number == 4 else None
    result = run(sensor(model, alias="champion", deferrable=deferrable))
    assert (result["status"], result["aliases"]) == ("approved", ["Champion"])
    assert [event["data"]["previous_status"] for event in inbox.events] == ["pending"]


def test_two_waits_for_one_approval_publish_one_id(hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str) -> None:
    hook.register_model_version(model, "s3://bucket/a", tags={TAG: "approved"})
    run(sensor(model))
    run(sensor(model, version="1", task_id="another"))
    first, second = inbox.events
    assert first["id"] == second["id"]


def test_publishing_can_be_switched_off(hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str) -> None:
    hook.register_model_version(model, "s3://bucket/a", tags={TAG: "approved"})
    run(sensor(model, publish=False))
    assert inbox.events == []


def test_an_event_that_cannot_be_handed_over_does_not_fail_the_task(
    hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str, tmp_path: Any
) -> None:
    hook.register_model_version(model, "s3://bucket/a", tags={TAG: "approved"})
    inbox.server.otherwise = (500, {}, b"down")
    assert run(sensor(model))["status"] == "approved"
    assert [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]


def test_a_rescheduled_sensor_remembers_version_and_status(
    hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str
) -> None:
    store = Store()
    hook.register_model_version(model, "s3://bucket/a")
    with pytest.raises(AirflowRescheduleException):
        run(sensor(model, mode="reschedule"), task_context(store))
    hook.register_model_version(model, "s3://bucket/b")
    hook.set_version_tag(model, "1", TAG, "approved")
    result = run(sensor(model, mode="reschedule"), task_context(store))
    assert result["version"] == "1"
    assert [event["data"]["previous_status"] for event in inbox.events] == ["pending"]


def test_a_rescheduled_sensor_counts_errors_across_its_processes(
    relay: Relay, connect: Callable[..., str], model: str
) -> None:
    connect(relay.url)
    relay.otherwise = BUSY
    store = Store()
    for _ in range(2):
        with pytest.raises(AirflowRescheduleException):
            run(sensor(model, mode="reschedule", max_registry_errors=3), task_context(store))
    with pytest.raises(RegistryError, match="after 3 errors in a row"):
        run(sensor(model, mode="reschedule", max_registry_errors=3), task_context(store))


def test_another_try_of_a_rescheduled_sensor_starts_anew(
    hook: MLflowHook, relayed: Relay, inbox: Inbox, model: str
) -> None:
    store = Store()
    hook.register_model_version(model, "s3://bucket/a")
    with pytest.raises(AirflowRescheduleException):
        run(sensor(model, mode="reschedule"), task_context(store))
    hook.register_model_version(model, "s3://bucket/b", tags={TAG: "approved"})
    assert run(sensor(model, mode="reschedule"), task_context(store, try_number=2))["version"] == "2"


def test_reschedule_without_a_state_store_says_what_to_use(model: str, connect: Callable[..., str]) -> None:
    with pytest.raises(AirflowFailException, match="deferrable=True"):
        run(sensor(model, mode="reschedule"))


def test_templates_are_rendered() -> None:
    task = sensor("{{ name }}", version="{{ version }}", alias="{{ name }}-x", approved=["{{ name }}", "ok"])
    task.render_template_fields({"name": "churn", "version": "3"})  # type: ignore[arg-type, typeddict-unknown-key]
    assert (task.model, task.version, task.alias, task.approved) == ("churn", "3", "churn-x", ["churn", "ok"])


def test_deferrable_defaults_to_airflows_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    # The default is read when the module is imported.
    spec = importlib.util.find_spec(ModelApprovalSensor.__module__)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    assert module.ModelApprovalSensor(task_id="wait", model="m").deferrable is True
