"""An explanation names each demand, what was found, and whether it was met."""

from __future__ import annotations

from typing import Any

import pytest

from ml_event_provider.rules import Finding, InvalidPattern, explain
from ml_event_provider.rules.patterns.values import ABSENT

EVENT: dict[str, Any] = {
    "type": "airflow.task_instance.failed",
    "data": {
        "try_number": 2,
        "tags": ["ml", "prod"],
        "owner": None,
        "f": [{"n": "a", "s": 1}, {"n": "b", "s": 2}],
    },
}


def test_the_failed_predicate_and_the_value_found_are_named() -> None:
    pattern = {
        "type": [{"suffix": ".failed"}],
        "data": {"try_number": [{"numeric": [">=", 3]}], "tags": ["prod"], "model": ["churn", "ltv"]},
    }
    assert explain(pattern, EVENT) == [
        ("type", '{"suffix": ".failed"}', "airflow.task_instance.failed", True),
        ("data.try_number", '{"numeric": [">=", 3]}', 2, False),
        ("data.tags", '"prod"', ["ml", "prod"], True),
        ("data.model", '["churn", "ltv"]', ABSENT, False),
    ]
    assert repr(ABSENT) == "absent"


def test_each_branch_of_or_is_told() -> None:
    findings = explain({"$or": [{"type": ["x"]}, {"data": {"owner": [None]}}]}, EVENT)
    assert findings == [
        Finding("type", '"x"', "airflow.task_instance.failed", False),
        Finding("data.owner", "null", None, True),
        Finding("$or", "one of 2 branches", [False, True], True),
    ]


def test_fields_of_different_array_elements_are_told() -> None:
    findings = explain({"data": {"f": {"n": ["a"], "s": [2]}}}, EVENT)
    assert [finding.passed for finding in findings] == [True, True, False]
    assert findings[-1].path == "(same array element)"


@pytest.mark.parametrize(
    ("pattern", "passed"),
    [
        ({"data": {"tags": {"$and": ["ml", "dev"]}}}, [True, False]),
        ({"$and": [{"type": [{"prefix": "airflow."}]}]}, [True]),
        ({"data": {"missing": [{"exists": False}]}}, [True]),
        ({"data": {"try_number": [{"compare-field": ["<", "data.f.s"]}]}}, [False]),
    ],
)
def test_other_forms_are_told(pattern: dict[str, Any], passed: list[bool]) -> None:
    assert [finding.passed for finding in explain(pattern, EVENT)] == passed


def test_a_wrong_pattern_is_refused() -> None:
    with pytest.raises(InvalidPattern):
        explain({"a": "x"}, {})
