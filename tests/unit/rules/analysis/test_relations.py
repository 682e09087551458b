"""How the events of two patterns relate, and events made from patterns."""

from __future__ import annotations

from typing import Any

import pytest

from ml_event_provider.events.catalogue import EVENT_TYPES
from ml_event_provider.events.model import Event
from ml_event_provider.rules import PatternIndex
from ml_event_provider.rules.analysis import relation, witness
from ml_event_provider.rules.model import Rule
from ml_event_provider.rules.presets import PRESETS

FAILED = {"type": ["airflow.dag_run.failed"]}
DRIFT = {"type": ["ml.dataset.drift_detected"]}
SWAPPED = {"a_in_b": "b_in_a", "b_in_a": "a_in_b"}


def both(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"$and": list(parts)}


def data(**fields: Any) -> dict[str, Any]:
    return {"data": fields}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"type": ["a", "b"]}, {"type": ["b", "a"]}, "equal"),
        ({"data": {"n": [300]}}, {"data.n": [3.0e2]}, "equal"),
        (data(n=[{"numeric": ["=", 3]}], s=[{"exactly": "x"}]), data(n=[3], s=["x"]), "equal"),
        ({"source": ["y"], "type": ["x"]}, both({"type": ["x"]}, {"source": ["y"]}), "equal"),
        ({"type": ["x", "y"]}, {"$or": [{"type": ["x"]}, {"type": ["y"]}]}, "equal"),
        (data(s=[{"wildcard": "a*"}]), data(s=[{"prefix": "a"}, "abc"]), "equal"),
        ({"source": ["10.0.0.1"]}, {"source": ["010.0.0.1"]}, "equal"),
        ({"type": ["x"], "specversion": ["1.0"]}, {"type": ["x"]}, "equal"),
        ({**FAILED, "data": {"dag_id": [{"exists": True}]}}, FAILED, "equal"),
        (FAILED, {"type": [{"suffix": ".failed"}]}, "a_in_b"),
        ({**FAILED, "source": ["x"]}, FAILED, "a_in_b"),
        (data(s=["x"]), data(s=["x", {"exists": False}]), "a_in_b"),
        (data(s=["abc"]), data(s=[{"equals-ignore-case": "ABC"}]), "a_in_b"),
        (data(n=[{"numeric": [">", 5]}]), data(n=[{"numeric": [">=", 5]}]), "a_in_b"),
        (data(n=[5]), data(n=[{"anything-but": [4]}]), "a_in_b"),
        ({"source": [{"cidr": "10.1.0.0/16"}]}, {"source": [{"cidr": "10.0.0.0/8"}]}, "a_in_b"),
        (data(n=[{"compare-field": ["<", "data.m"]}]), data(n=[{"exists": True}]), "a_in_b"),
        (
            both({"source": [{"prefix": "a"}]}, {"source": [{"suffix": "b"}]}),
            {"source": [{"wildcard": "a*b"}, "x"]},
            "a_in_b",
        ),
        # One element of an array with both is more than two elements with one each.
        (data(c={"a": ["1"], "b": ["2"]}), both(data(c={"a": ["1"]}), data(c={"b": ["2"]})), "a_in_b"),
        # In objects that are no arrays it is the same.
        (
            {"type": ["airflow.task_instance.failed"], **data(exception={"type": ["A"], "message": ["B"]})},
            both(
                {"type": ["airflow.task_instance.failed"]},
                data(exception={"type": ["A"]}),
                data(exception={"message": ["B"]}),
            ),
            "equal",
        ),
        # Missing from one element of an array is less than missing from all.
        (data(i={"a": [{"exists": False}]}), data(i={"a": [{"exists": False}], "b": [1]}), "overlap"),
        (FAILED, {"type": ["airflow.dag_run.success"]}, "disjoint"),
        ({"workspace": ["a"], **FAILED}, {"workspace": ["b"], **FAILED}, "disjoint"),
        ({**FAILED, **data(state=["a"])}, {**FAILED, **data(state=["b"])}, "disjoint"),
        ({**FAILED, **data(tags=["a"])}, {**FAILED, **data(tags=["b"])}, "overlap"),
        ({"type": [{"suffix": ".failed"}]}, {"type": [{"prefix": "airflow.dag_run."}]}, "overlap"),
        ({**FAILED, "source": ["x"]}, {**FAILED, "subject": ["x"]}, "overlap"),
        ({**DRIFT, **data(columns={"column": ["a"]})}, {**DRIFT, **data(columns={"column": ["b"]})}, "overlap"),
    ],
)
def test_a_relation_is_found_either_way_round(one: dict[str, Any], other: dict[str, Any], expected: str) -> None:
    assert relation(one, other) == expected
    assert relation(other, one) == SWAPPED.get(expected, expected)


def test_too_large_a_pair_is_left_open() -> None:
    wide = {"$or": [{"source": [f"s{number}"], "id": [f"i{number}"]} for number in range(40)]}
    other = {"$or": [{"subject": [f"s{number}"], "owner": [f"i{number}"]} for number in range(40)]}
    assert relation(wide, other) == "unknown"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_a_witness_of_its_types(name: str) -> None:
    rule = Rule.model_validate({"name": "r", "on": name, "targets": ["t"], "workspace": "w"})
    event = witness(rule.pattern())
    assert event is not None
    assert PatternIndex({"rule": rule.pattern()}).match(event)
    read = Event.from_dict(event)
    assert read.type in EVENT_TYPES
    assert read.workspace == "w"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (data(n=[{"compare-field": ["<", "data.m"]}], m=[{"numeric": [">", 0, "<=", 2]}]), {"n": 1, "m": 2}),
        (data(n=[{"compare-field": ["=", "data.m"]}], m=["x"]), {"n": "x", "m": "x"}),
        (both(data(tags=["a"]), data(tags=["b"])), {"tags": ["a", "b"]}),
        ({**DRIFT, **data(columns={"column": ["a"], "value": [1]})}, {"columns": [{"column": "a", "value": 1}]}),
        (
            {**DRIFT, "$and": [data(columns={"column": ["a"], "value": [1]}), data(columns={"column": ["b"]})]},
            {"columns": [{"column": "a", "value": 1}, {"column": "b"}]},
        ),
        (data(a=["x"], **{"a.b": ["y"]}), {"a": "x", "a.b": "y"}),
    ],
)
def test_a_witness_has_what_the_pattern_asks_for(pattern: dict[str, Any], found: dict[str, Any]) -> None:
    event = witness(pattern)
    assert event is not None
    assert event["data"] == found
    assert Event.from_dict(event).to_dict() == event


def test_a_contradiction_has_no_witness() -> None:
    assert witness(both({"source": ["a"]}, {"source": ["b"]})) is None
    assert witness(both({"source": ["a"]}, {"source": ["b"]}), schemas=False) == {"source": ["a", "b"]}
