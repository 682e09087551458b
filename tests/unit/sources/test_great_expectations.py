from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_event_provider.events.bounds import MAX_EVENT_BYTES, cut
from ml_event_provider.events.catalogue import validate_data
from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import InvalidEvent
from ml_event_provider.sources.great_expectations import (
    MAX_COLUMNS,
    MAX_FAILED,
    drift_detected,
    plain,
    validation_event,
)
from tests.unit.drift.checkpoints import frame, run_checkpoint, strictly_json

MOMENT = datetime(2026, 5, 4, 3, 2, 1, 500_000, tzinfo=UTC)


class Colour(Enum):
    RED = "red"


@pytest.fixture(scope="module")
def failed() -> Any:
    """A real result with every kind of failure: a value, missing values, a raised exception, no result."""
    import great_expectations.expectations as gxe

    data = frame(1)
    data["nothing"] = np.nan
    bins: dict[str, Any] = {"bins": [0.0, 1.0], "weights": [0.8], "tail_weights": [0.1, 0.1]}
    divergence = gxe.ExpectColumnKLDivergenceToBeLessThan
    return run_checkpoint(
        data,
        [
            gxe.ExpectColumnMeanToBeBetween(column="größe", min_value=5, max_value=9, severity="info"),
            gxe.ExpectColumnValuesToNotBeNull(column="nothing", severity="warning"),
            gxe.ExpectColumnMeanToBeBetween(column="nowhere", min_value=5),
            gxe.ExpectColumnToExist(column="gone"),
            divergence(column="nothing", partition_object=bins, threshold=0.1),
            gxe.ExpectColumnDistinctValuesToBeInSet(column="country", value_set=[f"c{n}" for n in range(9999)]),
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="größe", column_B="amount"),
            gxe.ExpectColumnToExist(column="amount"),
        ],
    )


@pytest.fixture(scope="module")
def succeeded() -> Any:
    import great_expectations.expectations as gxe

    return run_checkpoint(frame(1), [gxe.ExpectColumnToExist(column="amount")])


def failures(result: Any) -> dict[tuple[str, str], dict[str, Any]]:
    data = strictly_json(validation_event(result, workspace="fraud"))["data"]
    return {(item["expectation_type"], item["column"]): item for item in data["failed_expectations"]}


def test_a_success_is_an_event_with_its_counts(succeeded: Any) -> None:
    event = validation_event(
        succeeded, workspace="fraud", owner="ana", dag_id="train", run_id="manual__1", task_id="validate"
    )
    assert event.type == "ml.data_validation.success"
    assert (event.workspace, event.owner, event.origin) == ("fraud", "ana", "worker")
    assert event.time == succeeded.run_id.run_time
    assert event.data["checkpoint"] == "orders"
    assert event.data["data_asset"] == "orders_asset"
    assert event.data["batch_id"] == "pandas-orders_asset"
    assert (event.data["evaluated"], event.data["successful"], event.data["unsuccessful"]) == (1, 1, 0)
    assert (event.data["dag_id"], event.data["run_id"], event.data["task_id"]) == (
        "train",
        "manual__1",
        "validate",
    )
    assert validate_data(event) == []


def test_a_failure_counts_and_names_what_failed(failed: Any) -> None:
    event = validation_event(failed, workspace="fraud")
    assert event.type == "ml.data_validation.failed"
    assert (event.data["evaluated"], event.data["successful"], event.data["unsuccessful"]) == (8, 1, 7)
    assert len(event.data["failed_expectations"]) == 7
    assert validate_data(event) == []


def test_a_numpy_value_is_a_plain_number_and_the_severity_is_kept(failed: Any) -> None:
    found = failures(failed)["expect_column_mean_to_be_between", "größe"]
    assert found["severity"] == "info"
    assert -1 < found["observed_value"] < 1
    assert found["detail"] == "min_value=5.0, max_value=9.0"


def test_missing_values_are_counted_and_not_quoted(failed: Any) -> None:
    found = failures(failed)["expect_column_values_to_not_be_null", "nothing"]
    assert found["detail"].startswith("1000 of 1000 values are unexpected")
    assert found["observed_value"] is None


def test_an_expectation_that_raised_says_what(failed: Any) -> None:
    found = failures(failed)["expect_column_mean_to_be_between", "nowhere"]
    assert found["detail"].startswith("could not be evaluated: ")
    assert '"nowhere"' in found["detail"]
    assert "Traceback" not in found["detail"]


