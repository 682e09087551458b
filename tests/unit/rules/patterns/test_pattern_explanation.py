"""An explanation names each demand, what was found, and whether it was met."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_event_provider.rules import Finding, InvalidPattern, PatternIndex, explain
from ml_event_provider.rules.patterns.values import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    assert [one[:4] for one in explain(pattern, EVENT).findings] == [
        ("type", '{"suffix": ".failed"}', "airflow.task_instance.failed", True),
        ("data.try_number", '{"numeric": [">=", 3]}', 2, False),
        ("data.tags", '"prod"', ["ml", "prod"], True),
        ("data.model", '["churn", "ltv"]', ABSENT, False),
    ]
    assert repr(ABSENT) == "absent"


def test_each_branch_of_or_is_told_and_what_another_replaces_is_no_cause() -> None:
    explained = explain({"$or": [{"type": ["x"]}, {"data": {"owner": [None]}}]}, EVENT)
    assert explained.findings == [
        Finding("type", '"x"', "airflow.task_instance.failed", False, replaced=True),
        Finding("data.owner", "null", None, True),
        Finding("$or", "one of 2 branches", [False, True], True),
    ]
    assert (explained.matches, explained.causes) == (True, [])


def test_beside_an_or_that_holds_only_what_fails_is_a_cause() -> None:
    explained = explain({"$or": [{"type": ["x"]}, {"data": {"owner": [None]}}], "data": {"try_number": [3]}}, EVENT)
    assert [one.path for one in explained.causes] == ["data.try_number"]


def test_where_no_branch_holds_the_causes_of_each_are_named() -> None:
    inner = {"$or": [{"data": {"owner": [None]}}, {"type": ["z"]}]}
    explained = explain({"$or": [{"type": ["x"]}, {**inner, "data": {"try_number": [3]}}]}, EVENT)
    assert [one.path for one in explained.causes] == ["type", "data.try_number", "$or"]


def test_fields_of_different_array_elements_are_told() -> None:
    explained = explain({"data": {"f": {"n": ["a"], "s": [2]}}}, EVENT)
    assert [one.passed for one in explained.findings] == [True, True, False]
    assert [one.path for one in explained.causes] == ["(same array element)"]


def test_a_branch_whose_fields_are_in_different_array_elements_does_not_hold() -> None:
    explained = explain({"data": {"f": {"$or": [{"n": ["a"], "s": [2]}, {"n": ["c"]}]}}}, EVENT)
    assert not explained.matches
    assert [one.path for one in explained.causes] == ["(same array element)", "data.f.n", "data.f.$or"]


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
    assert [finding.passed for finding in explain(pattern, EVENT).findings] == passed


def test_a_wrong_pattern_is_refused() -> None:
    with pytest.raises(InvalidPattern):
        explain({"a": "x"}, {})


# Over generated patterns and events

LEAVES = st.sampled_from(
    [[1], [1, 2], [None], [{"exists": False}], [{"exists": True}], [{"anything-but": 1}], [{"numeric": [">", 1]}]]
)
VALUES = st.sampled_from([0, 1, 2, None, [], [1, 2], "x"])
ELEMENTS = st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2)
EVENTS = st.fixed_dictionaries(
    {}, optional={"a": VALUES, "b": VALUES, "c": st.one_of(ELEMENTS, st.lists(ELEMENTS, max_size=3))}
)


def _patterns(name: Callable[[str], str], leaves: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Patterns with alternatives at every level, whose fields are called by ``name``."""

    def fields(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        ways = st.lists(inner, min_size=2, max_size=3)
        return st.one_of(
            st.builds(lambda leaf, ways: {name("a"): leaf, "$or": ways}, leaves, ways),
            st.builds(lambda leaf, ways: {name("b"): leaf, "$and": ways}, leaves, ways),
            st.builds(lambda ways: {"c": {"$or": ways}}, ways),
            st.builds(lambda ways: {"$or": ways}, ways),
        )

    plain = st.builds(lambda letter, leaf: {name(letter): leaf}, st.sampled_from("ab"), leaves)
    return st.recursive(plain, fields, max_leaves=6)


@settings(max_examples=400, deadline=None)
@given(_patterns(lambda letter: letter, LEAVES), EVENTS)
def test_the_verdict_is_that_of_the_index_and_has_causes_only_where_it_does_not_match(
    pattern: dict[str, Any], event: dict[str, Any]
) -> None:
    try:
        index = PatternIndex({"one": pattern, "other": {"a": ["never"]}})
    except InvalidPattern:
        return
    explained = explain(pattern, event)
    assert explained.matches == ("one" in index.match(event))
    assert explained.matches == (not explained.causes)


def _numbered(pattern: Any, numbers: Iterator[int]) -> Any:
    """The pattern with a name of its own for each field that asks for 1."""
    if not isinstance(pattern, dict):
        return [_numbered(one, numbers) for one in pattern]
    return {
        (name if name in {"$or", "$and", "c"} else f"f{next(numbers)}"): value
        if value == [1]
        else _numbered(value, numbers)
        for name, value in pattern.items()
    }


def _at(paths: dict[str, int]) -> dict[str, Any]:
    event: dict[str, Any] = {}
    for path, value in paths.items():
        place = event
        *outer, last = path.split(".")
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    return event


@settings(max_examples=300, deadline=None)
@given(_patterns(lambda letter: letter, st.just([1])), st.data())
def test_each_cause_is_necessary_and_mending_those_of_one_branch_makes_it_match(
    pattern: dict[str, Any], data: st.DataObject
) -> None:
    pattern = _numbered(pattern, count())
    paths = sorted({one.path for one in explain(pattern, {}).findings if not one.path.endswith("$or")})
    values = {path: data.draw(st.integers(0, 1), label=path) for path in paths}
    explained = explain(pattern, _at(values))
    causes = [one.path for one in explained.causes if not one.path.endswith("$or")]
    if explained.matches:
        assert not causes
        return

    def matches(mended: set[str]) -> bool:
        return explain(pattern, _at(values | dict.fromkeys(mended, 1))).matches

    # The least sets of causes whose mending makes the pattern match: each cause is in one, and nothing else is needed.
    sets = [{path for bit, path in enumerate(causes) if number >> bit & 1} for number in range(2 ** len(causes))]
    enough = [mended for mended in sets if matches(mended)]
    least = [mended for mended in enough if not any(other < mended for other in enough)]
    assert set().union(*least) == set(causes)
    # While none of the causes is mended, nothing else makes it match.
    assert not matches(set(paths) - set(causes))
