"""Each condition says what its slow model says, whatever comes when, and whatever breaks between."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from ml_event_provider.rules.conditions import threshold
from ml_event_provider.rules.engine import MemoryStates
from tests.unit.rules.conditions.condition_strategies import CASES, Case, Step, streams
from tests.unit.rules.engine.driving import Driver, Said, tick_of

PROFILE = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)

#: All that a stream may still cause has come this many ticks after its last event.
REST = 30


def told(said: Said) -> list[tuple[Any, ...]]:
    return [
        (tick_of(one.at), one.key, one.kind.value, (*one.seqs, None)[0] if one.kind.value == "fired" else None)
        for one in said.planned
    ]


def ordered(said: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """By tick and key; what is said of one key at one tick keeps its order."""
    return sorted(said, key=lambda one: one[:2])


@pytest.mark.parametrize("name", CASES)
@PROFILE
@given(st.data())
def test_a_condition_says_what_its_slow_model_says(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    steps: list[Step] = data.draw(streams(case))
    until = (steps[-1].at if steps else 0) + REST
    arrivals = [step.arrival(seq) for seq, step in enumerate(steps)]
    expected, too_late = case.outcome(steps, until)
    for one in expected:
        event(one[2])

    straight = Driver(case.rule, MemoryStates()).begin().take(*arrivals).until(until).said

    assert ordered(told(straight)) == ordered(expected)
    assert [one.seq for one in straight.decisions if one.outcome == "too late"] == too_late

    broken = Driver(case.rule).begin()
    now = 0
    for one, step in zip(arrivals, steps, strict=True):
        for moment in sorted(data.draw(st.lists(st.integers(now, step.at), max_size=2))):
            broken.until(moment)
        if data.draw(st.booleans()):
            broken.crash()
        broken.take(one)
        now = step.at
    broken.until(data.draw(st.integers(now, until))).crash()
    assert broken.until(until).said == straight


#: Events of one key: ticks since the one before it, how late it is, whether it is of the other kind, its value.
crowds = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 1, 2, 3, 5]),
        st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 6]),
        st.sampled_from([False, False, True]),
        st.integers(0, 3),
    ),
    min_size=20,
    max_size=60,
)


@pytest.mark.parametrize("name", ["threshold", "sequence", "missing"])
@PROFILE
@given(st.data())
def test_only_what_does_not_matter_is_forgotten(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name].filter(lambda one: one.lateness is not None and one.lateness > 2))
    steps, now = [], 0
    for gap, late, other, value in data.draw(crowds):
        now += gap
        steps.append(Step(now, now - late, "a", "then" if other and case.others else "hit", value))
    expected, _ = case.outcome(steps, now + REST)
    with pytest.MonkeyPatch.context() as always:
        always.setattr(threshold, "ROOM", 0)
        always.setattr(threshold, "_spare", lambda count: 0)
        driver = Driver(case.rule, MemoryStates()).begin().take(*(one.arrival(n) for n, one in enumerate(steps)))
        assert ordered(told(driver.until(now + REST).said)) == ordered(expected)
