from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from ml_event_provider.drift.classifier import separability
from tests.unit.drift.checkpoints import frame


def test_the_same_distribution_cannot_be_told_apart() -> None:
    assert separability(frame(1), frame(2)) < 0.1


def test_what_changed_can_be_told_apart_the_more_the_further() -> None:
    near, far = (separability(frame(1), frame(2, shift=shift)) for shift in (1, 3))
    assert 0.2 < near < far <= 1


def test_the_same_data_give_the_same_number() -> None:
    assert separability(frame(1), frame(2, shift=1)) == separability(frame(1), frame(2, shift=1))


def test_unequal_sides_missing_values_and_unseen_categories_are_fine() -> None:
    current = frame(2, rows=300)
    current["country"] = "unseen"
    current.loc[:50, "größe"] = np.nan
    assert separability(frame(1), current) > 0.9


def test_drift_that_no_single_column_shows_is_seen() -> None:
    random = np.random.default_rng(5)
    one, other = random.normal(size=2000), random.normal(size=2000)
    together = pd.DataFrame({"x": one, "y": one + other / 10})
    apart = pd.DataFrame({"x": random.normal(size=2000), "y": random.permutation(one + other / 10)})
    assert separability(together, apart) > 0.5


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 rows"):
        separability(frame(1), frame(2, rows=3))


def test_without_scikit_learn_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(ModuleNotFoundError, match='install it, or use coefficient="divergence"'):
        separability(frame(1), frame(2))
