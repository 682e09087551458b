"""What a drift check found: one line a column, and what follows for the dataset. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ml_event_provider.drift.chance import expected_by_chance
from ml_event_provider.sources.expectations import exception_message, expectation_type
from ml_event_provider.sources.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Where an expectation's ``meta`` says that it is about drift: ``{"ml_events": {"drift": {…}}}``.
META_KEY = "ml_events"
DRIFTED_SHARE = 0.5

_METHODS = {
    "expect_column_kl_divergence_to_be_less_than": "kl_divergence",
    "expect_column_values_to_not_be_null": "null_share",
    "expect_column_to_exist": "exists",
}

Status = Literal["drift", "no_drift", "too_few_rows", "not_judged"]


def drift_meta(**fields: Any) -> dict[str, Any]:
    """The ``meta`` that marks an expectation as one about drift.

    :param fields: ``base_rows``, ``cells``, ``base_null_share``, ``critical``, as far as they are known;
        ``note`` says why a passing expectation does not judge the column.
    """
    return {META_KEY: {"drift": fields}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift:
    """What was found about one column.

    ``value`` and ``threshold`` are in the method's unit: nats (``kl_divergence``), a share 0…1
    (``null_share``). ``coefficient`` is the drift as 0…1, ``None`` where it was not measured. A column that
    was not judged is not drifted, and ``detail`` says why.
    """

    column: str
    method: str = ""
    value: float | None = None
    threshold: float | None = None
    drifted: bool = False
    judged: bool = True
    critical: bool = False
    coefficient: float | None = None
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The column's line in the event and in the task's result."""
        line: dict[str, Any] = {
            "column": self.column,
            "method": self.method,
            "value": self.value,
            "threshold": self.threshold,
            "drifted": self.drifted,
        }
        if not self.judged:
            line["judged"] = False
        if self.detail:
            line["detail"] = self.detail
        return line


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """What a drift check found.

    The dataset drifts when at least the share ``drifted_share_limit`` of the judged columns does, or one of
    the critical columns. ``measured_coefficient`` replaces the columns' own (see :attr:`coefficient`).
    """

    name: str
    columns: tuple[ColumnDrift, ...]
    base_rows: int | None = None
    target_rows: int | None = None
    drifted_share_limit: float = DRIFTED_SHARE
    too_few_rows: bool = False
    measured_coefficient: float | None = None

    @property
    def judged(self) -> tuple[ColumnDrift, ...]:
        """The columns that were compared."""
        return tuple(column for column in self.columns if column.judged)

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """The names of the columns that drifted."""
        return tuple(column.column for column in self.columns if column.drifted)

    @property
    def drifted_share(self) -> float:
        """The share of the judged columns that drifted, 0…1."""
        return len(self.drifted_columns) / len(self.judged) if self.judged else 0.0

    @property
    def drifted(self) -> bool:
        """Whether the dataset drifted."""
        if any(column.drifted and column.critical for column in self.columns):
            return True
        return bool(self.drifted_columns) and self.drifted_share >= self.drifted_share_limit

    @property
    def status(self) -> Status:
        """The result in one word."""
        if self.drifted:
            return "drift"
        if self.judged:
            return "no_drift"
        return "too_few_rows" if self.too_few_rows else "not_judged"

    @property
    def coefficient(self) -> float:
        """``DriftCoefficient``: 0 where no more drift was measured than chance gives, 1: nothing is alike.

        It is the most drifted column's: 1 - exp(-d) of its divergence d less the mean divergence by chance;
        for missing values the rise of their share; 1 for a column that is gone. Where a classifier measured
        the drift it is the classifier's.
        """
        if self.measured_coefficient is not None:
            return self.measured_coefficient
        return max((column.coefficient for column in self.columns if column.coefficient is not None), default=0.0)

    @property
    def method(self) -> str:
        """The method of most columns' judgement: the first judged column's."""
        return next((column.method for column in self.judged), "")

    @property
    def threshold(self) -> float | None:
        """The threshold that belongs to :attr:`method`."""
        return next((column.threshold for column in self.judged), None)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON, the drift task's XCom."""
        return {
            "name": self.name,
            "status": self.status,
            "drifted": self.drifted,
            "drift_coefficient": self.coefficient,
            "coefficient_method": self.coefficient_method,
            "method": self.method,
            "threshold": self.threshold,
            "base_rows": self.base_rows,
            "target_rows": self.target_rows,
            "drifted_columns": list(self.drifted_columns),
            "drifted_share": self.drifted_share,
            "drifted_share_limit": self.drifted_share_limit,
            "columns": [column.to_dict() for column in self.columns],
        }

    def event_fields(self) -> dict[str, Any]:
        """What ``sources.great_expectations.drift_detected`` is told of the report."""
        return {
            "name": self.name,
            "columns": [column.to_dict() for column in self.columns],
            "drift_coefficient": self.coefficient,
            "method": self.method,
            "threshold": self.threshold,
            "base_rows": self.base_rows,
            "target_rows": self.target_rows,
            "drifted_share": self.drifted_share,
            "details": {
                "coefficient_method": self.coefficient_method,
                "drifted_share_limit": self.drifted_share_limit,
            },
        }

    @property
    def coefficient_method(self) -> str:
        """What measured :attr:`coefficient`: ``"divergence"`` or ``"classifier"``."""
        return "divergence" if self.measured_coefficient is None else "classifier"


