"""The event operators: stable ids, templated fields, the whole documents that they send."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from ml_event_provider import config
from ml_event_provider.events.belonging import dag_of
from ml_event_provider.events.hops import run_id_of
from ml_event_provider.exceptions import EventRejected, HandOverError, InvalidEvent
from ml_event_provider.hooks import ingest
from ml_event_provider.hooks.ml_events import MlEventHook
from ml_event_provider.operators.events import EvaluateRulesOperator, PublishEventOperator, SendNotificationOperator
from tests.peers.receiver import Behaviour, Receiver, closed_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__SPOOL_DIRECTORY", str(tmp_path / "spool"))
    config.forget()
    ingest._client.cache_clear()
    yield
    ingest._client.cache_clear()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """An API server that answers as scripted."""
    with Receiver() as receiver:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", receiver.url("/execution/"))
        yield receiver


def answers(server: Receiver, status: int, document: Any) -> None:
    server.next(Behaviour(status=status, body=json.dumps(document)))


def context(**changes: Any) -> Any:
    fields = {"dag_id": "train", "run_id": "run-1", "task_id": "say", "map_index": -1, "try_number": 1, **changes}
    start = fields.pop("start", START)
    run = SimpleNamespace(start_date=start, team_name=fields.pop("team", None))
    return {"ti": SimpleNamespace(**fields), "dag_run": run, "run_id": fields["run_id"]}


def publish(**options: Any) -> PublishEventOperator:
    return PublishEventOperator(**{"task_id": "say", "event_type": "shop.refreshed", **options})


def described(operator: Any = None, **changes: Any) -> dict[str, Any]:
    return dict((operator or publish()).describe(context(**changes)).to_dict())


# Whose it is


@pytest.mark.parametrize(
    "operator",
    [
        publish(),
        publish(data={"dag_id": "other"}, subject="datasets/x", source="/shop"),
        SendNotificationOperator(task_id="say", targets=["inbox"], title="Hello"),
        EvaluateRulesOperator(task_id="say", event_type="shop.refreshed"),
    ],
    ids=["plain", "about another DAG", "message", "question"],
)
def test_what_a_task_tells_belongs_to_its_dag(operator: Any) -> None:
    assert dag_of(operator.describe(context())) == "train"


# Ids


def test_each_try_describes_the_same_event() -> None:
    first, second = described(), described(try_number=2, start=START)
    assert (first["id"], first["source"]) == (second["id"], second["source"])


def test_a_cleared_task_describes_an_event_of_its_own_and_each_of_its_tries_the_same() -> None:
    # Airflow raises max_tries of a task with two retries by the tries that were, when it is cleared.
    def tried(number: int, allowed: int) -> str:
        return str(described(publish(retries=2), try_number=number, max_tries=allowed)["id"])

    first, again = [tried(1, 2), tried(2, 2)], [tried(3, 4), tried(4, 4)]
    assert len(set(first)) == len(set(again)) == 1
    assert first != again
    assert tried(1, 2) == described()["id"]


@pytest.mark.parametrize(
    "changes",
    [
        {"map_index": 0},
        {"map_index": 1},
        {"run_id": "run-2"},
        {"dag_id": "other"},
        {"task_id": "other"},
        {"team": "fraud"},
    ],
    ids=str,
)
def test_another_task_describes_another_event(changes: dict[str, Any]) -> None:
    assert described(**changes)["id"] != described()["id"]


def test_an_event_of_a_run_that_an_action_started_says_so() -> None:
    assert "mleventshops" not in described()
    assert described(run_id=run_id_of(2, "0b6f2a53-6f0f-5a55-9c0a-1c9b2a1d4e5f"))["mleventshops"] == 2


def test_ids_differ_by_type_and_workspace_and_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    one = described()
    assert described(publish(event_type="shop.other"))["id"] != one["id"]
    assert described(publish(event_id="größe-1"))["id"] == "größe-1"
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__WORKSPACE", "fraud")
    config.forget()
    other = described()
    assert other["id"] != one["id"]
    assert other["workspace"] == "fraud"


def test_a_task_that_is_not_mapped_has_one_id_whether_its_index_is_none_or_minus_one() -> None:
    assert described(map_index=None)["id"] == described(map_index=-1)["id"]


@pytest.mark.parametrize(
    "options",
    [{"event_type": ""}, {"event_id": "x" * 10_000}, {"data": {"a": object()}}],
    ids=["type", "id", "data"],
)
def test_what_makes_no_event_is_refused(options: dict[str, Any], server: Receiver) -> None:
    with pytest.raises(InvalidEvent):
        publish(**options).execute(context())
    assert server.requests == []


def test_templates_are_rendered_also_within_data() -> None:
    operator = publish(
        event_type="shop.{{ run_id }}",
        subject="größe {{ run_id }}",
        source="/x/{{ run_id }}",
        event_id="{{ run_id }}-id",
        data={"deep": [{"run": "{{ run_id }}"}], "n": 1},
    )
    operator.render_template_fields({"run_id": "run-1"})  # type: ignore[typeddict-item]
    event = described(operator)
    assert {name: event[name] for name in ("type", "subject", "source", "id", "data")} == {
        "type": "shop.run-1",
        "subject": "größe run-1",
        "source": "/x/run-1",
        "id": "run-1-id",
        "data": {"deep": [{"run": "run-1"}], "n": 1},
    }


def test_too_large_data_is_cut_not_refused() -> None:
    event = described(publish(data={"text": "ü" * 300_000, "short": "kept"}))
    assert event["data"]["short"] == "kept"
    assert "[cut " in event["data"]["text"]


# Publish


def test_publish_sends_the_event_and_returns_its_id(server: Receiver) -> None:
    operator = publish(data={"größe": 1}, owner="ada")
    answers(server, 202, {"ids": ["x"]})
    event_id = operator.execute(context())
    (request,) = server.requests
    assert request.path == "/ml-events/v1/events"
    (event,) = request.json()
    assert (event["id"], event["type"], event["data"]) == (event_id, "shop.refreshed", {"größe": 1})
    assert (event["owner"], event["origin"], event["workspace"]) == ("ada", "worker", "default")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (PublishEventOperator, {"event_type": "shop.x"}),
        (EvaluateRulesOperator, {"event_type": "shop.x"}),
        (SendNotificationOperator, {"targets": ["mail"]}),
    ],
)
def test_what_cannot_be_told_fails_the_task(
    server: Receiver, monkeypatch: pytest.MonkeyPatch, kind: Any, options: dict[str, Any]
) -> None:
    operator = kind(task_id="say", **options)
    answers(server, 400, {"detail": "the type is größer"})
    with pytest.raises(EventRejected, match="the type is größer"):
        operator.execute(context())
    answers(server, 503, {"detail": "starting"})
    with pytest.raises(HandOverError, match="HTTP 503: starting"):
        operator.execute(context())
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"http://127.0.0.1:{closed_port()}/execution")
    with pytest.raises(HandOverError, match="ConnectError"):
        operator.execute(context())


def test_an_event_that_could_not_be_published_waits_and_a_retry_is_the_same_event(server: Receiver) -> None:
    operator = publish()
    answers(server, 503, {"detail": "starting"})
    with pytest.raises(HandOverError):
        operator.execute(context())
    (path,) = MlEventHook().spool.waiting()
    (spooled,) = json.loads(path.read_text())
    answers(server, 202, {"ids": ["x"]})
    answers(server, 202, {"ids": ["x"]})
    assert operator.execute(context(try_number=2)) == spooled["id"]


# Evaluate


def test_evaluate_asks_for_the_event_and_returns_what_matches(server: Receiver) -> None:
    matched = [{"workspace": "default", "name": "失败", "severity": "error", "targets": ["mail"]}]
    answers(server, 200, {"matched": matched})
    operator = EvaluateRulesOperator(task_id="say", event_type="shop.failed", data={"größe": 1})
    assert operator.execute(context()) == matched
    (request,) = server.requests
    assert request.path == "/ml-events/v1/rules/evaluate"
    (document,) = request.json().values()
    event = described(operator)
    assert document == {**event, "time": document["time"]}
    assert list(request.json()) == ["event"]


def test_evaluate_returns_nothing_where_no_rule_matches(server: Receiver) -> None:
    answers(server, 200, {"matched": []})
    assert EvaluateRulesOperator(task_id="say", event_type="shop.failed").execute(context()) == []


# Send


def test_send_notification_in_full(server: Receiver) -> None:
    answers(server, 202, {"id": "x", "new": True, "deliveries": ["d-1", "d-2"]})
    operator = SendNotificationOperator(
        task_id="say",
        targets=["mail", {"conn_id": "chat", "options": {"at_all": True}}],
        title="größer {{ run_id }}",
        text="大 {{ run_id }}",
        link="https://example.com/{{ run_id }}",
        data={"extra": 1},
        template="short",
        severity="warning",
        owner="ada",
    )
    operator.render_template_fields({"run_id": "run-1"})  # type: ignore[typeddict-item]
    assert operator.execute(context()) == ["d-1", "d-2"]
    (request,) = server.requests
    assert request.path == "/ml-events/v1/notifications"
    document = request.json()
    event = document.pop("event")
    assert document == {
        "targets": [{"conn_id": "mail"}, {"conn_id": "chat", "options": {"at_all": True}}],
        "template": "short",
        "severity": "warning",
        "name": "task say",
    }
    assert event == {**described(operator), "time": event["time"]}
    assert (event["type"], event["owner"]) == ("ml.notification.requested", "ada")
    assert event["data"] == {
        "extra": 1,
        "title": "größer run-1",
        "text": "大 run-1",
        "link": "https://example.com/run-1",
    }


def test_send_notification_leaves_out_what_was_not_said(server: Receiver) -> None:
    answers(server, 202, {"deliveries": ["d-1"]})
    SendNotificationOperator(task_id="t" * 240, targets=["mail"], title="x").execute(context())
    document = server.requests[0].json()
    assert document["event"]["data"] == {"title": "x"}
    assert len(document["name"]) == 200
    assert (document["template"], document["severity"]) == (None, "info")


def test_targets_are_templated() -> None:
    operator = SendNotificationOperator(task_id="say", targets=["{{ run_id }}", {"conn_id": "{{ run_id }}"}])
    operator.render_template_fields({"run_id": "run-1"})  # type: ignore[typeddict-item]
    assert operator.targets == ["run-1", {"conn_id": "run-1"}]


# In a DAG


def test_a_dag_with_the_operators_can_be_stored() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("train", schedule=None) as dag:
        publish(data={"größe": [1, {"run": "{{ run_id }}"}]}) >> EvaluateRulesOperator(  # type: ignore[operator]
            task_id="ask", event_type="shop.failed"
        )
        SendNotificationOperator(task_id="send", targets=["mail", {"conn_id": "chat"}], text="大")
    document = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    stored = DagSerialization.from_dict(document)
    assert {task.task_id: task.task_type for task in stored.tasks} == {
        "say": "PublishEventOperator",
        "ask": "EvaluateRulesOperator",
        "send": "SendNotificationOperator",
    }
    assert stored.get_task("say").data == {"größe": [1, {"run": "{{ run_id }}"}]}
    assert set(stored.get_task("send").template_fields) >= {"data", "targets", "title", "text", "link"}


def test_a_mapped_operator_can_be_stored() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("train", schedule=None) as dag:
        PublishEventOperator.partial(task_id="say", event_type="shop.x").expand(data=[{"n": 1}, {"n": 2}])
    stored = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert stored.get_task("say").task_type == "PublishEventOperator"
