from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ml_event_provider.drift.datasets import dataset_id, load
from tests.unit.drift.checkpoints import frame

DATA = frame(1, rows=20)


def make_data() -> pd.DataFrame:
    return DATA


@pytest.mark.parametrize("suffix", ["csv", "CSV", "csv.gz", "csv.bz2", "csv.xz"])
def test_csv_files_are_read_also_compressed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"données.{suffix}"
    DATA.to_csv(path, index=False)
    for source in (str(path), path, f"file://{path}"):
        pd.testing.assert_frame_equal(load(source, "current"), DATA)


@pytest.mark.parametrize("suffix", ["parquet", "pq"])
def test_parquet_files_are_read(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("pyarrow", reason="pandas reads Parquet by pyarrow")
    path = tmp_path / f"data.{suffix}"
    DATA.to_parquet(path)
    pd.testing.assert_frame_equal(load(str(path), "current"), DATA)


def test_a_frame_and_what_makes_one_are_taken_as_they_are() -> None:
    assert load(DATA, "reference") is DATA
    assert load(make_data, "reference") is DATA


def test_an_empty_csv_file_is_a_frame_without_columns(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    assert load(str(tmp_path / "empty.csv"), "current").shape == (0, 0)


@pytest.mark.parametrize(
    ("source", "error", "problem"),
    [
        (None, TypeError, "the current data is NoneType"),
        ("", TypeError, "the current data is str ''"),
        (7, TypeError, "the current data is int '7'"),
        (lambda: 7, TypeError, "the current callable returned int"),
        ("data.xlsx", ValueError, "'data.xlsx' is neither .csv nor .parquet"),
        ("nowhere/data.csv", FileNotFoundError, "the current data 'nowhere/data.csv' does not exist"),
    ],
)
def test_what_cannot_be_read_is_named(source: Any, error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        load(source, "current")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data/orders.csv", "data/orders.csv"),
        (Path("data/orders.csv"), "data/orders.csv"),
        ("s3://aws_default@bucket/key.parquet", "s3://aws_default@bucket/key.parquet"),
        ("https://user:hidden@store/x.csv?sig=hidden#hidden", "https://user@store/x.csv"),
        (DATA, ""),
    ],
)
def test_a_dataset_is_named_without_secrets(source: Any, name: str) -> None:
    assert dataset_id(source) == name


def test_a_callable_is_named_by_module_and_name() -> None:
    assert dataset_id(make_data) == f"{__name__}.make_data"
