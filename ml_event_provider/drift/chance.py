"""How large a divergence is by chance alone, and so from how many rows on a threshold means something.

Both distributions are known from samples only. With no drift at all, the Kullback-Leibler divergence of ``k``
cells' shares between samples of ``n`` and ``m`` rows times ``2 / (1/n + 1/m)`` follows a chi-squared
distribution with ``k - 1`` degrees of freedom (Wilks' theorem); ``benchmarks/drift.py`` measures how well.
"""

from __future__ import annotations

from statistics import NormalDist

#: A column is judged where no drift at all passes the threshold in at most one of a thousand checks.
CONFIDENCE = 0.999
_Z = NormalDist().inv_cdf(CONFIDENCE)


def expected_by_chance(cells: int, base_rows: int, target_rows: int) -> float:
    """The mean divergence, in nats, of two samples of one distribution."""
    return (cells - 1) * _spread(base_rows, target_rows)


def most_by_chance(cells: int, base_rows: int, target_rows: int) -> float:
    """The divergence, in nats, that two samples of one distribution stay below with ``CONFIDENCE``."""
    return _chi_squared(cells - 1) * _spread(base_rows, target_rows)


def rows_needed(cells: int, threshold: float) -> int:
    """How many rows each sample needs so that ``threshold`` is out of chance's reach."""
    return int(_chi_squared(cells - 1) / threshold) + 1


def affordable_cells(threshold: float, base_rows: int, target_rows: int, most: int) -> int:
    """The most cells, up to ``most``, at which ``threshold`` is out of chance's reach; 1 means none."""
    cells = most
    while cells > 1 and most_by_chance(cells, base_rows, target_rows) > threshold:
        cells -= 1
    return cells


def _spread(base_rows: int, target_rows: int) -> float:
    return (1 / base_rows + 1 / target_rows) / 2


def _chi_squared(freedom: int) -> float:
    # Wilson and Hilferty's approximation (1931) of the quantile, within 4% from one degree of freedom on.
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + _Z * part**0.5) ** 3)
