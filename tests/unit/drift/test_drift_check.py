from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from ml_event_provider.drift import check
from ml_event_provider.drift.partition import partition_of
from tests.unit.drift.checkpoints import ROWS, frame

if TYPE_CHECKING:
    from ml_event_provider.drift.report import ColumnDrift, DriftReport

REFERENCE = frame(1)


def report_of(current: pd.DataFrame, reference: pd.DataFrame = REFERENCE, **options: Any) -> DriftReport:
    report, _ = check(reference, current, name="orders", **options)
    json.dumps(report.to_dict(), allow_nan=False)
    return report


def line(report: DriftReport, column: str) -> ColumnDrift:
    return next(item for item in report.columns if item.column == column)


def test_a_new_sample_of_the_same_data_is_no_drift() -> None:
    report = report_of(frame(2))
    assert report.status == "no_drift"
    assert report.drifted_columns == ()
    assert [item.column for item in report.judged] == list(REFERENCE.columns)
    assert (report.base_rows, report.target_rows) == (ROWS, ROWS)
    assert report.coefficient < 0.05


def test_a_shifted_column_drifts_with_its_value_and_threshold() -> None:
    report = report_of(frame(2, shift=1))
    found = line(report, "größe")
    assert found.drifted
    assert (found.method, found.threshold) == ("kl_divergence", 0.1)
    assert found.value is not None
    assert found.value > 0.3
    assert report.drifted_columns == ("größe",)
    assert report.drifted_share == 0.25
    assert 0.2 < report.coefficient < 0.6


def test_great_expectations_measures_the_divergence_of_the_partition() -> None:
    current = frame(2, shift=1)
    partition = partition_of(REFERENCE["größe"])
    assert partition is not None
    edges = partition.definition["bins"]
    observed = np.histogram(current["größe"], bins=[-np.inf, *edges, np.inf])[0] / ROWS
    low, high = partition.definition["tail_weights"]
    expected = np.array([low, *partition.definition["weights"], high])
    divergence = float((observed * np.log(observed / expected)).sum())
    assert line(report_of(current), "größe").value == pytest.approx(divergence, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "drifted"),
    [
        ({}, False),
        ({"drifted_share": 0.25}, True),
        ({"drifted_share": 0.26}, False),
        ({"critical_columns": ["größe"]}, True),
        ({"critical_columns": ["amount"]}, False),
        ({"columns": ["größe"]}, True),
        ({"threshold": 2.0, "columns": ["größe"]}, False),
    ],
)
def test_one_of_four_columns_makes_the_dataset_drift_by_share_or_if_critical(
    options: dict[str, Any], drifted: bool
) -> None:
    assert report_of(frame(2, shift=1), **options).drifted is drifted


@pytest.mark.parametrize("rows", [0, 1, 50, 299])
def test_too_few_rows_are_a_result_and_no_alarm(rows: int) -> None:
    report = report_of(frame(2, rows=rows, shift=3))
    assert report.status == "too_few_rows"
    assert report.judged == ()
    assert f"{rows} against {ROWS}" in report.columns[0].detail


def test_a_small_reference_is_too_few_rows_as_well() -> None:
    assert report_of(frame(2), frame(1, rows=100)).status == "too_few_rows"


def test_a_threshold_in_the_reach_of_chance_is_not_judged() -> None:
    report = report_of(frame(2, rows=400), threshold=0.01)
    assert report.status == "too_few_rows"
    assert "chance alone reaches 0.01" in line(report, "größe").detail


def test_a_column_with_few_values_is_not_judged_by_its_divergence() -> None:
    reference, current = frame(1), frame(2, shift=3)
    reference.loc[100:, "größe"] = np.nan
    current.loc[100:, "größe"] = np.nan
    report = report_of(current, reference)
    assert not line(report, "größe").judged
    assert "too few values: 100 against 100" in line(report, "größe").detail
    assert line(report, "amount").judged


def test_an_empty_frame_is_too_few_rows_and_a_failed_validation() -> None:
    report, result = check(REFERENCE, pd.DataFrame(), name="orders")
    assert report.status == "too_few_rows"
    assert not report.drifted
    assert not result.success


@pytest.mark.parametrize(
    ("column", "values", "method", "value"),
    [
        pytest.param("größe", np.nan, "null_share", 1.0, id="all NaN"),
        pytest.param("country", None, "null_share", 1.0, id="all None"),
        pytest.param("größe", "broken", "null_share", 1.0, id="texts instead of numbers"),
        pytest.param("country", "unseen", "kl_divergence", None, id="an unseen category only"),
        pytest.param("größe", 0.0, "kl_divergence", None, id="constant"),
        pytest.param("größe", np.inf, "kl_divergence", None, id="infinite"),
    ],
)
def test_a_column_that_broke_drifts(column: str, values: Any, method: str, value: float | None) -> None:
    current = frame(2)
    current[column] = values
    found = line(report_of(current), column)
    assert found.drifted
    assert found.method == method
    assert found.value == value if value is not None else found.value and found.value > 1
    assert found.coefficient is not None
    assert found.coefficient > 0.5


