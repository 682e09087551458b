from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ml_event_provider.drift.chance import (
    CONFIDENCE,
    affordable_cells,
    expected_by_chance,
    most_by_chance,
    rows_needed,
)


@pytest.mark.parametrize("cells", [2, 3, 5, 10, 20, 50])
def test_the_most_by_chance_is_the_quantile_of_chi_squared(cells: int) -> None:
    exact = stats.chi2.ppf(CONFIDENCE, cells - 1) * (1 / 400 + 1 / 700) / 2
    assert most_by_chance(cells, 400, 700) == pytest.approx(exact, rel=0.04)


@pytest.mark.parametrize(("base", "target"), [(300, 300), (5000, 300), (1000, 4000)])
def test_two_samples_of_one_distribution_differ_as_much_as_chance_says(base: int, target: int) -> None:
    random = np.random.default_rng(1)
    shares = np.full(10, 0.1)
    found = [
        stats.entropy(random.multinomial(target, shares), random.multinomial(base, shares) + 0.5) for _ in range(2000)
    ]
    assert np.mean(found) == pytest.approx(expected_by_chance(10, base, target), rel=0.1)
    assert np.mean(np.array(found) > most_by_chance(10, base, target)) < 0.005


def test_rows_needed_are_those_at_which_the_threshold_leaves_the_reach_of_chance() -> None:
    needed = rows_needed(10, 0.1)
    assert needed == 281
    assert most_by_chance(10, needed, needed) <= 0.1 < most_by_chance(10, needed - 1, needed - 1)


@pytest.mark.parametrize(("rows", "cells"), [(300, 11), (5000, 50), (60, 1)])
def test_more_rows_afford_more_cells(rows: int, cells: int) -> None:
    assert affordable_cells(0.1, rows, rows, 50) == cells
