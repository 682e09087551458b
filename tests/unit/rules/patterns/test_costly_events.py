"""Arrays cost what their length is worth, and what costs too much is named instead of done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider.rules.engine import Engine, MemoryStates
from ml_event_provider.rules.patterns import alternatives, budget
from ml_event_provider.rules.patterns.index import PatternIndex
from tests.unit.rules.engine.driving import FAILED, arrival, rule_set

if TYPE_CHECKING:
    from collections.abc import Callable

CASES: dict[str, tuple[dict[str, Any], Callable[[int], dict[str, Any]]]] = {
    "one field": (
        {"data": {"rows": {"state": ["bad"], "kind": ["x"]}}},
        lambda n: {"rows": [{"state": "bad", "kind": "y"}] * n},
    ),
    "two fields of one element": (
        {"data": {"rows": {"state": ["bad"], "kind": ["x"]}}},
        lambda n: {"rows": [{"state": "bad" if i % 2 else "good", "kind": "y" if i % 2 else "x"} for i in range(n)]},
    ),
    "two fields compared": (
        {"data": {"rows": {"state": ["bad"], "left": [{"compare-field": ["<", "data.rows.right"]}]}}},
        lambda n: {"rows": [{"state": "bad", "left": i, "right": -i - 1} for i in range(n)]},
    ),
}


def steps(pattern: dict[str, Any], data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many steps a match takes."""
    counted = [0]

    def spend(known: Any, number: int) -> None:
        counted[0] += number
        budget.spend(known, number)

    monkeypatch.setattr(alternatives, "spend", spend)
    PatternIndex({"one": pattern}).match({"data": data})
    return counted[0]


@pytest.mark.parametrize("name", list(CASES))
def test_ten_times_the_elements_are_ten_times_the_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern, data = CASES[name]
    few, many = steps(pattern, data(100), monkeypatch), steps(pattern, data(1000), monkeypatch)
    assert few
    assert many <= 11 * few


ARRAYS = {letter: [{"v": number} for number in range(300)] for letter in "abcd"}
#: Asks for values of four arrays, each of which goes with all of the others.
PRODUCT = {
    "name": "product",
    "workspace": "default",
    "event_pattern": {
        "type": [FAILED],
        "data": {letter: {"v": [{"numeric": [">=", 0]}], "w": [{"exists": False}]} for letter in "abcd"},
    },
    "targets": ["inbox"],
}


def test_an_event_that_is_too_costly_for_one_rule_is_judged_by_the_others_and_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "MOST_OF_ONE", 500)
    other = {"name": "other", "workspace": "default", "on": FAILED, "targets": ["inbox"]}
    engine = Engine(rule_set([PRODUCT, other]), MemoryStates())
    engine.take(arrival(7, 0, **ARRAYS))
    assert [one.rule.name for one in engine.planned] == ["other"]
    assert [(one.seq, one.rule) for one in engine.failures] == [(7, "product")]
    assert "too costly" in engine.failures[0].reason


def test_whoever_does_not_ask_which_are_too_costly_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MOST_OF_ONE", 500)
    with pytest.raises(budget.TooCostly):
        PatternIndex({"one": PRODUCT["event_pattern"]}).match({"type": FAILED, "data": ARRAYS})


def test_what_all_rules_together_may_cost_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MOST_STEPS", 2000)
    pattern, data = CASES["two fields of one element"]
    index = PatternIndex({f"rule {n}": {**pattern, "id": [{"prefix": str(n)}, {"exists": True}]} for n in range(20)})
    costly: set[str] = set()
    assert index.match({"id": "x", "data": data(400)}, costly) == set()
    assert costly


def test_an_array_leads_to_each_rule_once() -> None:
    patterns = {f"rule {n}": {"data": {"rows": {"state": ["bad"], "number": [n]}}} for n in range(50)}
    index = PatternIndex(patterns)
    event = {"data": {"rows": [{"state": "bad", "number": n % 60} for n in range(2_000)]}}
    assert index.match(event) == set(patterns)
