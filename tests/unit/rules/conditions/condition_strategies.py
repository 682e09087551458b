"""Conditions drawn at random with their slow models, and streams of events to show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st

from tests.unit.rules.conditions.slow_models import (
    Seen,
    Slow,
    SlowAbsence,
    SlowConsecutive,
    SlowLast,
    SlowMetricChange,
    SlowMetricThreshold,
    SlowMetricZScore,
    SlowScheduledAbsence,
    SlowSequence,
    SlowStatistic,
    SlowThreshold,
    SlowThresholdAnew,
)
from tests.unit.rules.engine.driving import FAILED, SUCCESS, TICK, arrival

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ml_event_provider.rules.engine import Arrival

ROLES = {"hit": FAILED, "break": SUCCESS, "other": SUCCESS, "then": SUCCESS}


class Step(NamedTuple):
    """An event of a stream. ``time`` is when it happened, as its sender's clock shows it."""

    at: int
    time: int
    key: str
    role: str
    value: Any

    def arrival(self, seq: int) -> Arrival:
        return arrival(seq, self.at, ROLES[self.role], late=self.at - self.time, key=self.key, value=self.value)


@dataclass(frozen=True)
class Case:
    """A condition as a rule has it, and what models it. ``lateness`` is ``None`` where nothing is too late."""

    condition: dict[str, Any]
    model: type[Slow]
    options: dict[str, Any]
    others: str | None = None
    lateness: int | None = None
    expected: tuple[str, ...] = ()

    @property
    def rule(self) -> dict[str, Any]:
        return {
            "name": "rule",
            "on": FAILED,
            "by": "data.key",
            "condition": self.condition,
            "resolve": "sequence" not in self.condition,
            "targets": "target",
        }

    def outcome(self, steps: list[Step], until: int) -> tuple[list[tuple[Any, ...]], list[int]]:
        """What the slow model says: what is told, by tick, and which events are too late."""
        watched = {key: self.model(0, self.options) for key in self.expected}
        opened: set[str] = set()
        said: list[tuple[Any, ...]] = []
        too_late = []

        def judge(key: str, now: int) -> None:
            active, fired = watched[key].judge(now)
            said.extend((now, f'["{key}"]', "fired", seq) for seq in fired)
            opened.update([key] if fired else [])
            if active is False and key in opened:
                opened.remove(key)
                said.append((now, f'["{key}"]', "resolved", None))

        waiting = list(enumerate(steps))
        for now in range(until + 1):
            for key in watched:
                judge(key, now)
            while waiting and waiting[0][1].at == now:
                seq, step = waiting.pop(0)
                time = min(step.time, now)
                if self.model(now, self.options).too_late(time, now):
                    too_late.append(seq)
                    continue
                model = watched.setdefault(step.key, self.model(now, self.options))
                model.seen.append(Seen(time, seq, step.role, step.value))
                judge(step.key, now)
        return said, too_late


def ticks(smallest: int, largest: int) -> st.SearchStrategy[int]:
    return st.integers(smallest, largest)


