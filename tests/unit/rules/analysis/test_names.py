"""Names in patterns that no event of ours has."""

from __future__ import annotations

from typing import Any

import pytest

from ml_event_provider.events.catalogue import EVENT_TYPES
from ml_event_provider.rules.analysis import allowed_types, unknown_names
from ml_event_provider.rules.presets import PRESETS

FAILED = {"type": ["airflow.dag_run.failed"]}
TRY = {"type": ["airflow.task_instance.failed"]}
APPROVAL = {"type": ["ml.model_version.approval_changed"]}
DRIFT = {"type": ["ml.dataset.drift_detected"]}


@pytest.mark.parametrize(
    ("pattern", "path", "certain", "words"),
    [
        ({"type": ["airflow.dag_run.sucess"]}, "type", True, "did you mean 'airflow.dag_run.success'?"),
        ({"type": [{"prefix": "airflow.dagrun."}]}, "type", True, "no event type 'airflow.dagrun.'"),
        ({"type": [{"wildcard": "ml.model.*"}]}, "type", True, "no event type 'ml.model.*'"),
        ({"type": [{"equals-ignore-case": "AIRFLOW.DAG_RUN.X"}]}, "type", True, "no event type"),
        ({"type": [{"anything-but": ["airflow.dag_run.sucess"]}]}, "type", False, "airflow.dag_run.success"),
        ({"type": ["airflow_dag_run.failed"]}, "type", False, "did you mean 'airflow.dag_run.failed'?"),
        ({"type": [5]}, "type", True, "5 never matches; it is a text"),
        ({"detail": {"state": ["x"]}}, "detail.state", True, "EventBridge's `detail` is `data` here"),
        ({"detail-type": ["x"]}, "detail-type", True, "EventBridge's `detail-type` is `type` here"),
        ({"detail": ["x"]}, "detail", False, "`data` here"),
        ({"dag_id": ["x"]}, "dag_id", True, "write data.dag_id"),
        ({**FAILED, "state": ["x"]}, "state", False, "write data.state"),
        ({"sources": ["x"]}, "sources", False, "did you mean 'source'?"),
        ({"x_y": ["x"]}, "x_y", True, "events have no attribute 'x_y'"),
        ({"source": {"name": ["x"]}}, "source.name", True, "source is a text and has no fields"),
        ({"data": ["x"]}, "data", True, "is an object; write its fields below it"),
        ({"origin": ["schedular"]}, "origin", True, "did you mean 'scheduler'?"),
        ({"specversion": ["0.3"]}, "specversion", True, 'it is always "1.0"'),
        ({**FAILED, "data": {"dagid": ["x"]}}, "data.dagid", False, "did you mean 'dag_id'?"),
        ({**FAILED, "data": {"dagid": [{"exists": False}]}}, "data.dagid", False, "did you mean 'dag_id'?"),
        ({**FAILED, "data": {"state.name": ["x"]}}, "data.state.name", False, "data.state is a text and has no fields"),
        ({**TRY, "data": {"exception": {"typ": ["x"]}}}, "data.exception.typ", False, "did you mean 'type'?"),
        ({**TRY, "data": {"exception": ["x"]}}, "data.exception", True, "null, an object or an array"),
        ({**DRIFT, "data": {"columns": {"colum": ["x"]}}}, "data.columns.colum", False, "did you mean 'column'?"),
        (
            {**DRIFT, "data": {"DriftCoefficient": [{"compare-field": [">", "data.threshhold"]}]}},
            "data.threshhold",
            False,
            "did you mean 'threshold'?",
        ),
        ({**TRY, "data": {"try_number": ["3"]}}, "data.try_number", True, '"3" never matches; it is a whole number'),
        ({**FAILED, "data": {"tags": [5]}}, "data.tags", True, "5 never matches; it is a text or null"),
        ({**APPROVAL, "data": {"status": ["aproved"]}}, "data.status", True, "did you mean 'approved'?"),
        ({**APPROVAL, "data": {"status": [{"prefix": "x"}]}}, "data.status", True, 'it is one of "pending"'),
    ],
)
def test_a_wrong_name_is_found(pattern: dict[str, Any], path: str, certain: bool, words: str) -> None:
    problems = unknown_names(pattern)
    assert [(problem.path, problem.certain) for problem in problems] == [(path, certain)]
    assert words in problems[0].text


@pytest.mark.parametrize(
    "pattern",
    [
        *PRESETS.values(),
        {"type": ["com.example.done"], "data": {"anything": ["x"]}},
        {"type": [{"prefix": "airflow."}, {"suffix": ".failed"}]},
        {"type": [{"wildcard": "*.failed"}], "data": {"whatever": ["x"]}},
        {"customer": ["x"], "traceparent": [{"exists": True}]},
        {**FAILED, "data": {"duration": [{"numeric": [">", 5]}, None], "tags": ["x"]}},
        {"type": ["airflow.asset.updated"], "data": {"extra": {"any": {"thing": ["x"]}}}},
        {"type": [*FAILED["type"], *TRY["type"]], "data": {"task_id": ["x"]}},
        {"data": [{"exists": False}]},
    ],
)
def test_right_names_are_let_pass(pattern: dict[str, Any]) -> None:
    assert unknown_names(pattern) == []


def test_a_problem_in_several_branches_is_told_once() -> None:
    assert len(unknown_names({"$or": [{"id": ["a"]}, {"id": ["b"]}], "detail-type": ["x"]})) == 1


@pytest.mark.parametrize(
    ("pattern", "types"),
    [
        (FAILED, set(FAILED["type"])),
        ({"type": [{"suffix": "dag_run.failed"}]}, set(FAILED["type"])),
        ({"type": [{"prefix": "airflow.dag_run."}]}, {name for name in EVENT_TYPES if "dag_run" in name}),
        ({"$or": [FAILED, {"type": ["com.example"]}]}, set(FAILED["type"])),
        ({"type": ["com.example"]}, set()),
        ({"$and": [FAILED, TRY]}, set()),
        ({"data": {"status": ["x"]}, **APPROVAL}, set()),
        ({"type": [{"anything-but": FAILED["type"]}]}, {*EVENT_TYPES} - {*FAILED["type"]}),
        ({"source": ["x"]}, None),
        ({"type": [{"exists": True}]}, None),
    ],
)
def test_the_types_that_may_match(pattern: dict[str, Any], types: set[str] | None) -> None:
    assert allowed_types(pattern) == types
