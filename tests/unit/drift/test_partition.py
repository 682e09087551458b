from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_event_provider.drift.partition import OTHER, Partition, kind_of, partition_of


def made(column: Any, **options: Any) -> Partition:
    partition = partition_of(pd.Series(column), **options)
    assert partition is not None
    return partition


def weights(partition: Partition) -> list[float]:
    low, *high = partition.definition.get("tail_weights", [None])
    inner: list[float] = partition.definition["weights"]
    return inner if low is None else [low, *inner, *high]


RANDOM = np.random.default_rng(7)
NORMAL = RANDOM.normal(0, 1, 1000)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ([1, 2], "number"),
        ([1.5, None], "number"),
        (pd.array([1, None], dtype="Int64"), "number"),
        ([Decimal("1.5"), None], "number"),
        ([True, False], "category"),
        (pd.array([True, None], dtype="boolean"), "category"),
        ([True, None], "category"),
        (["a", None], "category"),
        (["a", 1], "category"),
        ([[1], [2]], "category"),
        (pd.Categorical(["a", "b"]), "category"),
        (pd.to_datetime(["2026-01-01"]), ""),
        (pd.to_timedelta(["1s"]), ""),
        ([1j], ""),
    ],
)
def test_kind_of_a_column(column: Any, kind: str) -> None:
    assert kind_of(pd.Series(column)) == kind


def test_numbers_fall_into_tenths_of_the_reference() -> None:
    partition = made(NORMAL)
    assert partition.cells == 10
    assert weights(partition) == pytest.approx([0.1] * 10, abs=0.003)


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(NORMAL, id="normal"),
        pytest.param([0.0] * 950 + list(NORMAL[:50]), id="zero-inflated"),
        pytest.param([*NORMAL[:900], *[float("inf")] * 100], id="a tenth infinite"),
        pytest.param([*NORMAL[:100], *[float("inf")] * 900], id="nearly all infinite"),
        pytest.param([*NORMAL[:100], *[float("nan")] * 900], id="nearly all missing"),
        pytest.param(RANDOM.poisson(5, 1000), id="counts"),
        pytest.param([5] * 1000, id="constant"),
        pytest.param([5.0] * 989 + list(range(11)), id="nearly constant"),
        pytest.param(["a"] * 600 + ["b"] * 400, id="categories"),
        pytest.param([True] * 600 + [False] * 400, id="flags"),
    ],
)
def test_great_expectations_accepts_the_partition_and_no_cell_is_impossible(column: Any) -> None:
    from great_expectations.execution_engine.util import is_valid_partition_object

    partition = made(column)
    assert is_valid_partition_object(partition.definition)
    assert min(weights(partition)) > 0
    assert len(weights(partition)) == partition.cells
    assert partition.rows == pd.Series(column).notna().sum()


@pytest.mark.parametrize(
    "column",
    [
        pytest.param([], id="no rows"),
        pytest.param([float("nan")] * 50, id="only missing"),
        pytest.param([None] * 50, id="only None"),
        pytest.param([f"user {number}" for number in range(500)], id="ids"),
        pytest.param(pd.date_range("2026-01-01", periods=100), id="times"),
    ],
)
def test_what_has_no_distribution_has_no_partition(column: Any) -> None:
    assert partition_of(pd.Series(column)) is None


def test_numbers_of_few_values_are_counted_whether_whole_or_not() -> None:
    partition = made([1, 2] * 50)
    assert partition.values == {"1", "2"}
    assert partition.prepared(pd.Series([1.0, 2.0, 3.0, None])).tolist() == ["1", "2", OTHER, None]


def test_decimals_are_numbers() -> None:
    partition = made([Decimal(str(round(value, 4))) for value in NORMAL])
    prepared = partition.prepared(pd.Series([Decimal("0.5"), None]))
    assert prepared.tolist()[0] == 0.5
    assert prepared.isna().tolist() == [False, True]


def test_rare_and_unseen_categories_share_a_cell() -> None:
    partition = made(["a"] * 900 + ["b"] * 95 + ["rare"] * 5)
    assert partition.definition["values"] == ["a", "b", OTHER]
    assert partition.prepared(pd.Series(["a", "rare", "new", None])).tolist() == ["a", OTHER, OTHER, None]


def test_most_cells_keeps_the_most_frequent_categories() -> None:
    column = [letter for count, letter in ((400, "x"), (300, "y"), (200, "z"), (100, "w")) for _ in range(count)]
    assert made(column, most_cells=3).definition["values"] == ["x", "y", OTHER]


def test_a_category_named_like_the_cell_of_others_belongs_to_it() -> None:
    partition = made([OTHER] * 50 + ["a"] * 50)
    assert partition.definition["values"] == ["a", OTHER]
    assert partition.prepared(pd.Series([OTHER])).tolist() == [OTHER]


def test_long_categories_are_shortened_and_still_told_apart() -> None:
    one, two = "long " * 1000 + "one", "long " * 1000 + "two"
    partition = made([one] * 50 + [two] * 50)
    listed = partition.definition["values"]
    assert len(set(listed)) == 3
    assert max(map(len, listed)) < 300
    assert set(partition.prepared(pd.Series([one, two]))) == set(listed) - {OTHER}


def test_texts_in_a_column_of_numbers_are_missing_numbers() -> None:
    assert made(NORMAL).prepared(pd.Series(["1.5", "n/a"])).isna().tolist() == [False, True]