def seconds(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """The options as a rule has them: durations in seconds."""
    return {name: value * TICK if name in names else value for name, value in options.items()}


@st.composite
def thresholds(draw: st.DrawFn, *, renew: bool = False) -> Case:
    options = {"count": draw(st.integers(1, 4)), "within": draw(ticks(1, 8)), "lateness": draw(ticks(0, 6))}
    distinct = draw(st.booleans())
    condition = seconds(options, "within", "lateness") | ({"distinct": "data.value"} if distinct else {})
    if renew:
        condition["renew"] = True
    model = SlowThresholdAnew if renew else SlowThreshold
    return Case({"threshold": condition}, model, options | {"distinct": distinct}, lateness=options["lateness"])


@st.composite
def lasts(draw: st.DrawFn) -> Case:
    options = {"count": draw(st.integers(1, 4))}
    options["of"] = options["count"] + draw(st.integers(0, 3))
    return Case({"last": options}, SlowLast, options, others="other")


@st.composite
def consecutives(draw: st.DrawFn) -> Case:
    options = {"count": draw(st.integers(1, 4)), "lateness": draw(ticks(0, 8))}
    condition = {"consecutive": seconds(options, "lateness")}
    return Case(condition, SlowConsecutive, options, others="break", lateness=options["lateness"])


@st.composite
def sequences(draw: st.DrawFn, *, missing: bool) -> Case:
    options = {"within": draw(ticks(1, 6)), "lateness": draw(ticks(0, 6)), "missing": missing, "wait": 6}
    if missing:
        options["wait"] = draw(ticks(0, 6))
    condition = seconds(options, "within", "lateness", "wait") | {"then": {"on": SUCCESS}}
    return Case({"sequence": condition}, SlowSequence, options, others="then", lateness=options["lateness"])


expectations = st.sampled_from([(), ("a",), ("a", "z")])


@st.composite
def absences(draw: st.DrawFn) -> Case:
    options = {"within": draw(ticks(1, 8)), "wait": draw(ticks(0, 4))}
    expected = draw(expectations)
    condition = {"absence": seconds(options, "within", "wait") | {"expect": expected}}
    return Case(condition, SlowAbsence, options, expected=expected)


@st.composite
def scheduled_absences(draw: st.DrawFn) -> Case:
    minutes = draw(st.integers(1, 3))
    options = {"within": draw(ticks(1, 14)), "wait": draw(ticks(0, 8))}
    expected = draw(expectations)
    condition = seconds(options, "within", "wait") | {"schedule": f"*/{minutes} * * * *", "expect": expected}
    every = minutes * 60 // TICK
    return Case({"absence": condition}, SlowScheduledAbsence, options | {"every": every}, expected=expected)


comparisons = st.sampled_from([">", ">=", "<", "<=", "=", "!="])
directions = st.sampled_from(["increase", "decrease", "any"])


@st.composite
def metric_thresholds(draw: st.DrawFn) -> Case:
    options = {
        "window": draw(st.integers(1, 4)),
        "aggregate": draw(st.sampled_from(["average", "min", "max", "last"])),
        "comparison": draw(comparisons),
        "threshold": draw(st.integers(-2, 4)),
    }
    return Case({"metric_threshold": options}, SlowMetricThreshold, options)


@st.composite
def metric_changes(draw: st.DrawFn) -> Case:
    # Sums of two or four whole numbers have exact averages, and so no limit is met by rounding.
    options = {
        "window": draw(st.sampled_from([1, 2, 4])),
        "previous": draw(st.sampled_from([1, 2, 4])),
        "aggregate": draw(st.sampled_from(["average", "min", "max", "last"])),
        "compare": draw(st.sampled_from(["relative", "absolute"])),
        "direction": draw(directions),
        "threshold": draw(st.sampled_from([0.0, 0.5, 1.0, 2.0])),
    }
    return Case({"metric_change": options}, SlowMetricChange, options)


@st.composite
def metric_zscores(draw: st.DrawFn) -> Case:
    options = {
        "window": draw(st.sampled_from([2, 4])),
        "direction": draw(directions),
        "threshold": draw(st.sampled_from([0.5, 1.0, 2.0])),
    }
    return Case({"metric_zscore": options}, SlowMetricZScore, options)


@st.composite
def statistics(draw: st.DrawFn, *, against: bool = False) -> Case:
    # Changes between whole numbers are exact, and so no limit is met by rounding.
    names = ["max", "min", "sum"] if against else ["average", "max", "min", "sum", "variance"]
    options = {
        "filter": draw(st.sampled_from(names)),
        "period": draw(ticks(1, 6)),
        "comparison": draw(comparisons),
        "threshold": draw(st.integers(-2, 4)),
        "count": draw(st.integers(1, 3)),
        "wait": draw(ticks(0, 7)),
    }
    if against:
        options["against"] = {
            "periods": draw(st.integers(1, 3)),
            "compare": draw(st.sampled_from(["relative", "absolute"])),
            "direction": draw(directions),
        }
    return Case({"statistic": seconds(options, "period", "wait")}, SlowStatistic, options)


CASES = {
    "threshold": thresholds(),
    "threshold that counts anew": thresholds(renew=True),
    "last": lasts(),
    "consecutive": consecutives(),
    "sequence": sequences(missing=False),
    "missing": sequences(missing=True),
    "absence": absences(),
    "scheduled absence": scheduled_absences(),
    "metric threshold": metric_thresholds(),
    "metric change": metric_changes(),
    "metric z-score": metric_zscores(),
    "statistic": statistics(),
    "statistic against an earlier one": statistics(against=True),
}

#: An event: ticks since the one before it, how late it is, whose it is, whether it is of the other kind, its value.
raw_steps = st.tuples(
    st.sampled_from([0, 0, 1, 1, 1, 2, 3, 5, 9]),
    st.sampled_from([-1, 0, 0, 0, 0, 1, 2, 3, 4, 6, 8, 12]),
    st.sampled_from("aaab"),
    st.booleans(),
    st.one_of(st.integers(-2, 4), st.integers(0, 2), st.sampled_from([None, "3", True])),
)


def streams(case: Case) -> st.SearchStrategy[list[Step]]:
    raws = st.one_of(st.lists(raw_steps, max_size=6), st.lists(raw_steps, min_size=8, max_size=25))
    return raws.map(lambda raw: list(_steps(case, raw)))


def _steps(case: Case, raw: list[tuple[int, int, str, bool, Any]]) -> Iterator[Step]:
    now = 0
    for gap, late, key, other, value in raw:
        now += gap
        yield Step(now, now - late, key, case.others if other and case.others else "hit", value)
