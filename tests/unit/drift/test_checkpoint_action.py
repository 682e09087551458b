from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider.drift.partition import partition_of
from ml_event_provider.drift.report import drift_meta
from ml_event_provider.hooks.ml_events import MlEventHook
from tests.peers.receiver import Behaviour, closed_port
from tests.unit.drift.checkpoints import connect, frame, run_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.drift.checkpoints import Inbox

pytestmark = pytest.mark.usefixtures("inbox")


class Recorded(list[dict[str, Any]]):
    """The results of the actions that ran."""


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """What each action returned: Great Expectations hands it to the later actions only."""
    from great_expectations.checkpoint.actions import ActionContext

    recorded, update = Recorded(), ActionContext.update

    def record(self: ActionContext, action: Any, action_result: dict[str, Any]) -> None:
        recorded.append(action_result)
        update(self, action, action_result)

    monkeypatch.setattr(ActionContext, "update", record)
    return recorded


def action(**fields: Any) -> Any:
    from ml_event_provider.notifications.great_expectations import MlEventAction

    return MlEventAction(**fields)


def exists(*columns: str) -> list[Any]:
    import great_expectations.expectations as gxe

    return [gxe.ExpectColumnToExist(column=column) for column in columns]


def divergence(column: str, **meta: Any) -> Any:
    import great_expectations.expectations as gxe

    partition = partition_of(frame(1)[column])
    assert partition is not None
    return gxe.ExpectColumnKLDivergenceToBeLessThan(
        column=column, partition_object=partition.definition, threshold=0.1, meta=meta
    )


def test_a_checkpoint_publishes_its_result(inbox: Inbox, answers: Recorded) -> None:
    result = run_checkpoint(frame(1), exists("amount"), [action(owner="ana")])
    assert result.success
    assert answers == [{"published": True, "event_ids": ["first", "second"]}]
    (event,) = inbox.events
    assert event["type"] == "ml.data_validation.success"
    assert (event["workspace"], event["owner"], event["origin"]) == ("fraud", "ana", "ingest")


@pytest.mark.parametrize(
    ("on", "columns", "types"),
    [
        ("all", ["amount"], ["ml.data_validation.success"]),
        ("all", ["gone"], ["ml.data_validation.failed"]),
        ("failure", ["amount"], []),
        ("failure", ["gone"], ["ml.data_validation.failed"]),
    ],
)
def test_on_says_which_results_are_published(
    inbox: Inbox, answers: Recorded, on: str, columns: list[str], types: list[str]
) -> None:
    run_checkpoint(frame(1), exists(*columns), [action(on=on)])
    assert inbox.types == types
    assert answers[0]["published"] is bool(types)


def test_the_workspace_may_be_given(inbox: Inbox) -> None:
    run_checkpoint(frame(1), exists("amount"), [action(workspace="churn")])
    assert inbox.events[0]["workspace"] == "churn"