def test_a_missing_column_drifts_and_fails_the_validation() -> None:
    report, result = check(REFERENCE, frame(2).drop(columns="country"), name="orders")
    found = line(report, "country")
    assert (found.method, found.drifted, found.detail) == ("exists", True, "the column is missing")
    assert report.coefficient == 1.0
    assert not result.success


def test_missing_values_that_became_more_drift_by_their_share() -> None:
    current = frame(2)
    current.loc[: ROWS // 2, "größe"] = np.nan
    found = line(report_of(current), "größe")
    assert (found.method, found.drifted) == ("null_share", True)
    assert found.value == pytest.approx(0.501)


def test_missing_values_that_were_always_there_are_no_drift() -> None:
    reference, current = frame(1), frame(2)
    reference.loc[: ROWS // 2, "größe"] = np.nan
    current.loc[: ROWS // 2, "größe"] = np.nan
    assert report_of(current, reference).status == "no_drift"


def test_few_unseen_categories_are_no_drift_and_many_are() -> None:
    current = frame(2)
    current.loc[:4, "country"] = "unseen"
    assert not line(report_of(current), "country").drifted
    current.loc[:200, "country"] = "unseen"
    assert line(report_of(current), "country").drifted


@pytest.mark.parametrize("value", [5, 5.5, "always", True])
def test_a_constant_reference_drifts_only_when_the_constant_changes(value: Any) -> None:
    reference, current = frame(1), frame(2)
    reference["constant"] = current["constant"] = value
    assert not line(report_of(current, reference), "constant").drifted
    current["constant"] = "changed"
    assert line(report_of(current, reference), "constant").drifted


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        pytest.param(np.nan, "no values in the reference", id="all NaN"),
        pytest.param(pd.date_range("2026-01-01", periods=ROWS), "times", id="times"),
        pytest.param([f"user {n}" for n in range(ROWS)], "no value is frequent enough", id="ids"),
    ],
)
def test_a_reference_column_without_a_distribution_is_not_judged(values: Any, detail: str) -> None:
    reference, current = frame(1), frame(2)
    reference["odd"] = current["odd"] = values
    report = report_of(current, reference)
    assert not line(report, "odd").judged
    assert detail in line(report, "odd").detail
    assert report.status == "no_drift"


def test_nothing_to_judge_is_a_status_of_its_own() -> None:
    times = pd.DataFrame({"at": pd.date_range("2026-01-01", periods=ROWS)})
    assert report_of(times, times).status == "not_judged"


def test_columns_named_by_numbers_and_a_repeated_index_are_fine() -> None:
    random = np.random.default_rng(3)
    reference = pd.DataFrame(random.normal(size=(ROWS, 2)), index=[0] * ROWS)
    report = report_of(pd.DataFrame(random.normal(size=(ROWS, 2)), index=[7] * ROWS), reference)
    assert [item.column for item in report.judged] == ["0", "1"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"columns": ["nowhere"]}, "no column 'nowhere'"),
        ({"columns": []}, "no column to compare"),
        ({"critical_columns": ["nowhere"]}, "critical_columns names 'nowhere'"),
        ({"threshold": 0}, "threshold is 0"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"drifted_share": 0}, "drifted_share is 0"),
        ({"drifted_share": 1.1}, "drifted_share is 1.1"),
        ({"min_rows": 0}, "min_rows is 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check(REFERENCE, REFERENCE, name="orders", **options)


def test_columns_of_one_name_are_refused() -> None:
    doubled = pd.concat([REFERENCE, REFERENCE], axis=1)
    with pytest.raises(ValueError, match="the current data has several columns named 'amount'"):
        check(REFERENCE, doubled, name="orders")


def test_the_users_own_context_stays_the_current_one() -> None:
    import great_expectations as gx
    from great_expectations.data_context.data_context.context_factory import project_manager

    mine = gx.get_context(mode="ephemeral")
    check(REFERENCE, REFERENCE, name="orders")
    assert project_manager.get_current_project() is mine


def test_the_classifier_measures_the_coefficient_and_leaves_the_judgement() -> None:
    report = report_of(frame(2, shift=3), coefficient="classifier")
    assert report.coefficient_method == "classifier"
    assert report.coefficient > 0.7
    assert report.drifted_columns == ("größe",)
