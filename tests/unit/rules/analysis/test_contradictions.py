"""Patterns that no event can match, and those that all do."""

from __future__ import annotations

from typing import Any

import pytest

from ml_event_provider.rules import InvalidPattern, PatternIndex
from ml_event_provider.rules.analysis import always_matches, never_matches
from ml_event_provider.rules.presets import PRESETS

FAILED = {"type": ["airflow.dag_run.failed"]}
TRY = {"type": ["airflow.task_instance.failed"]}
DRIFT = {"type": ["ml.dataset.drift_detected"]}


def both(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"$and": list(parts)}


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (both(FAILED, TRY), 'type: no value is of ["airflow.dag_run.failed"] and of ["airflow.task_instance.failed"]'),
        (both({"id": ["a"]}, {"id": [{"anything-but": "a"}]}), "id: no value"),
        (both({"source": [{"prefix": "a"}]}, {"source": [{"prefix": "b"}]}), "source: no value"),
        (both({"source": [{"prefix": "ab"}]}, {"source": ["ac", "b"]}), "source: no value"),
        (both({"source": [{"suffix": "x"}]}, {"source": [{"wildcard": "a*b"}]}), "source: no value"),
        (both({"extra": [{"numeric": [">", 5]}]}, {"extra": [{"numeric": ["<", 5]}]}), "extra: no value"),
        (both({"extra": [{"numeric": [">", 5]}]}, {"extra": [{"numeric": ["<", 6]}]}), "extra: no value"),
        (both({"extra": [{"exists": False}]}, {"extra": [{"exists": True}]}), "extra: no value"),
        (both({"extra": [1]}, {"extra": ["1"]}), "extra: no value"),
        ({"extra": [None]}, "extra: null never matches; it is a text or whole number or boolean"),
        ({"extra": [0.5]}, "extra: 0.5 never matches"),
        ({"id": [{"exists": False}]}, "id: every event has it"),
        ({"workspace": [{"exists": False}]}, "workspace: every event has it"),
        ({"specversion": ["0.3"]}, 'specversion: "0.3" never matches; it is always "1.0"'),
        ({"origin": ["schedular"]}, 'origin: "schedular" never matches; it is one of "api-server"'),
        ({"subject": [""]}, 'subject: "" never matches; it is a text that is not empty'),
        ({"type": {"name": ["x"]}}, "type.name: no event has a value there"),
        ({"detail-type": ["x"]}, "detail-type: no event has a value there"),
        ({"data": [{"exists": True}]}, "data: no event has a value there; it is an object"),
        ({"type": [{"exists": False}]}, "type: every event has it"),
        ({"type": [5]}, "type: 5 never matches; it is a text"),
        ({"type": ["airflow.dag_run.sucess"]}, "type: the catalogue has no event type for"),
        (both({"type": [{"prefix": "airflow."}]}, {"type": [{"prefix": "ml."}]}), "type: no value is of"),
        (both(FAILED, {"data": {"state": ["a"]}}, {"data.state": ["b"]}), "data.state: no value is of"),
        (both(FAILED, {"data": {"dag_id": [{"exists": False}]}}), "data.dag_id: every event has it"),
        (both(FAILED, {"data": {"duration": ["5"]}}), 'data.duration: "5" never matches; it is a number or null'),
        (both(FAILED, {"data": {"state": {"name": ["x"]}}}), "data.state.name: no event has a value there"),
        (both(FAILED, {"data": {"tags": [5]}}), "data.tags: 5 never matches"),
        (both(TRY, {"data": {"exception": ["x"]}}), "data.exception: "),
        (
            both(TRY, {"data": {"try_number": [{"numeric": [">", 2]}]}}, {"data.try_number": [{"numeric": ["<", 3]}]}),
            "data.try_number: no value",
        ),
        (
            both({"type": [{"wildcard": "airflow.*.failed"}]}, {"data": {"state": ["a"]}}, {"data": {"state": ["b"]}}),
            "each way to match fails: data.state: ",
        ),
        ({"$or": [{"origin": ["x"]}, {"specversion": ["2"]}]}, "each way to match fails: origin: "),
        (
            both({"data": {"n": [{"exists": False}]}}, {"data": {"n": [1]}, "id": ["x"]}),
            "data.n: must be there and be missing",
        ),
        ({"data": {"a": [{"compare-field": ["<", "data.a"]}]}}, "data.a: a value is compared with itself by <"),
        (
            {"data": {"a": [{"compare-field": ["=", "data.b"]}], "b": [{"exists": False}]}},
            "data.a: is compared with data.b, which must be missing",
        ),
        ({**FAILED, "data": {"duration": [{"compare-field": ["<", "data.state"]}]}}, "data.state: "),
    ],
)
def test_a_contradiction_is_found_and_named(pattern: dict[str, Any], reason: str) -> None:
    assert (never_matches(pattern) or "").startswith(reason)