def test_a_refused_connection_does_not_abort_the_checkpoint(
    monkeypatch: pytest.MonkeyPatch, answers: Recorded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connect(monkeypatch, f"http://127.0.0.1:{closed_port()}")
    with caplog.at_level(logging.WARNING):
        result = run_checkpoint(frame(1), exists("amount"), [action()])
    assert result.success
    assert answers[0]["published"] is False
    assert "could not be handed over" in answers[0]["reason"]
    assert "'orders' were not published" in caplog.text
    assert list((tmp_path / "spool").iterdir())


def test_rejected_events_do_not_abort_the_checkpoint(inbox: Inbox, answers: Recorded) -> None:
    inbox.receiver.clear()
    inbox.receiver.next(Behaviour(status=422, body=json.dumps({"detail": "no such workspace"})))
    assert run_checkpoint(frame(1), exists("amount"), [action()]).success
    assert answers[0]["published"] is False
    assert "no such workspace" in answers[0]["reason"]


def test_any_exception_is_logged_and_only_its_type_is_returned(
    monkeypatch: pytest.MonkeyPatch, answers: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> list[str]:
        raise ZeroDivisionError("the token is hidden")

    monkeypatch.setattr(MlEventHook, "publish", broken)
    assert run_checkpoint(frame(1), exists("amount"), [action()]).success
    assert answers == [{"published": False, "reason": "ZeroDivisionError, see the log"}]
    assert "were not published" in caplog.text


def test_marked_expectations_publish_drift(inbox: Inbox) -> None:
    expectations = [
        divergence("größe", **drift_meta(base_rows=1000, cells=10)),
        divergence("amount", **drift_meta(base_rows=1000, cells=10)),
    ]
    run_checkpoint(frame(2, shift=1), expectations, [action(on="failure")])
    assert inbox.types == ["ml.data_validation.failed", "ml.dataset.drift_detected"]
    data = inbox.events[1]["data"]
    assert data["DataDriftName"] == "orders"
    assert data["TargetDatasetId"] == "orders_asset"
    assert data["drifted_columns"] == ["größe"]
    assert data["base_rows"] == 1000
    assert 0.2 < data["DriftCoefficient"] < 0.6


@pytest.mark.parametrize(
    ("meta", "published"),
    [
        ({"ml_events": {"drift": True}}, True),
        ({"ml_events": {"drift": {"critical": True}}}, True),
        ({"ml_events": {"drift": False}}, False),
        ({"ml_events": "drift"}, False),
        ({"notes": "drift"}, False),
        ({}, False),
    ],
)
def test_only_a_mark_makes_a_failed_divergence_drift(inbox: Inbox, meta: dict[str, Any], published: bool) -> None:
    run_checkpoint(frame(2, shift=1), [divergence("größe", **meta)], [action()])
    assert ("ml.dataset.drift_detected" in inbox.types) is published


def test_marked_expectations_that_are_met_publish_no_drift(inbox: Inbox) -> None:
    run_checkpoint(frame(2), [divergence("größe", **drift_meta())], [action()])
    assert inbox.types == ["ml.data_validation.success"]


def test_a_marked_expectation_that_raises_is_not_drift(inbox: Inbox) -> None:
    data = frame(2).drop(columns="größe")
    run_checkpoint(data, [divergence("größe", **drift_meta())], [action()])
    assert inbox.types == ["ml.data_validation.failed"]


def test_an_infinite_divergence_is_drift_of_coefficient_one(inbox: Inbox) -> None:
    import great_expectations.expectations as gxe

    unsmoothed = gxe.ExpectColumnKLDivergenceToBeLessThan(
        column="country",
        partition_object={"values": ["de", "fr"], "weights": [0.7, 0.3]},
        threshold=0.1,
        meta=drift_meta(),
    )
    run_checkpoint(frame(2), [unsmoothed], [action()])
    assert inbox.types[1:] == ["ml.dataset.drift_detected"]
    assert inbox.events[1]["data"]["DriftCoefficient"] == 1.0


def test_in_a_task_the_event_names_dag_run_and_task(inbox: Inbox) -> None:
    from airflow.sdk.definitions._internal.contextmanager import (  # The SDK sets it around ``execute``.
        _CURRENT_CONTEXT,
    )

    ti = SimpleNamespace(dag_id="train", run_id="manual__1", task_id="validate", map_index=2)
    _CURRENT_CONTEXT.append({"ti": ti, "dag_run": SimpleNamespace(team_name="team_a")})  # type: ignore[arg-type]
    try:
        run_checkpoint(frame(1), exists("amount"), [action()])
    finally:
        _CURRENT_CONTEXT.pop()
    (event,) = inbox.events
    assert (event["workspace"], event["origin"]) == ("team_a", "worker")
    assert [event["data"][name] for name in ("dag_id", "run_id", "task_id")] == [
        "train",
        "manual__1",
        "validate",
    ]


def test_the_page_of_the_data_docs_is_linked(inbox: Inbox, tmp_path: Path) -> None:
    import great_expectations as gx
    from great_expectations.checkpoint import UpdateDataDocsAction

    context = gx.get_context(mode="file", project_root_dir=tmp_path)
    suite = context.suites.add(gx.ExpectationSuite(name="suite", expectations=exists("amount")))
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("orders")
    validation = context.validation_definitions.add(
        gx.ValidationDefinition(name="v", data=asset.add_batch_definition_whole_dataframe("b"), suite=suite)
    )
    # The checkpoint is stored and read again: the action survives as JSON.
    context.checkpoints.add(
        gx.Checkpoint(
            name="stored",
            validation_definitions=[validation],
            actions=[action(owner="ana", on="all"), UpdateDataDocsAction(name="docs")],
        )
    )
    context.checkpoints.get("stored").run(batch_parameters={"dataframe": frame(1)})
    (event,) = inbox.events
    assert event["owner"] == "ana"
    assert event["data"]["data_docs_url"].startswith("file://")
    assert event["data"]["data_docs_url"].endswith(".html")
