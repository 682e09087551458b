"""The drift check: a Great Expectations checkpoint made from reference data and run on current data.

For each column it expects that the column is there, that the share of missing values has not risen by more
than 0.1, and that the divergence from the reference is at most the threshold. A divergence is only computed
where the rows suffice to tell it from chance (``drift.chance``): otherwise a column is reported as not
judged.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ml_event_provider.drift.chance import affordable_cells, most_by_chance, rows_needed
from ml_event_provider.drift.classifier import separability
from ml_event_provider.drift.partition import MOST_CATEGORIES, kind_of, partition_of
from ml_event_provider.drift.report import DRIFTED_SHARE, ColumnDrift, DriftReport, drift_meta, read_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

Coefficient = Literal["divergence", "classifier"]

#: Nats. A normal distribution reaches it with a shift of 0.45 standard deviations.
THRESHOLD = 0.1
#: From here on a divergence of 0.1 between tenths is out of chance's reach (281 rows each), rounded up.
MIN_ROWS = 300
#: How much the share of missing values may rise.
NULL_RISE = 0.1


@dataclass
class _Plan:
    """What will be expected of the current data, and what cannot be judged."""

    expectations: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    current: dict[str, pd.Series] = field(default_factory=dict)
    unjudged: list[ColumnDrift] = field(default_factory=list)


def check(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    name: str,
    columns: Sequence[str] | None = None,
    critical_columns: Iterable[str] = (),
    threshold: float = THRESHOLD,
    drifted_share: float = DRIFTED_SHARE,
    min_rows: int = MIN_ROWS,
    coefficient: Coefficient = "divergence",
    run_name: str | None = None,
) -> tuple[DriftReport, Any]:
    """Compare ``current`` with ``reference``.

    :param columns: the columns to compare; all of the reference, if ``None``.
    :param critical_columns: columns of which each one alone makes the dataset drift.
    :param threshold: the largest Kullback-Leibler divergence of a column that is no drift, in nats.
    :param drifted_share: from which share of drifted columns on the dataset drifts, above 0 to 1.
    :param min_rows: how many rows, and values in a column, both sides need to be judged.
    :param coefficient: what gives ``DriftCoefficient``: the columns' ``"divergence"``, or a ``"classifier"``
        (Azure's definition; needs scikit-learn).
    :return: the report, and Great Expectations' ``CheckpointResult``.
    :raises ValueError: if an option is out of range or names a column that the reference does not have.
    """
    reference, current = _named(reference, "reference"), _named(current, "current")
    chosen = list(dict.fromkeys(columns)) if columns is not None else list(reference.columns)
    critical = set(critical_columns)
    _validate(reference, chosen, critical, threshold, drifted_share, min_rows)
    enough = min(len(reference), len(current)) >= min_rows
    plan = _Plan()
    for column in chosen:
        _plan_column(plan, column, reference, current, column in critical, threshold, min_rows, enough)
    result = _run(name, plan, len(current), run_name)
    report = read_report(result, name=name, target_rows=len(current), drifted_share=drifted_share, others=plan.unjudged)
    if report is None:  # Every column is either expected or listed as not judged.
        raise AssertionError(f"the drift check {name!r} looked at no column")
    order = {column: place for place, column in enumerate(chosen)}
    report = replace(
        report,
        columns=tuple(sorted(report.columns, key=lambda line: order[line.column])),
        base_rows=len(reference),
        too_few_rows=not enough or any("too few" in line.detail for line in report.columns),
    )
    comparable = [line.column for line in report.judged if line.column in current.columns]
    if coefficient == "classifier" and comparable:
        measured = separability(reference[comparable], current[comparable])
        report = replace(report, measured_coefficient=measured)
    return report, result


def _named(frame: pd.DataFrame, side: str) -> pd.DataFrame:
    named = frame.rename(columns=str)
    if repeated := sorted(set(named.columns[named.columns.duplicated()])):
        raise ValueError(f"the {side} data has several columns named {', '.join(map(repr, repeated))}: rename them")
    return named


def _validate(
    reference: pd.DataFrame,
    chosen: list[str],
    critical: set[str],
    threshold: float,
    drifted_share: float,
    min_rows: int,
) -> None:
    if not chosen:
        raise ValueError("there is no column to compare: the reference data has none, or `columns` is empty")
    if unknown := [column for column in chosen if column not in reference.columns]:
        raise ValueError(f"the reference data has no column {', '.join(map(repr, unknown))}")
    if stray := sorted(critical - set(chosen)):
        raise ValueError(f"critical_columns names {', '.join(map(repr, stray))}, which is not compared")
    if not threshold > 0:
        raise ValueError(f"threshold is {threshold}; a divergence in nats above 0 is needed, such as {THRESHOLD}")
    if not 0 < drifted_share <= 1:
        raise ValueError(f"drifted_share is {drifted_share}; a share above 0 and up to 1 is needed")
    if min_rows < 1:
        raise ValueError(f"min_rows is {min_rows}; at least 1 is needed")


def _plan_column(
    plan: _Plan,
    column: str,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    critical: bool,
    threshold: float,
    min_rows: int,
    enough: bool,
) -> None:
    severity = "critical" if critical else "warning"
    there = column in current.columns
    exists: dict[str, Any] = {"column": column, "severity": severity}
    if not there and enough:
        exists["meta"] = drift_meta(critical=critical)
    plan.expectations.append(("ExpectColumnToExist", exists))
    if not enough:
        rows = f"too few rows: {len(current)} against {len(reference)} in the reference, {min_rows} are needed"
        plan.unjudged.append(ColumnDrift(column=column, judged=False, critical=critical, detail=rows))
    if there:
        plan.current[column] = current[column]
    if not (there and enough):
        return
    base_rows, target_rows = int(reference[column].notna().sum()), int(current[column].notna().sum())
    cells = affordable_cells(threshold, base_rows, target_rows, MOST_CATEGORIES) if base_rows and target_rows else 2
    partition = partition_of(reference[column], most_cells=cells)
    if partition is None:
        reason = _without_distribution(reference[column])
        plan.unjudged.append(ColumnDrift(column=column, judged=False, critical=critical, detail=reason))
        return
    prepared = partition.prepared(current[column])
    plan.current[column] = prepared
    target_rows = int(prepared.notna().sum())
    note = _shortage(partition.rows, target_rows, partition.cells, threshold, min_rows)
    null_share = 1 - partition.rows / len(reference)
    mark: dict[str, Any] = {"critical": critical, "base_rows": partition.rows, "base_null_share": null_share}
    nulls = {"column": column, "mostly": max(0.0, 1 - null_share - NULL_RISE), "severity": severity}
    plan.expectations.append(("ExpectColumnValuesToNotBeNull", {**nulls, "meta": drift_meta(**mark, note=note)}))
    if note:
        return
    divergence = {
        "column": column,
        "partition_object": partition.definition,
        "threshold": threshold,
        "severity": severity,
        "meta": drift_meta(**mark, cells=partition.cells),
    }
    plan.expectations.append(("ExpectColumnKLDivergenceToBeLessThan", divergence))


def _without_distribution(column: pd.Series) -> str:
    if not kind_of(column):
        return "times have no stable distribution"
    return "no value is frequent enough" if column.notna().any() else "no values in the reference"


def _shortage(base_rows: int, target_rows: int, cells: int, threshold: float, min_rows: int) -> str:
    """Why a divergence would mean nothing; empty if it means something."""
    counted = f"too few values: {target_rows} against {base_rows} in the reference"
    if min(base_rows, target_rows) < min_rows:
        return f"{counted}, {min_rows} are needed"
    if most_by_chance(cells, base_rows, target_rows) > threshold:
        return f"{counted}; chance alone reaches {threshold} below about {rows_needed(cells, threshold)} each"
    return ""


def _run(name: str, plan: _Plan, rows: int, run_name: str | None) -> Any:
    import great_expectations as gx
    import great_expectations.expectations as gxe
    import pandas as pd

    frame = pd.DataFrame(
        {column: values.reset_index(drop=True) for column, values in plan.current.items()}, index=range(rows)
    )
    suite = gx.ExpectationSuite(
        name=name, expectations=[getattr(gxe, kind)(**arguments) for kind, arguments in plan.expectations]
    )
    with _own_context() as context:
        asset = context.data_sources.add_pandas("current").add_dataframe_asset(name)
        validation = gx.ValidationDefinition(
            name=name, data=asset.add_batch_definition_whole_dataframe("all"), suite=context.suites.add(suite)
        )
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(name=name, validation_definitions=[context.validation_definitions.add(validation)])
        )
        return checkpoint.run(
            batch_parameters={"dataframe": frame},
            run_id=gx.RunIdentifier(run_name=run_name) if run_name else None,
        )


@contextmanager
def _own_context() -> Iterator[Any]:
    """A Great Expectations context in memory; the user's own is the current one again afterwards."""
    import great_expectations as gx
    from great_expectations.data_context.data_context.context_factory import project_manager
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.exceptions.exceptions import DataContextRequiredError

    try:
        before = project_manager.get_current_project()
    except DataContextRequiredError:
        before = None
    stores, silent = InMemoryStoreBackendDefaults(), ProgressBarsConfig(globally=False)
    config = DataContextConfig(store_backend_defaults=stores, progress_bars=silent)
    try:
        yield gx.get_context(mode="ephemeral", project_config=config)
    finally:
        project_manager.set_project(before)
