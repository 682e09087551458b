from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.targets.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def test_the_limit_goes_through_at_once_and_the_rest_waits() -> None:
    clock = Clock()
    pace = Pace(3, 60.0, clock)
    assert [pace.wait("robot") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert pace.wait("robot") == 60.0


def test_those_who_wait_are_spread_over_the_time_after() -> None:
    clock = Clock()
    pace = Pace(3, 60.0, clock)
    waits = [pace.wait("robot") for _ in range(6)]
    assert waits == [0.0, 0.0, 0.0, 60.0, 80.0, 100.0]


def test_whoever_comes_back_when_told_goes_through() -> None:
    clock = Clock()
    pace = Pace(3, 60.0, clock)
    waiting = sorted(pace.wait("robot") for _ in range(12))
    for wait in waiting[3:]:
        clock.time = 1000.0 + wait
        assert pace.wait("robot") == 0.0


def test_keys_do_not_wait_for_each_other() -> None:
    pace = Pace(1, 60.0, Clock())
    assert [pace.wait("one"), pace.wait("other"), pace.wait("one")] == [0.0, 0.0, 60.0]


def test_a_key_may_have_a_smaller_limit() -> None:
    pace = Pace(20, 60.0, Clock())
    assert [pace.wait("robot", 2) for _ in range(3)] == [0.0, 0.0, 60.0]


def test_a_blocked_key_lets_nothing_through_until_the_time_is_over() -> None:
    clock = Clock()
    pace = Pace(20, 60.0, clock)
    assert pace.block("robot", 600.0) == 600.0
    assert pace.wait("robot") == pytest.approx(603.0)
    clock.time += 599.0
    assert pace.wait("robot") > 0
    clock.time += 1.0
    assert pace.wait("robot") == 0.0


@given(st.lists(st.floats(min_value=0, max_value=30), max_size=200))
def test_no_window_of_a_minute_ever_holds_more_than_the_limit(gaps: list[float]) -> None:
    clock = Clock()
    pace = Pace(20, 60.0, clock)
    sent = []
    for gap in gaps:
        clock.time += gap
        if pace.wait("robot") == 0.0:
            sent.append(clock.time)
    for first, later in zip(sent, sent[20:], strict=False):
        assert later - first >= 60.0 - 1e-6


def test_threads_together_keep_the_limit() -> None:
    pace = Pace(20, 60.0, Clock())
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda _: pace.wait("robot"), range(200)))
    assert waits.count(0.0) == 20
    assert len(set(waits)) == 181