@pytest.mark.parametrize(
    ("pattern", "document"),
    [
        # Arrays hold several values.
        (both(FAILED, {"data": {"tags": ["a"]}}, {"data": {"tags": ["b"]}}), {**FAILED, "data": {"tags": ["a", "b"]}}),
        (
            both(DRIFT, {"data": {"columns": {"value": [1]}}}, {"data": {"columns": {"value": [2]}}}),
            {**DRIFT, "data": {"columns": [{"value": 1}, {"value": 2}]}},
        ),
        # So do the fields of types that the catalogue does not know.
        (
            both({"type": ["com.example"]}, {"data": {"state": ["a"]}}, {"data": {"state": ["b"]}}),
            {"data": {"state": ["a", "b"]}},
        ),
        (both({"data": {"a": ["x"]}}, {"data": {"a.b": ["y"]}}), {"data": {"a": ["x", {"b": "y"}]}}),
        # An object is no value.
        ({"data": {"a": [{"exists": False}], "a.b": ["y"]}}, {"data": {"a": {"b": "y"}}}),
        # Missing from one element of an array, and in another.
        (
            both({"data": {"i": {"a": [{"exists": False}], "b": [1]}}}, {"data": {"i": {"a": [2]}}}),
            {"data": {"i": [{"b": 1}, {"a": 2}]}},
        ),
        ({"$or": [{"origin": ["nowhere"]}, {"id": ["x"]}]}, {"id": "x"}),
        (both({"source": ["010.0.0.1"]}, {"source": [{"cidr": "10.0.0.0/8"}]}), {"source": "10.0.0.1"}),
        (both({"source": [{"prefix": "a*"}]}, {"source": [{"suffix": "b"}, "c"]}), {"source": "a*b"}),
        ({"data": {"n": [12345678901234567891]}}, {"data": {"n": 12345678901234567891}}),
    ],
)
def test_no_contradiction_is_made_up(pattern: dict[str, Any], document: dict[str, Any]) -> None:
    document = {name: value[0] if name == "type" else value for name, value in document.items()}
    types = {} if "type" in document else {"type": "com.example"}
    assert PatternIndex({"pattern": pattern}).match({**document, **types})
    assert never_matches(pattern) is None


def test_without_schemas_an_event_is_any_object() -> None:
    pattern = both({"specversion": ["0.3"]}, {"specversion": ["0.2"]})
    assert never_matches(pattern) is not None
    assert never_matches(pattern, schemas=False) is None


@pytest.mark.parametrize("name", PRESETS)
def test_presets_match_some_events_and_not_all(name: str) -> None:
    assert never_matches(PRESETS[name]) is None
    assert not always_matches(PRESETS[name])


@pytest.mark.parametrize(
    ("pattern", "always"),
    [
        ({"workspace": ["a"]}, True),
        ({"workspace": ["a"], "type": [{"prefix": ""}]}, True),
        ({"type": [{"wildcard": "*"}]}, True),
        ({"type": [{"exists": True}], "specversion": ["1.0"]}, True),
        ({"data": {"x": [{"exists": True}, {"exists": False}]}}, True),
        ({"data": [{"exists": False}]}, True),
        ({"$or": [{"subject": ["x"]}, {"subject": [{"anything-but": "x"}]}, {"subject": [{"exists": False}]}]}, True),
        ({"$or": [{"type": ["x"]}, {"id": [{"exists": True}]}]}, True),
        ({"$or": [{"subject": ["x"]}, {"subject": [{"anything-but": "x"}]}]}, False),
        ({"data": {"x": [{"exists": True}]}}, False),
        ({"type": [{"anything-but": "x"}]}, False),
        ({"workspace": ["a"], "id": ["x"]}, False),
    ],
)
def test_a_pattern_that_fits_every_event_is_found(pattern: dict[str, Any], always: bool) -> None:
    assert always_matches(pattern) is always


def test_the_workspace_counts_where_it_is_not_ignored() -> None:
    assert not always_matches({"workspace": ["a"]}, ignoring=())
    assert always_matches({"workspace": ["a"], "id": ["x"]}, ignoring=("workspace", "id"))


@pytest.mark.parametrize("function", [never_matches, always_matches])
def test_a_wrong_pattern_is_refused(function: Any) -> None:
    with pytest.raises(InvalidPattern, match="empty list"):
        function({"type": []})
