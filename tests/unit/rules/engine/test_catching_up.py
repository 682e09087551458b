"""An engine that was away says what one that looked all the time, with the same present in mind, says; in few steps."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from ml_event_provider.rules.engine import Decision, MemoryStates
from tests.unit.rules.engine.driving import FAILED, SUCCESS, TICK, CountedStates, Driver, arrival, at, rule_set, tick_of
from tests.unit.rules.engine.rule_strategies import rules, streams

if TYPE_CHECKING:
    from ml_event_provider.rules.engine import Arrival

DAYS = 3 * 8640


class Counting(MemoryStates):
    """Counts what was due."""

    popped = 0

    def pop_due(self, moment: float) -> Any:
        found = super().pop_due(moment)
        self.popped += found is not None
        return found


def scheduled(**more: Any) -> dict[str, Any]:
    absence = {"within": "10s", "wait": 0, "schedule": "* * * * *", "expect": ["a"]}
    return {
        "name": "awaited",
        "workspace": "default",
        "on": SUCCESS,
        "by": "data.key",
        "condition": {"absence": absence},
        "targets": ["inbox"],
        **more,
    }


REPEATED = {
    "name": "repeated",
    "workspace": "default",
    "on": FAILED,
    "by": "data.key",
    "resolve": True,
    "repeat": "1m",
    "targets": ["inbox"],
}


def overtaken(decisions: list[Decision]) -> Counter[str]:
    """How many repetitions were overtaken, by key."""
    found: Counter[str] = Counter()
    for one in decisions:
        if one.outcome == "overtaken" and "repeats" in one.facts:
            found[one.key] += one.facts.get("overtaken", 1)
    return found


def others(decisions: list[Decision]) -> list[Decision]:
    return [one for one in decisions if one.outcome != "overtaken"]


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.one_of(rules(), st.builds(lambda rule: {**rule, "repeat": TICK}, rules())), streams, st.integers(30, 90))
@example(REPEATED, [arrival(1, 0, key="a")], 60)
@example(REPEATED | {"escalate": [{"after": "150s", "targets": "boss"}]}, [arrival(1, 0, key="a")], 60)
@example(scheduled(), [arrival(1, 20, SUCCESS, key="a")], 80)
@example(scheduled(repeat="40s"), [arrival(1, 20, SUCCESS, key="a")], 80)
@example(scheduled(resolve={"after": "90s"}), [arrival(1, 20, SUCCESS, key="a")], 80)
@example(scheduled(resolve={"after": "30s"}), [arrival(1, 20, SUCCESS, key="a")], 80)
def test_whoever_was_away_says_the_same(rule: dict[str, Any], arrivals: list[Arrival], rest: int) -> None:
    found = rule_set(rule)
    end = int(tick_of(arrivals[-1].at) if arrivals else 0) + rest
    away = Driver(found, CountedStates(), horizon=at(end)).begin().take(*arrivals)
    away.engine.advance(at(end), free_until=at(end))

    looking = Driver(found, CountedStates(), horizon=at(end)).begin()
    now = 0
    for one in arrivals:
        while now < tick_of(one.at):
            looking.until(now)
            now += 1
        looking.take(one)
    while now <= end:
        looking.until(now)
        now += 1

    event("overtaken" if overtaken(looking.said.decisions) else "nothing overtaken")
    assert away.said.planned == looking.said.planned
    assert others(away.said.decisions) == others(looking.said.decisions)
    assert overtaken(away.said.decisions) == overtaken(looking.said.decisions)


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        (REPEATED, 4),
        (scheduled(), 4),
        # Each missed moment may be the last before the end: an hour at a time.
        (scheduled(resolve={"after": "1h"}), 75),
    ],
)
def test_three_days_away_are_a_few_steps_for_each_key(rule: dict[str, Any], steps: int) -> None:
    states = Counting()
    driver = Driver(rule, states, horizon=at(DAYS)).begin()
    kind = FAILED if rule is REPEATED else SUCCESS
    driver.take(*(arrival(number, 0, kind, key=f"key-{number}") for number in range(20)))
    before, said = states.popped, len(driver.said.decisions)
    driver.engine.advance(at(DAYS), free_until=at(DAYS))
    keys = 20 + (rule is not REPEATED)
    assert states.popped - before <= steps * keys
    assert len(driver.said.decisions) - said <= steps * keys


def test_what_is_overtaken_is_jumped_over_up_to_the_next_event_only() -> None:
    states = MemoryStates()
    driver = Driver(REPEATED, states, horizon=at(DAYS)).begin().take(arrival(1, 0, key="a"))
    # The end comes in the middle of the time away.
    driver.take(arrival(2, 600, SUCCESS, key="a"))
    driver.engine.advance(at(DAYS), free_until=at(DAYS))
    assert [(one.kind, tick_of(one.at)) for one in driver.said.planned] == [("fired", 0), ("resolved", 600)]
    assert overtaken(driver.said.decisions) == {'["a"]': 100}


def test_a_part_of_what_is_due_reaches_as_far_as_no_event_comes() -> None:
    driver = Driver(REPEATED, Counting(), horizon=at(DAYS)).begin().take(arrival(1, 0, key="a"))
    # Only what is due by tick 6 is known; no event comes before tick 6000.
    driver.engine.advance(at(6), free_until=at(6000))
    assert overtaken(driver.said.decisions) == {'["a"]': 1000}
