"""The waits between attempts: bounded, growing, never shorter than the remote asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.dispatch.retry import RetryPolicy

DAY = 86_400.0

policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 1000),
    base=st.floats(0.0, 1000.0),
    longest=st.floats(0.0, 100_000.0),
)
jitters = st.floats(0.0, 1.0, exclude_max=True)
attempts = st.integers(1, 2000)
asked = st.none() | st.floats(-1e6, 1e12)


@given(policies, attempts, jitters, asked)
def test_there_is_a_wait_until_there_were_enough_attempts(
    policy: RetryPolicy, attempts: int, jitter: float, retry_after: float | None
) -> None:
    wait = policy.wait(attempts, jitter=jitter, retry_after=retry_after)
    assert (wait is None) == (attempts >= policy.max_attempts)


@given(policies, attempts, jitters)
def test_a_wait_is_bounded(policy: RetryPolicy, attempts: int, jitter: float) -> None:
    wait = policy.wait(attempts, jitter=jitter)
    if wait is not None:
        assert 0.75 * min(policy.base, policy.longest) <= wait <= 1.25 * policy.longest


@given(policies, attempts, jitters)
def test_waits_grow(policy: RetryPolicy, attempts: int, jitter: float) -> None:
    first, second = policy.wait(attempts, jitter=jitter), policy.wait(attempts + 1, jitter=jitter)
    if first is not None and second is not None:
        assert first <= second


@given(policies, attempts, jitters, jitters)
def test_jitter_spreads_deliveries_that_failed_together(
    policy: RetryPolicy, attempts: int, one: float, other: float
) -> None:
    first, second = policy.wait(attempts, jitter=min(one, other)), policy.wait(attempts, jitter=max(one, other))
    if first is not None and second is not None:
        assert first <= second <= first * (1.25 / 0.75) * (1 + 1e-9)


@given(policies, attempts, jitters, st.floats(-1e6, 1e12))
def test_what_the_remote_asked_for_is_the_minimum_up_to_a_day(
    policy: RetryPolicy, attempts: int, jitter: float, retry_after: float
) -> None:
    wait = policy.wait(attempts, jitter=jitter, retry_after=retry_after)
    if wait is not None:
        wished = max(min(retry_after, DAY), 0.0)
        assert wished <= wait <= wished + 0.125 * policy.longest


@pytest.mark.parametrize(
    ("attempts", "jitter", "retry_after", "wait"),
    [
        (1, 0.5, None, 5.0),
        (2, 0.5, None, 10.0),
        (5, 0.0, None, 60.0),
        (5, 0.5, None, 80.0),
        (9, 0.5, None, 100.0),
        (9, 0.0, None, 75.0),
        (1, 0.0, 30.0, 30.0),
        (1, 0.5, 30.0, 30.25),
        (1, 0.0, -5.0, 0.0),
        (9, 0.0, 1e12, DAY),
        (10, 0.5, None, None),
        (10, 0.5, 30.0, None),
    ],
)
def test_waits_of_a_policy(attempts: int, jitter: float, retry_after: float | None, wait: float | None) -> None:
    policy = RetryPolicy(max_attempts=10, base=5.0, longest=100.0)
    assert policy.wait(attempts, jitter=jitter, retry_after=retry_after) == pytest.approx(wait)
