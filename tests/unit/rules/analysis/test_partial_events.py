"""Whether an event of which some fields are known may match."""

from __future__ import annotations

from typing import Any

import pytest

from ml_event_provider.rules.analysis import UNKNOWN, may_match

#: What is known of the events of one DAG's runs.
OWN = {
    "type": "airflow.dag_run.failed",
    "source": "/airflow",
    "data": {"dag_id": "train", "tags": ["churn"], "columns": [{"name": "age", "psi": UNKNOWN}, {"name": "zip"}]},
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"type": ["airflow.dag_run.failed"]}, True),
        ({"type": ["airflow.dag_run.success"]}, False),
        ({"type": [{"exists": False}]}, False),
        ({"origin": ["worker"]}, True),
        ({"origin": [{"exists": False}]}, True),
        ({"data": {"dag_id": ["train"], "run_id": ["x"]}}, True),
        ({"data": {"dag_id": ["other"], "run_id": ["x"]}}, False),
        ({"data.dag_id": ["other"]}, False),
        ({"data": {"dag_id": [{"prefix": "t"}, "x"]}}, True),
        ({"data": {"tags": ["churn"]}}, True),
        ({"data": {"tags": ["fraud"]}}, False),
        ({"data": {"tags": {"$and": ["churn", "fraud"]}}}, False),
        ({"data": {"dag_id": {"name": ["x"]}}}, False),
        ({"data": {"dag_id": {"name": [{"exists": False}]}}}, True),
        ({"data": {"columns": {"name": ["age"], "psi": [1]}}}, True),
        ({"data": {"columns": {"name": ["sex"], "psi": [1]}}}, False),
        ({"data": {"columns": {"name": ["zip"], "psi": [{"exists": False}]}}}, True),
        ({"data": {"columns": {"name": [{"exists": False}]}}}, False),
        ({"$or": [{"type": ["x"]}, {"id": ["y"]}]}, True),
        ({"$or": [{"type": ["x"]}, {"source": ["y"]}]}, False),
        ({"$and": [{"type": [{"prefix": "airflow."}]}, {"type": [{"suffix": ".success"}]}]}, False),
        ({"data": {"dag_id": [{"compare-field": ["=", "source"]}]}}, False),
        ({"data": {"dag_id": [{"compare-field": ["!=", "source"]}]}}, True),
        ({"data": {"dag_id": [{"compare-field": ["=", "data.upstream"]}]}}, True),
        ({"data": {"dag_id": [{"compare-field": ["<", "source"]}]}}, False),
    ],
)
def test_unknown_fields_may_have_any_value(pattern: dict[str, Any], expected: bool) -> None:
    assert may_match(pattern, OWN) is expected


@pytest.mark.parametrize("unknown", [{}, {"data": UNKNOWN}, {"data": {}}, {"data": {"a": UNKNOWN}}])
def test_nothing_known_excludes_nothing(unknown: dict[str, Any]) -> None:
    assert may_match({"data": {"a": [{"exists": True}]}}, unknown)
    assert may_match({"data": {"a": [{"exists": False}]}}, unknown)
    assert may_match({"data": {"a": {"b": [1], "c": [2]}}}, unknown)


@pytest.mark.parametrize("tags", [[], {}, "other"])
def test_what_is_known_to_be_no_such_value_is_known(tags: Any) -> None:
    assert not may_match({"data": {"tags": ["churn"]}}, {"data": {"tags": tags}})


def test_one_array_that_stands_twice_is_two_arrays() -> None:
    numbers = [1, 2]
    pattern = {"data": {"a": [1], "b": [2]}}
    assert may_match(pattern, {"data": {"a": numbers, "b": numbers}})


def test_large_numbers_are_not_told_apart() -> None:
    pattern = {"a": [{"compare-field": ["=", "b"]}]}
    assert may_match(pattern, {"a": 2**60, "b": 2**60})
    assert not may_match(pattern, {"a": True, "b": 1})


def test_too_many_choices_are_given_up() -> None:
    """Six arrays whose elements may be combined at will, and two fields that no element has together."""
    arrays = {name: [{"x": number} for number in range(40)] for name in "abcdef"}
    rows = [{"left": number % 2, "right": number % 2} for number in range(100)]
    pattern = {"rows": {"left": [0], "right": [1]}}
    partial = {**arrays, "rows": rows}
    assert not may_match(pattern, partial)
    assert not may_match({"a": {"x": [{"exists": True}]}, "b": {"x": [-1]}}, partial)
    assert may_match({name: {"x": [{"exists": True}]} for name in arrays} | pattern, partial)
