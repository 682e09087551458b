"""A column's distribution as a partition: cells with the share of the reference's values in each.

The partitions are those of Great Expectations (``ExpectColumnKLDivergenceToBeLessThan``). Numbers fall into
tenths of the reference; texts, booleans and numbers of few distinct values are counted, the rare ones
together with those that the reference never had. No cell is ever expected to be empty (Jeffreys' half a row
each), because one row in an impossible cell would make the divergence infinite.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: The cells of a partition of numbers: two tails and the bins between the deciles.
NUMERIC_CELLS = 10
#: The most cells of a partition of categories.
MOST_CATEGORIES = 50
#: A category has a cell of its own from this share of the reference on, and from this many rows: a rare one
#: that is picked for being frequent in one sample is less frequent in the next.
LEAST_SHARE = 0.01
LEAST_ROWS = 10
#: The cell of the rare categories and of those that the reference does not have.
OTHER = "(other)"
_LONGEST_CATEGORY = 200


@dataclass(frozen=True, slots=True)
class Partition:
    """The reference's distribution of one column.

    ``definition`` is Great Expectations' partition object, ``values`` the listed categories (``None`` for
    numbers in bins), ``cells`` how many cells there are, tails included.
    """

    definition: dict[str, Any]
    values: frozenset[str] | None
    cells: int
    rows: int

    def prepared(self, column: pd.Series) -> pd.Series:
        """Current data as the partition's cells want them: floats, or texts of the listed categories."""
        import pandas as pd

        if self.values is None:
            return pd.Series(numbers(column), dtype="float64")
        texts = categories(column)
        return pd.Series(
            [None if text is None else text if text in self.values else OTHER for text in texts],
            dtype="object",
        )


def kind_of(column: pd.Series) -> str:
    """``"number"``, ``"category"``, or ``""`` for what is not compared (times, complex numbers)."""
    import pandas as pd

    types = pd.api.types
    if types.is_bool_dtype(column.dtype):
        return "category"
    if types.is_complex_dtype(column.dtype):
        return ""
    if types.is_numeric_dtype(column.dtype):
        return "number"
    if types.is_datetime64_any_dtype(column.dtype) or types.is_timedelta64_dtype(column.dtype):
        return ""
    found = types.infer_dtype(column, skipna=True)
    if found in {"decimal", "integer", "floating", "mixed-integer-float"}:
        return "number"
    return "" if found in {"datetime", "date", "time", "timedelta", "period", "complex"} else "category"


def partition_of(column: pd.Series, *, most_cells: int = NUMERIC_CELLS) -> Partition | None:
    """The distribution of a reference column; ``None`` if it has none: no values, times, or only rare texts.

    :param most_cells: the most cells for categories, at least 2; numbers have ten in any case.
    """
    import numpy as np

    kind = kind_of(column)
    if kind == "number":
        values = numbers(column)
        values = values[~np.isnan(values)]
        if len(np.unique(values)) > NUMERIC_CELLS:
            return _numeric(values)
    texts = [text for text in categories(column) if text is not None] if kind else []
    return _categorical(texts, max(2, most_cells)) if texts else None


def numbers(column: pd.Series) -> np.ndarray:
    """A column as floats; what cannot be read as a number is NaN."""
    import pandas as pd

    floats = pd.to_numeric(column, errors="coerce")
    values: np.ndarray = floats.to_numpy(dtype="float64", na_value=float("nan"))
    return values


def categories(column: pd.Series) -> list[str | None]:
    """A column as texts, missing values as ``None``; 1 and 1.0 read the same."""
    missing = column.isna().to_numpy()
    return [None if gone else _text(value) for value, gone in zip(column.tolist(), missing, strict=True)]


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        value = float(value)
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if len(text) <= _LONGEST_CATEGORY:
        return text
    return f"{text[:_LONGEST_CATEGORY]}…{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _numeric(values: np.ndarray) -> Partition:
    import numpy as np

    # Edges are values of the reference ("lower"), so that nothing is interpolated between infinities.
    quantiles = np.quantile(values, [step / NUMERIC_CELLS for step in range(1, NUMERIC_CELLS)], method="lower")
    edges = np.unique(quantiles[np.isfinite(quantiles)])
    if len(edges) < 2:  # Nearly all values are the same: a bin for just this one.
        common = edges[0] if len(edges) else np.median(values[np.isfinite(values)])
        edges = np.array([common, np.nextafter(common, np.inf)])
    inner, _ = np.histogram(values[np.isfinite(values)], bins=edges)
    counts = [
        int((values < edges[0]).sum()),
        *(int(count) for count in inner),
        int((values > edges[-1]).sum()),
    ]
    shares = _shares(counts)
    definition = {
        "bins": [float(edge) for edge in edges],
        "weights": shares[1:-1],
        "tail_weights": [shares[0], shares[-1]],
    }
    return Partition(definition, None, len(counts), len(values))


def _categorical(texts: list[str], most_cells: int) -> Partition | None:
    counts: dict[str, int] = {}
    for text in texts:
        if text != OTHER:
            counts[text] = counts.get(text, 0) + 1
    least = max(LEAST_ROWS, LEAST_SHARE * len(texts))
    frequent = [text for text, count in counts.items() if count >= least]
    ranked = sorted(frequent, key=lambda text: (-counts[text], text))[: most_cells - 1]
    if not ranked:
        return None
    listed = [counts[text] for text in ranked]
    shares = _shares([*listed, len(texts) - sum(listed)])
    definition = {"values": [*ranked, OTHER], "weights": shares}
    return Partition(definition, frozenset(ranked), len(shares), len(texts))


def _shares(counts: list[int]) -> list[float]:
    total = sum(counts) + len(counts) / 2
    return [(count + 0.5) / total for count in counts]