def test_a_divergence_of_nothing_is_none_and_its_partition_is_left_out(failed: Any) -> None:
    found = failures(failed)["expect_column_kl_divergence_to_be_less_than", "nothing"]
    assert found["observed_value"] is None
    assert found["detail"] == "threshold=0.1"


def test_a_huge_value_set_is_bounded(failed: Any) -> None:
    found = failures(failed)["expect_column_distinct_values_to_be_in_set", "country"]
    assert found["detail"].startswith("3 values are unexpected, value_set=['c0', 'c1'")
    assert len(found["detail"]) < 600


def test_an_expectation_on_two_columns_names_both(failed: Any) -> None:
    assert ("expect_column_pair_values_a_to_be_greater_than_b", "größe, amount") in failures(failed)


def test_the_same_result_gives_the_same_id_and_another_run_another(succeeded: Any, failed: Any) -> None:
    first = validation_event(succeeded, workspace="fraud")
    assert validation_event(succeeded, workspace="fraud", task_id="elsewhere").id == first.id
    assert validation_event(succeeded, workspace="fraud", owner="somebody", data_docs_url="https://docs").id == first.id
    assert validation_event(succeeded, workspace="other").id != first.id
    assert validation_event(failed, workspace="fraud").id != first.id


@pytest.fixture(scope="module")
def of_one_run() -> Any:
    """Real results of one ``RunIdentifier``: a run name and a time that all batches of a day share."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("orders_asset")
    suite = context.suites.add(
        gx.ExpectationSuite(name="suite", expectations=[gxe.ExpectColumnMeanToBeBetween(column="größe", max_value=1)])
    )
    validation = context.validation_definitions.add(
        gx.ValidationDefinition(name="validation", data=asset.add_batch_definition_whole_dataframe("all"), suite=suite)
    )
    checkpoint = context.checkpoints.add(gx.Checkpoint(name="orders", validation_definitions=[validation]))
    run = gx.RunIdentifier(run_name="daily", run_time=MOMENT)
    return lambda shift: checkpoint.run(batch_parameters={"dataframe": frame(1, shift=shift)}, run_id=run)


def test_two_results_of_one_run_identifier_are_two_events(of_one_run: Any) -> None:
    passed, worse, worst = (validation_event(of_one_run(shift), workspace="fraud") for shift in (0, 5, 6))
    assert [one.type.rpartition(".")[2] for one in (passed, worse, worst)] == ["success", "failed", "failed"]
    assert len({one.id for one in (passed, worse, worst)}) == 3


def test_a_retried_task_that_finds_the_same_tells_the_same_event(of_one_run: Any) -> None:
    assert (
        validation_event(of_one_run(5), workspace="fraud").id == validation_event(of_one_run(5), workspace="fraud").id
    )


@pytest.mark.parametrize("place", [{"dag_id": "b"}, {"run_id": "r"}, {"map_index": 0}])
def test_checks_that_ran_at_different_places_are_different_events(of_one_run: Any, place: dict[str, Any]) -> None:
    result = of_one_run(0)
    assert validation_event(result, workspace="fraud", **place).id != validation_event(result, workspace="fraud").id
    assert drift(**place).id != drift().id


@pytest.mark.parametrize("part", ["asset_name", "batch_id", "suite_name"])
def test_results_about_different_data_are_different_events(part: str) -> None:
    one, other = made_up(), made_up()
    setattr(other.run_results["one"], part, "another")
    assert validation_event(one, workspace="fraud").id != validation_event(other, workspace="fraud").id


@pytest.mark.parametrize("argument", ["min_value", "value_set"])
def test_results_of_different_arguments_are_different_events(argument: str) -> None:
    one, other = made_up(), made_up()
    for result, value in ((one, "2026-05-04T00:00:00"), (other, "2026-05-05T00:00:00")):
        (outcome,) = result.run_results["one"].results
        outcome.expectation_config.kwargs[argument] = value
    assert validation_event(one, workspace="fraud").id != validation_event(other, workspace="fraud").id


def test_an_error_printed_with_another_address_is_the_same_result() -> None:
    results = made_up(), made_up()
    for result, address in zip(results, ("0x7f3a1c0b2d10", "0x7f3a1c0b2e50"), strict=True):
        (outcome,) = result.run_results["one"].results
        outcome.exception_info = {
            "raised_exception": True,
            "exception_message": f"<Engine object at {address}> is shut",
        }
    assert len({validation_event(result, workspace="fraud").id for result in results}) == 1


def made_up(count: int = 1, **changes: Any) -> SimpleNamespace:
    """A result as Great Expectations shapes it, of a size or age that it does not give quickly."""
    config = SimpleNamespace(
        type="expect_something", kwargs={"column": "c" * 2000, "value_set": ["v" * 2000] * 2000}, meta={}
    )
    outcome = SimpleNamespace(
        success=False,
        expectation_config=config,
        result={"observed_value": {f"key {n}": [np.float64("nan")] * 500 for n in range(500)}},
        exception_info={"raised_exception": False},
    )
    validation = SimpleNamespace(results=[outcome] * count, asset_name="a", batch_id="b", result_url=None)
    run_id = SimpleNamespace(run_name="line\nbreak", run_time=datetime(2026, 1, 1))
    fields = {"name": "n\n" * 900, "success": False, "run_id": run_id, "run_results": {"one": validation}}
    return SimpleNamespace(**{**fields, **changes})


def test_a_result_without_bounds_is_still_an_event() -> None:
    event = validation_event(made_up(5000), workspace="fraud")
    assert event.data["unsuccessful"] == 5000
    assert 0 < len(event.data["failed_expectations"]) <= MAX_FAILED
    assert len(event.to_json().encode()) <= MAX_EVENT_BYTES
    assert event.time == datetime(2026, 1, 1, tzinfo=UTC)
    assert event.data["failed_expectations"][0]["severity"] == "critical"


def test_several_validations_are_one_event() -> None:
    one, two = made_up().run_results["one"], made_up().run_results["one"]
    two.asset_name, two.result_url = "second", "https://docs/two"
    event = validation_event(made_up(run_results={"one": one, "two": two}), workspace="fraud")
    assert event.data["data_asset"] == "a, second"
    assert event.data["data_docs_url"] == "https://docs/two"
    assert event.data["evaluated"] == 2


def test_a_result_without_a_time_is_refused() -> None:
    with pytest.raises(TypeError, match="has no run_time"):
        validation_event(made_up(run_id="yesterday"), workspace="fraud")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (np.bool_(False), False),
        (np.int64(7), 7),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (float("inf"), None),
        (-np.inf, None),
        (Decimal("1.5"), 1.5),
        (Decimal("NaN"), None),
        (np.str_("text"), "text"),
        (pd.NA, None),
        (pd.NaT, None),
        (np.datetime64("NaT"), None),
        (pd.Timestamp("2026-01-01T00:00:00Z"), "2026-01-01T00:00:00+00:00"),
        (np.datetime64("2026-01-01"), "2026-01-01"),
        (date(2026, 1, 1), "2026-01-01"),
        (Colour.RED, "red"),
        (np.array([1.0, np.nan]), [1.0, None]),
        (np.array(3), 3),
        (pd.Series([1, 2]), [1, 2]),
        ((1, {2}), [1, [2]]),
        ({np.int64(1): np.float64(2)}, {"1": 2.0}),
        (["x"] * 1000, ["x"] * 20),
        ("x" * 900, cut("x" * 900, 500)),
        (timedelta(seconds=1), "0:00:01"),
        (np.timedelta64(1, "s"), "0:00:01"),
        (np.complex128(1), "(1+0j)"),
    ],
)
def test_plain_makes_json(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_plain_ends_in_a_text_where_nesting_is_deep() -> None:
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    assert plain(deep) == [[[["[" * 96 + "]" * 96]]]] or isinstance(plain(deep)[0][0][0][0], str)


def drift(**changes: Any) -> Any:
    columns = [
        {
            "column": "amount",
            "method": "kl_divergence",
            "value": np.float64(0.01),
            "threshold": 0.1,
            "drifted": False,
        },
        {"column": "größe", "method": "kl_divergence", "value": np.inf, "threshold": 0.1, "drifted": True},
    ]
    fields: dict[str, Any] = {
        "workspace": "fraud",
        "name": "orders",
        "time": MOMENT,
        "columns": columns,
        "drift_coefficient": np.float64(0.8),
        "base_dataset_id": "base",
        "target_dataset_id": "target",
        "start_time": "2026-05-03",
        "end_time": datetime(2026, 5, 4, tzinfo=timezone(timedelta(hours=2))),
    }
    return drift_detected(**{**fields, **changes})


def test_drift_has_azures_fields_and_subject() -> None:
    event = drift()
    data = strictly_json(event)["data"]
    assert event.type == "ml.dataset.drift_detected"
    assert event.subject == f"datadrifts/{data['DataDriftId']}/runs/{data['RunId']}"
    assert data["RunId"] == f"{data['DataDriftId']}_{int(MOMENT.timestamp() * 1000)}"
    assert data["DataDriftName"] == "orders"
    assert (data["BaseDatasetId"], data["TargetDatasetId"]) == ("base", "target")
    assert data["DriftCoefficient"] == 0.8
    assert data["StartTime"] == "2026-05-03T00:00:00+00:00"
    assert data["EndTime"] == "2026-05-04T00:00:00+02:00"


def test_drift_names_its_columns_the_drifted_first() -> None:
    data = strictly_json(drift())["data"]
    assert data["drifted_columns"] == ["größe"]
    assert data["drifted_share"] == 0.5
    assert [column["column"] for column in data["columns"]] == ["größe", "amount"]
    assert [column["value"] for column in data["columns"]] == [None, 0.01]


@pytest.mark.parametrize(
    "other",
    [
        {"base_dataset_id": "b"},
        {"target_dataset_id": "t"},
        {"start_time": "2026-05-02"},
        {"end_time": None},
        {"base_rows": 5},
        {"columns": [{"column": "amount", "value": 0.4, "drifted": True}]},
    ],
)
def test_two_drifts_of_one_name_and_time_are_two_events(other: dict[str, Any]) -> None:
    assert drift(**other).id != drift().id


def test_a_drift_measured_again_with_the_noise_of_floats_is_the_same() -> None:
    noisy = [{"column": "amount", "value": 0.1 + 0.2, "drifted": True}]
    exact = [{"column": "amount", "value": 0.3, "drifted": True}]
    assert drift(columns=noisy).id == drift(columns=exact).id


def test_drift_is_identified_by_workspace_name_and_time() -> None:
    assert drift().data["DataDriftId"] == drift(time=MOMENT + timedelta(days=1)).data["DataDriftId"]
    assert len({drift().id, drift(name="b").id, drift(workspace="b").id, drift(time=datetime.now(UTC)).id}) == 4


def test_drift_of_very_many_columns_fits_an_event() -> None:
    columns = [{"column": f"column {n}", "value": 0.5, "drifted": n % 2 == 0} for n in range(20_000)]
    event = drift(columns=columns)
    assert event.data["drifted_share"] == 0.5
    assert len(event.data["columns"]) == MAX_COLUMNS
    assert all(column["drifted"] for column in event.data["columns"])
    assert len(event.to_json().encode()) <= MAX_EVENT_BYTES


@pytest.mark.parametrize("value", [None, "", " "])
def test_a_window_without_an_end_has_none(value: Any) -> None:
    assert drift(end_time=value).data["EndTime"] is None


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="'yesterday' is no time"):
        drift(start_time="yesterday")


def test_the_drift_event_fits_the_catalogue() -> None:
    assert validate_data(drift()) == []


@pytest.mark.parametrize("odd", ["\t", "\n", "\0", "\ud800", "\x85", "\ufffe", "n" * 5000])
def test_odd_names_do_not_stop_the_events(odd: str) -> None:
    result = made_up(name=f"a{odd}", run_id=SimpleNamespace(run_name=odd, run_time=MOMENT))
    made = validation_event(result, workspace="fraud", owner=odd, data_docs_url=odd, task_id=odd)
    assert Event.from_json(made.to_json()).id == made.id
    found = drift(
        name=f"a{odd}", owner=odd, base_dataset_id=odd, columns=[{"column": odd, "drifted": True}], method=odd
    )
    assert Event.from_json(found.to_json()).id == found.id


@pytest.mark.parametrize("time", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_a_result_of_a_time_that_no_database_holds_is_refused(time: datetime) -> None:
    run = SimpleNamespace(run_name="r", run_time=time)
    with pytest.raises(InvalidEvent, match="out of range: 1970-01-01 to 2999-12-31"):
        validation_event(made_up(run_id=run), workspace="fraud")
    with pytest.raises(InvalidEvent, match="out of range"):
        drift(time=time)
