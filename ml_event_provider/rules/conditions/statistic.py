"""A statistic of each period, so many periods in a row."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field, model_validator

from ml_event_provider.rules.calendars import Duration, PositiveDuration
from ml_event_provider.rules.conditions.base import Memory, Observation, Verdict
from ml_event_provider.rules.conditions.metrics import VALUE, Comparison, Finite, compares, number
from ml_event_provider.rules.fields import Part, Path


class Statistic(Part):
    """A statistic of the values in each period, so many periods in a row: Huawei Cloud Eye's alarm rule.

    Periods begin at whole multiples of their length since 1970 UTC. A period without values says nothing: the alert
    stays as it is.
    """

    value: Path = Field(VALUE, description="The field of the event that holds the number.")
    filter: Literal["average", "max", "min", "sum", "variance"] = Field(description="The statistic.")
    period: PositiveDuration = Field(description="The length of a period.")
    comparison: Comparison = Field(description="How the statistic must stand to the threshold.")
    threshold: Finite = Field(description="The limit.")
    count: int = Field(1, ge=1, le=100, description="How many periods in a row.")
    wait: Duration = Field(
        timedelta(minutes=1), description="How long after a period's end to wait for values that come late."
    )

    @model_validator(mode="after")
    def _bounded(self) -> Statistic:
        if self.period.total_seconds() < 1:
            raise ValueError("period must be at least 1s")
        return self

    def begin(self, now: float) -> Memory:
        """No period yet."""
        return {"periods": {}, "active": False}

    def take(self, memory: Memory, seen: Observation, now: float) -> None:
        """Add a value to its period; forget the periods that no judgement needs."""
        value = number(seen.value)
        length = self.period.total_seconds()
        if value is not None:
            index = str(int(seen.time // length))
            memory["periods"][index] = _added(memory["periods"].get(index), value, seen.seq)
        oldest = (now - self.wait.total_seconds()) // length - self.count
        memory["periods"] = {index: one for index, one in memory["periods"].items() if int(index) >= oldest}

    def judge(self, memory: Memory, now: float) -> Verdict:
        """Judge the last period that is complete."""
        length, wait = self.period.total_seconds(), self.wait.total_seconds()
        current = int((now - wait) // length)
        periods: dict[str, dict[str, Any]] = memory["periods"]
        pending = [int(index) for index in periods if int(index) >= current]
        next_at = (min(pending) + 1) * length + wait if pending else None
        found = [
            self._statistic(periods[str(index)]) if str(index) in periods else None
            for index in range(current - self.count, current)
        ]
        facts = {self.filter: found[-1], "threshold": self.threshold, "periods": self.count}
        if found[-1] is None:
            return Verdict(None, (), next_at, facts)
        active = all(one is not None and compares(one, self.comparison, self.threshold) for one in found)
        fired = (periods[str(current - 1)]["seq"],) if active and not memory["active"] else ()
        memory["active"] = active
        return Verdict(active, fired, next_at, facts)

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