def read_report(
    result: Any,
    *,
    name: str = "",
    target_rows: int | None = None,
    drifted_share: float = DRIFTED_SHARE,
    others: Iterable[ColumnDrift] = (),
) -> DriftReport | None:
    """The report in a ``CheckpointResult``; ``None`` if no expectation is marked as one about drift.

    :param result: read by its attributes; expectations are marked by ``meta`` (:func:`drift_meta`).
    :param name: the check's name; the checkpoint's, if empty.
    :param target_rows: how many rows were checked; taken from the results, if not given.
    :param others: columns that the checkpoint did not look at.
    """
    outcomes = [item for validation in result.run_results.values() for item in validation.results]
    if target_rows is None:
        counts = [(item.result or {}).get("element_count") for item in outcomes]
        target_rows = max((int(count) for count in counts if count is not None), default=None)
    marked = [(item, mark) for item in outcomes if (mark := _mark(item)) is not None]
    others = tuple(others)
    if not marked and not others:
        return None
    found: dict[str, list[ColumnDrift]] = {}
    for outcome, mark in marked:
        line = _line(outcome, mark, target_rows)
        found.setdefault(line.column, []).append(line)
    bases = [int(mark["base_rows"]) for _, mark in marked if mark.get("base_rows")]
    return DriftReport(
        name=name or str(result.name),
        columns=(*(_merged(lines) for lines in found.values()), *others),
        base_rows=max(bases, default=None),
        target_rows=target_rows,
        drifted_share_limit=drifted_share,
    )


def _mark(outcome: Any) -> Mapping[str, Any] | None:
    own = (outcome.expectation_config.meta or {}).get(META_KEY)
    mark = own.get("drift") if isinstance(own, dict) else None
    if mark is True:
        return {}
    return mark if isinstance(mark, dict) else None


def _line(outcome: Any, mark: Mapping[str, Any], target_rows: int | None) -> ColumnDrift:
    arguments, found = outcome.expectation_config.kwargs, outcome.result or {}
    method = _METHODS.get(expectation_type(outcome), expectation_type(outcome))
    column, critical = str(arguments.get("column") or method), bool(mark.get("critical"))
    if problem := exception_message(outcome):
        return ColumnDrift(column=column, method=method, judged=False, critical=critical, detail=problem)
    note = str(mark.get("note") or "")
    value, threshold = plain(found.get("observed_value")), arguments.get("threshold")
    if method == "null_share":
        value, threshold = _share(found.get("unexpected_percent")), 1 - float(arguments.get("mostly", 1))
    return ColumnDrift(
        column=column,
        method=method,
        value=_rounded(value),
        threshold=_rounded(threshold),
        drifted=not outcome.success,
        judged=not (note and outcome.success),
        critical=critical,
        coefficient=_coefficient(method, value, mark, target_rows, bool(outcome.success)),
        detail="the column is missing" if method == "exists" and not outcome.success else note,
    )


def _coefficient(
    method: str, value: Any, mark: Mapping[str, Any], target_rows: int | None, success: bool
) -> float | None:
    if method == "exists":
        return 0.0 if success else 1.0
    if method == "kl_divergence" and value is None and not success:
        return 1.0  # Great Expectations reports an infinite divergence as none.
    if not isinstance(value, int | float):
        return None
    if method == "null_share":
        return _rounded(min(1.0, max(0.0, value - float(mark.get("base_null_share", 0.0)))))
    if method != "kl_divergence":
        return None
    cells, base_rows = int(mark.get("cells") or 0), int(mark.get("base_rows") or 0)
    chance = expected_by_chance(cells, base_rows, target_rows) if cells and base_rows and target_rows else 0.0
    return _rounded(1 - math.exp(-max(0.0, value - chance)))


def _merged(lines: list[ColumnDrift]) -> ColumnDrift:
    """One line for all that was found about a column: what drifted first, else the divergence."""
    judged = [line for line in lines if line.judged]
    if not judged:
        return lines[0]
    first = min(judged, key=lambda line: (not line.drifted, line.method != "kl_divergence"))
    also = [f"{line.method} {line.value} > {line.threshold}" for line in judged if line.drifted and line is not first]
    known = [line.coefficient for line in judged if line.coefficient is not None]
    return ColumnDrift(
        column=first.column,
        method=first.method,
        value=first.value,
        threshold=first.threshold,
        drifted=first.drifted,
        critical=any(line.critical for line in lines),
        coefficient=max(known, default=None),
        detail="; ".join(filter(None, [first.detail, *also])),
    )


def _share(percent: Any) -> float | None:
    number = plain(percent)
    return None if number is None else float(number) / 100


def _rounded(value: Any) -> float | None:
    return round(float(value), 6) if isinstance(value, int | float) else None
