"""A statistic of each period, so many periods in a row, by itself or against an earlier one."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from functools import cached_property
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ml_event_provider.rules.calendars import Duration, PositiveDuration, TimeZone
from ml_event_provider.rules.conditions.base import Memory, Observation, Verdict
from ml_event_provider.rules.conditions.metrics import (
    VALUE,
    Comparison,
    Direction,
    Finite,
    changed,
    compares,
    directed,
    number,
)
from ml_event_provider.rules.conditions.periods import Periods
from ml_event_provider.rules.fields import NUMBER, Part, Path


class Against(Part):
    """Which earlier period a period is compared with, and how: the change takes the place of the statistic."""

    periods: Annotated[int, NUMBER] = Field(
        1, ge=1, le=744, description="How many periods earlier: 1 is the one before."
    )
    compare: Literal["relative", "absolute"] = Field(
        "relative", description="The change as a share of the earlier statistic (0.1 is 10 %), or as it is."
    )
    direction: Direction = Field(
        "any", description="Which change counts: how far it rose, how far it fell, or how far it moved either way."
    )


class Statistic(Part):
    """A statistic of the values in each period, so many periods in a row: Huawei Cloud Eye's alarm rule.

    Periods begin at whole multiples of their length since 1970 UTC; with ``timezone``, at midnight there. A period is
    judged once, ``wait`` after its end; what comes later is left out. A period without values says nothing, nor does
    one whose earlier period has none: it neither ends an alert nor belongs to a row.
    """

    value: Path = Field(VALUE, description="The field of the event that holds the number.")
    filter: Literal["average", "max", "min", "sum", "variance"] = Field(description="The statistic.")
    period: PositiveDuration = Field(description="The length of a period.")
    timezone: TimeZone | None = Field(
        None,
        description="The time zone in whose days periods are counted; a period is then whole days, or a part of a"
        " day of at least three hours. Weeks begin on Monday.",
    )
    against: Against | None = Field(
        None, description="Compare the change since an earlier period with the threshold, not the statistic itself."
    )
    comparison: Comparison = Field(description="How the statistic must stand to the threshold.")
    threshold: Finite = Field(description="The limit.")
    count: Annotated[int, NUMBER] = Field(1, ge=1, le=180, description="How many periods in a row.")
    wait: Duration = Field(
        timedelta(minutes=1), description="How long after a period's end to wait for values that come late."
    )

    @model_validator(mode="after")
    def _bounded(self) -> Statistic:
        if self.period.total_seconds() < 1:
            raise ValueError("period must be at least 1s")
        self.periods  # noqa: B018 - says what is wrong
        return self

    @cached_property
    def periods(self) -> Periods:
        """Where its periods begin."""
        return Periods(self.period.total_seconds(), self.timezone)

    def begin(self, now: float) -> Memory:
        """No period yet."""
        # By its number: while it may grow, what is known of its values; then its statistic and the newest seq.
        return {"periods": {}, "active": False}

    def too_late(self, time: float, now: float) -> float | None:
        """How many seconds after its own time a value would have counted, where its period is judged by ``now``."""
        wait = self.wait.total_seconds()
        period = self.periods.at(time)
        return None if period >= self.periods.at(now - wait) else self.periods.start(period + 1) + wait - time

    def take(self, memory: Memory, seen: Observation, now: float) -> None:
        """Add a value to its period; forget the periods that no judgement needs."""
        value = number(seen.value)
        periods: dict[str, Any] = memory["periods"]
        if value is not None:
            index = str(self.periods.at(seen.time))
            periods[index] = _added(periods.get(index), value, seen.seq)
        oldest = self.periods.at(now - self.wait.total_seconds()) - self.count
        oldest -= 0 if self.against is None else self.against.periods
        memory["periods"] = {index: one for index, one in periods.items() if int(index) >= oldest}

    def judge(self, memory: Memory, now: float) -> Verdict:
        """Judge the last period that is complete."""
        wait = self.wait.total_seconds()
        current = self.periods.at(now - wait)
        periods: dict[str, Any] = memory["periods"]
        for index, one in periods.items():
            if int(index) < current and isinstance(one, dict):
                periods[index] = [self._statistic(one), one["seq"]]
        pending = [int(index) for index in periods if int(index) >= current]
        next_at = self.periods.start(min(pending) + 1) + wait if pending else None
        row = [self._size(periods, index) for index in range(current - self.count, current)]
        facts = self._facts(periods, current - 1, row[-1])
        if row[-1] is None:
            return Verdict(None, (), next_at, facts)
        active = all(size is None or compares(size, self.comparison, self.threshold) for size in row)
        if active and None in row:
            return Verdict(None, (), next_at, facts)
        fired = (periods[str(current - 1)][1],) if active and not memory["active"] else ()
        memory["active"] = active
        return Verdict(active, fired, next_at, facts)

    def _size(self, periods: dict[str, Any], index: int) -> float | None:
        """What of a complete period is compared with the threshold; ``None`` where there is nothing."""
        found = periods.get(str(index))
        if self.against is None or found is None:
            return None if found is None else float(found[0])
        earlier = periods.get(str(index - self.against.periods))
        if earlier is None:
            return None
        return directed(changed(earlier[0], found[0], self.against.compare), self.against.direction)

    def _facts(self, periods: dict[str, Any], index: int, size: float | None) -> dict[str, Any]:
        """How the verdict about a period came about."""
        found = periods.get(str(index), [None])[0]
        facts = {self.filter: found, "threshold": self.threshold, "periods": self.count}
        if self.against is not None:
            before = periods.get(str(index - self.against.periods), [None])[0]
            change = None if size is None else changed(before, found, self.against.compare)
            facts |= {"before": before, "change": change if change is None or isfinite(change) else str(change)}
        return facts

    def _statistic(self, period: dict[str, Any]) -> float:
        average = Fraction(period["sum"]) / period["count"]
        match self.filter:
            case "average":
                return float(average)
            case "max":
                return float(period["max"])
            case "min":
                return float(period["min"])
            case "sum":
                return float(Fraction(period["sum"]))
            case "variance":
                return float(Fraction(period["squares"]) / period["count"] - average * average)


def _added(period: dict[str, Any] | None, value: float, seq: int) -> dict[str, Any]:
    """What is known of a period's values with one more.

    Sums are exact fractions of the decimal numbers as they are written, and kept as texts: the order of the values
    changes nothing, and ten times 0.1 is 1. As numbers are bounded, so is the length of the texts.
    """
    exact = Fraction(repr(value))
    if period is None:
        period = {"count": 0, "sum": "0", "squares": "0", "min": value, "max": value}
    return {
        "count": period["count"] + 1,
        "sum": str(Fraction(period["sum"]) + exact),
        "squares": str(Fraction(period["squares"]) + exact * exact),
        "min": min(period["min"], value),
        "max": max(period["max"], value),
        "seq": seq,
    }
