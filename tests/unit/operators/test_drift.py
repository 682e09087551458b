from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from ml_event_provider.operators.drift import DriftCheckOperator
from tests.peers.receiver import closed_port
from tests.unit.drift.checkpoints import connect, frame, inbox

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from tests.unit.drift.checkpoints import Inbox

__all__ = ["inbox"]

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


def context(**changes: Any) -> Any:
    ti = SimpleNamespace(dag_id="train", run_id="manual__1", task_id="drift", map_index=-1)
    fields = {
        "ti": ti,
        "run_id": "manual__1",
        "dag_run": SimpleNamespace(team_name=None),
        "data_interval_start": START,
        "data_interval_end": END,
    }
    return {**fields, **changes}


def reference_data() -> pd.DataFrame:
    return frame(1)


def operator(**options: Any) -> DriftCheckOperator:
    fields: dict[str, Any] = {"task_id": "drift", "name": "orders", "reference": reference_data}
    return DriftCheckOperator(**{**fields, **options})


def test_no_drift_publishes_a_successful_validation(inbox: Inbox) -> None:
    report = operator(current=frame(2), owner="ana").execute(context())
    assert report["status"] == "no_drift"
    (event,) = inbox.events
    assert (event["type"], event["workspace"], event["owner"]) == (
        "ml.data_validation.success",
        "fraud",
        "ana",
    )
    assert event["data"]["run_name"] == "manual__1"
    assert [event["data"][name] for name in ("dag_id", "run_id", "task_id")] == [
        "train",
        "manual__1",
        "drift",
    ]


def test_drift_publishes_both_events_and_succeeds(inbox: Inbox) -> None:
    report = operator(
        current=frame(2, shift=1), critical_columns=["größe"], reference_id="base:1", current_id="target:2"
    ).execute(context())
    assert (report["status"], report["drifted_columns"]) == ("drift", ["größe"])
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert inbox.types == ["ml.data_validation.failed", "ml.dataset.drift_detected"]
    data = inbox.events[1]["data"]
    assert (data["BaseDatasetId"], data["TargetDatasetId"]) == ("base:1", "target:2")
    assert (data["StartTime"], data["EndTime"]) == (START.isoformat(), END.isoformat())
    assert data["DriftCoefficient"] == report["drift_coefficient"]
    assert (data["method"], data["threshold"]) == ("kl_divergence", 0.1)
    assert (data["base_rows"], data["target_rows"], data["drifted_share"]) == (1000, 1000, 0.25)
    severities = {item["column"]: item["severity"] for item in inbox.events[0]["data"]["failed_expectations"]}
    assert severities == {"größe": "critical"}


def test_the_team_of_the_run_is_the_workspace(inbox: Inbox) -> None:
    operator(current=frame(2)).execute(context(dag_run=SimpleNamespace(team_name="team_a")))
    assert inbox.events[0]["workspace"] == "team_a"


def test_a_given_window_replaces_the_data_interval(inbox: Inbox) -> None:
    drifting = operator(current=frame(2, shift=1), columns=["größe"], start_time="2026-02-01")
    drifting.execute(context())
    data = inbox.events[1]["data"]
    assert (data["StartTime"], data["EndTime"]) == ("2026-02-01T00:00:00+00:00", None)


def test_a_run_without_a_data_interval_has_no_window(inbox: Inbox) -> None:
    bare = context()
    del bare["data_interval_start"], bare["data_interval_end"]
    operator(current=frame(2, shift=1), columns=["größe"]).execute(bare)
    assert inbox.events[1]["data"]["StartTime"] is None


def test_fail_on_drift_publishes_and_then_fails_without_a_retry(inbox: Inbox) -> None:
    drifting = operator(current=frame(2, shift=1), columns=["größe"], fail_on_drift=True)
    with pytest.raises(AirflowFailException, match="drift check 'orders': drift; 1 of 1 judged columns"):
        drifting.execute(context())
    assert "ml.dataset.drift_detected" in inbox.types


def test_too_few_rows_neither_fail_nor_alarm(inbox: Inbox) -> None:
    report = operator(current=frame(2, rows=50, shift=5), fail_on_drift=True).execute(context())
    assert report["status"] == "too_few_rows"
    assert inbox.types == ["ml.data_validation.success"]


def test_nothing_is_published_where_publish_is_off(inbox: Inbox) -> None:
    assert operator(current=frame(2, shift=1), publish=False).execute(context())["drifted_columns"] == ["größe"]
    assert inbox.events == []


@pytest.mark.usefixtures("inbox")
def test_events_that_cannot_be_handed_over_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    connect(monkeypatch, f"http://127.0.0.1:{closed_port()}")
    assert operator(current=frame(2)).execute(context())["status"] == "no_drift"
    assert "1 event(s) were not handed over" in capfd.readouterr().out
    assert list((tmp_path / "spool").iterdir())


def test_a_connection_that_does_not_exist_is_a_warning(inbox: Inbox, capfd: pytest.CaptureFixture[str]) -> None:
    assert operator(current=frame(2), conn_id="nowhere").execute(context())["status"] == "no_drift"
    assert "not handed over" in capfd.readouterr().out
    assert inbox.events == []


def test_files_are_named_as_datasets(inbox: Inbox, tmp_path: Path) -> None:
    base, target = tmp_path / "base.csv", tmp_path / "target.csv"
    frame(1).to_csv(base, index=False)
    frame(2, shift=1).to_csv(target, index=False)
    operator(reference=str(base), current=str(target), columns=["größe"]).execute(context())
    data = inbox.events[1]["data"]
    assert (data["BaseDatasetId"], data["TargetDatasetId"]) == (str(base), str(target))


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({"current": "nowhere.csv"}, FileNotFoundError, "'nowhere.csv' does not exist"),
        ({"current": frame, "columns": ["nowhere"]}, ValueError, "no column 'nowhere'"),
    ],
)
def test_what_cannot_be_checked_fails_the_task(
    inbox: Inbox, options: dict[str, Any], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        operator(**options).execute(context())
    assert inbox.events == []


def test_paths_names_and_times_are_templated_and_frames_are_left_alone() -> None:
    data = frame(2)
    task = operator(
        name="orders {{ ds }}", reference="s3://bucket/{{ ds }}.parquet", current=data, columns=["{{ ds }}"]
    )
    task.render_template_fields({"ds": "2026-01-01"})  # type: ignore[typeddict-item]
    assert (task.name, task.reference) == ("orders 2026-01-01", "s3://bucket/2026-01-01.parquet")
    assert task.columns == ["2026-01-01"]
    assert task.current is data


def test_a_dag_with_the_operator_can_be_stored() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("train", schedule=None) as dag:
        operator(current="current.csv", critical_columns=("größe",))
    (task,) = DagSerialization.to_dict(dag)["dag"]["tasks"]
    assert "DriftCheckOperator" in json.dumps(task)


def test_a_dag_file_with_the_operator_imports_neither_pandas_nor_great_expectations() -> None:
    code = (
        "import sys, ml_event_provider.operators.drift\n"
        "print(sorted({'great_expectations', 'pandas', 'numpy', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_callables_are_not_rendered_with_airflows_own_arguments() -> None:
    def plain() -> str:
        return "not called"

    operator = DriftCheckOperator(task_id="drift", name="{{ run_id }}", reference=plain, current=plain)
    operator.render_template_fields({"run_id": "manual"})
    assert operator.reference is plain
    assert operator.name == "manual"
