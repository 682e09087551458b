"""Values of a metric as they are logged: a threshold, a change, a deviation from what is usual."""

from __future__ import annotations

from bisect import insort
from fractions import Fraction
from math import fsum, inf, isfinite, sqrt
from typing import Annotated, Any, Literal

from pydantic import Field

from ml_event_provider.rules.conditions.base import Memory, Observation, Verdict
from ml_event_provider.rules.fields import NUMBER, Part, Path

Comparison = Literal[">", ">=", "<", "<=", "=", "!="]
Window = Annotated[int, NUMBER, Field(ge=1, le=10_000)]
Finite = Annotated[float, NUMBER, Field(allow_inf_nan=False)]
Direction = Literal["increase", "decrease", "any"]
Aggregate = Literal["average", "min", "max", "last"]

VALUE = "data.value"
#: The largest number reckoned with, in place of any that is larger: squares and sums of many stay finite.
LARGEST = 1e140


def compares(value: float, comparison: Comparison, limit: float) -> bool:
    """Whether ``value`` stands to ``limit`` as the comparison says."""
    match comparison:
        case ">":
            return value > limit
        case ">=":
            return value >= limit
        case "<":
            return value < limit
        case "<=":
            return value <= limit
        case "=":
            return value == limit
        case "!=":
            return value != limit


def number(value: Any) -> float | None:
    """The number that an event holds, or ``None`` where it holds none that can be reckoned with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return max(-LARGEST, min(LARGEST, found)) if isfinite(found) else None


def mean(values: list[float]) -> float:
    """The arithmetic mean; exact sums, so that the order of the values changes nothing."""
    return fsum(values) / len(values)


def taken(aggregate: Aggregate, values: list[float]) -> float:
    """What an aggregate takes of values, the oldest first."""
    match aggregate:
        case "average":
            return mean(values)
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "last":
            return values[-1]


def changed(before: float, after: float, compare: Literal["relative", "absolute"]) -> float:
    """The change as it is, or as a share of what was before; from nothing, any such change is endless.

    It is that of the decimal numbers as they are written: from 1.1 to 1.2 it is 0.1.
    """
    change = Fraction(repr(after)) - Fraction(repr(before))
    endless = inf if change > 0 else -inf
    if compare == "relative" and change:
        if not before:
            return endless
        change /= abs(Fraction(repr(before)))
    try:
        return float(change)
    except OverflowError:
        return endless


def directed(change: float, direction: Direction) -> float:
    """How large a change is in a direction: below 0 where it goes the other way."""
    return {"increase": change, "decrease": -change, "any": abs(change)}[direction]


class _Logged(Part):
    """Keeps the newest values of one key, by the events' own times."""

    value: Path = Field(VALUE, description="The field of the event that holds the number.")

    @property
    def needed(self) -> int:
        """How many values the judgement needs."""
        raise NotImplementedError

    def begin(self, now: float) -> Memory:
        """Nothing logged yet."""
        return {"values": [], "active": False}

    def take(self, memory: Memory, seen: Observation, now: float) -> None:
        """Insert a value. What is no number is left out."""
        value = number(seen.value)
        if value is not None:
            insort(memory["values"], [seen.time, seen.seq, value])
            del memory["values"][: -self.needed]

    def judge(self, memory: Memory, now: float) -> Verdict:
        """Fire when it becomes true; too few values tell nothing."""
        values = [value for _, _, value in memory["values"]]
        if len(values) < self.needed:
            return Verdict(None, (), None, {"values": len(values), "needed": self.needed})
        active, facts = self.holds(values)
        fired = (memory["values"][-1][1],) if active and not memory["active"] else ()
        memory["active"] = active
        return Verdict(active, fired, None, facts)

    def holds(self, values: list[float]) -> tuple[bool, dict[str, Any]]:
        """Whether the condition holds for the newest values, oldest first, and how that came about."""
        raise NotImplementedError


class MetricThreshold(_Logged):
    """The average, smallest, largest or last of the newest logged values against a limit."""

    window: Window = Field(1, description="How many logged values.")
    aggregate: Aggregate = Field("average", description="What is taken of them.")
    comparison: Comparison = Field(description="How it must stand to the threshold.")
    threshold: Finite = Field(description="The limit.")

    @property
    def needed(self) -> int:
        """The window."""
        return self.window

    def holds(self, values: list[float]) -> tuple[bool, dict[str, Any]]:
        """Compare."""
        found = taken(self.aggregate, values)
        return compares(found, self.comparison, self.threshold), {self.aggregate: found, "threshold": self.threshold}


class MetricChange(_Logged):
    """The average, smallest, largest or last of the newest logged values against that of those before them."""

    window: Window = Field(1, description="How many logged values.")
    previous: Window | None = Field(None, description="How many values before them; by default as many.")
    aggregate: Aggregate = Field("average", description="What is taken of both.")
    compare: Literal["relative", "absolute"] = Field(
        "relative", description="The change as a share of the former value (0.1 is 10 %), or as it is."
    )
    direction: Direction = Field("any", description="Which change counts.")
    threshold: Annotated[Finite, Field(ge=0)] = Field(description="How large the change must be at least.")

    @property
    def needed(self) -> int:
        """Both windows."""
        return self.window + (self.previous or self.window)

    def holds(self, values: list[float]) -> tuple[bool, dict[str, Any]]:
        """Compare."""
        before, after = (taken(self.aggregate, some) for some in (values[: -self.window], values[-self.window :]))
        change = changed(before, after, self.compare)
        moved = change != 0 and directed(change, self.direction) >= self.threshold
        shown: float | str = change if isfinite(change) else str(change)
        return moved, {"change": shown, "before": before, "after": after, "threshold": self.threshold}


class MetricZScore(_Logged):
    """How many standard deviations the last logged value is away from the mean of those before it."""

    window: Annotated[int, NUMBER, Field(ge=2, le=10_000)] = Field(30, description="How many values before the last.")
    threshold: Annotated[Finite, Field(gt=0)] = Field(3.0, description="How many standard deviations at least.")
    direction: Direction = Field("any", description="To which side.")

    @property
    def needed(self) -> int:
        """The window and the value itself."""
        return self.window + 1

    def holds(self, values: list[float]) -> tuple[bool, dict[str, Any]]:
        """Compare. Where all values before were equal, any other is endlessly far away."""
        past, last = values[:-1], values[-1]
        middle = mean(past)
        deviation = sqrt(mean([(value - middle) ** 2 for value in past]))
        away = last - middle
        score = away / deviation if deviation else (0.0 if not away else inf if away > 0 else -inf)
        size = directed(score, self.direction)
        shown: float | str = score if isfinite(score) else str(score)
        return size >= self.threshold, {"zscore": shown, "mean": middle, "deviation": deviation, "last": last}
