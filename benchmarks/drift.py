"""False alarms and detection of the drift check, by rows: ``python -m benchmarks.drift [--repeats 300]``.

Repeats the divergence itself (the check's own partitions, the formula of Great Expectations'
``ExpectColumnKLDivergenceToBeLessThan``) on new samples of both sides, then compares the two definitions of
``DriftCoefficient``. Prints Markdown.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from ml_event_provider.drift.chance import expected_by_chance, most_by_chance
from ml_event_provider.drift.classifier import separability
from ml_event_provider.drift.partition import Partition, partition_of

ROWS = (100, 300, 1000, 5000)
SHIFTS = (0.0, 0.1, 0.3, 0.5, 1.0)
THRESHOLDS = (0.05, 0.1)


def divergence(partition: Partition, current: pd.Series) -> float:
    values = partition.prepared(current)
    definition = partition.definition
    if partition.values is None:
        edges = definition["bins"]
        inner, _ = np.histogram(values, bins=edges)
        observed = np.array([(values < edges[0]).sum(), *inner, (values > edges[-1]).sum()], dtype=float)
        low, high = definition["tail_weights"]
        expected = np.array([low, *definition["weights"], high])
    else:
        counts = values.value_counts()
        observed = np.array([counts.get(value, 0) for value in definition["values"]], dtype=float)
        expected = np.array(definition["weights"])
    observed, expected = observed / observed.sum(), expected / expected.sum()
    seen = observed > 0
    return float((observed[seen] * np.log(observed[seen] / expected[seen])).sum())


def normal(random: np.random.Generator, rows: int, shift: float) -> pd.Series:
    return pd.Series(random.normal(shift, 1, rows))


def ten_categories(random: np.random.Generator, rows: int, shift: float) -> pd.Series:
    # The tenths of a normal distribution, named: a shift moves the same mass as it does for numbers.
    edges = [-1.2816, -0.8416, -0.5244, -0.2533, 0, 0.2533, 0.5244, 0.8416, 1.2816]
    return pd.Series(np.digitize(random.normal(shift, 1, rows), edges)).map("category {}".format)


def repeated(make, rows: int, shift: float, repeats: int) -> tuple[np.ndarray, int]:
    random = np.random.default_rng(20260101)
    found, cells = [], 0
    for _ in range(repeats):
        partition = partition_of(make(random, rows, 0.0), most_cells=10)
        if partition is None:
            continue
        cells = max(cells, partition.cells)
        found.append(divergence(partition, make(random, rows, shift)))
    return np.array(found), cells


def alarms(repeats: int) -> None:
    for make in (normal, ten_categories):
        print(f"\n### {make.__name__}\n")
        print("| rows each | mean by chance (theory) | 99.9% by chance (theory) |", end="")
        print("".join(f" shift {shift:g} |" for shift in SHIFTS))
        print("|---:|---:|---:|" + "---|" * len(SHIFTS))
        for rows in ROWS:
            cells_by_shift = []
            cells = 10
            chance = None
            for shift in SHIFTS:
                found, cells = repeated(make, rows, shift, repeats)
                chance = found if chance is None else chance
                shares = " / ".join(f"{(found > threshold).mean():.1%}" for threshold in THRESHOLDS)
                cells_by_shift.append(shares)
            mean = f"{chance.mean():.4f} ({expected_by_chance(cells, rows, rows):.4f})"
            most = f"{np.quantile(chance, 0.999):.4f} ({most_by_chance(cells, rows, rows):.4f})"
            print(f"| {rows} | {mean} | {most} | " + " | ".join(cells_by_shift) + " |")


def coefficients(repeats: int) -> None:
    print("\n### DriftCoefficient, one of five columns shifted, 2000 rows each\n")
    print("| shift | divergence | classifier |\n|---:|---:|---:|")
    for shift in (0.0, 0.3, 1.0, 3.0):
        random = np.random.default_rng(20260102)
        by_divergence, by_classifier = [], []
        for _ in range(repeats):
            base = pd.DataFrame(random.normal(0, 1, (2000, 5))).rename(columns=str)
            target = pd.DataFrame(random.normal(0, 1, (2000, 5))).rename(columns=str)
            target["0"] += shift
            values = [divergence(partition_of(base[column]), target[column]) for column in base.columns]
            by_divergence.append(1 - np.exp(-max(0.0, max(values) - expected_by_chance(10, 2000, 2000))))
            by_classifier.append(separability(base, target))
        print(f"| {shift:g} sd | {np.mean(by_divergence):.3f} | {np.mean(by_classifier):.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=300, help="samples for each cell of the tables")
    parser.add_argument("--classifiers", type=int, default=5, help="classifiers for each shift; 0 leaves them out")
    options = parser.parse_args()
    print(f"Share of checks above a threshold of {' / '.join(map(str, THRESHOLDS))}; {options.repeats} repeats.")
    alarms(options.repeats)
    if options.classifiers:
        coefficients(options.classifiers)


if __name__ == "__main__":
    main()
