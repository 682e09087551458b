"""What conditions over time mean, written to be seen to be right: each model keeps all that it was shown and
reckons everything anew at each moment. Moments are whole ticks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from operator import eq, ge, gt, le, lt, ne
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {">": gt, ">=": ge, "<": lt, "<=": le, "=": eq, "!=": ne}


class Seen(NamedTuple):
    """An observation; sorted by its time, then by its place in the store."""

    time: int
    seq: int
    role: str
    value: Any


@dataclass
class Slow:
    """The base of all. ``begun`` is the tick at which the key came into being."""

    begun: int
    options: dict[str, Any]
    seen: list[Seen] = field(default_factory=list)
    told: Any = None

    def judge(self, now: int) -> tuple[bool | None, list[int | None]]:
        """Whether it holds (``None``: no verdict), and what is told for the first time."""
        raise NotImplementedError

    def too_late(self, time: int, now: int) -> bool:
        """Whether what happened then counts no more."""
        return now - time > self.options.get("lateness", now - time)

    def edge(self, active: bool, about: int | None) -> tuple[bool, list[int | None]]:
        """Tell when it becomes true."""
        fired = [about] if active and not self.told else []
        self.told = active
        return active, fired


class SlowThreshold(Slow):
    def judge(self, now: int) -> tuple[bool | None, list[int | None]]:
        stretches: list[tuple[int, int, int]] = []
        for start, end, seq in self._intervals():
            if stretches and start < stretches[-1][1]:
                first = stretches.pop()
                start, end, seq = first[0], max(first[1], end), first[2]
            stretches.append((start, end, seq))
        known = self.told or []
        self.told = stretches
        fired: list[int | None] = [
            seq
            for start, end, seq in stretches
            if not any(other_start < end and start < other_end for other_start, other_end, _ in known)
        ]
        return any(start <= now < end for start, end, _ in stretches), fired

    def _intervals(self) -> list[tuple[int, int, int]]:
        """For each event that is the last of enough: from it until the first of them is a window old."""
        found = []
        distinct = self.options["distinct"]
        ordered = sorted(one for one in self.seen if not distinct or one.value is not None)
        for last, event in enumerate(ordered):
            for first in range(last, -1, -1):
                among = ordered[first : last + 1]
                enough = len({repr(one.value) for one in among}) if distinct else len(among)
                if enough >= self.options["count"]:
                    if event.time - ordered[first].time < self.options["within"]:
                        found.append((event.time, ordered[first].time + self.options["within"], event.seq))
                    break
        return found


class SlowThresholdAnew(Slow):
    def judge(self, now: int) -> tuple[bool | None, list[int | None]]:
        self.told = self.told or []
        fired: list[int | None] = []
        while (found := self._next()) is not None:
            newest: dict[str, int] = {}
            for one in found:
                newest[self._value(one)] = one.time
            self.told.append((found, min(newest.values()) + self.options["within"]))
            fired.append(found[-1].seq)
        return any(now < until for _, until in self.told), fired

    def _next(self) -> list[Seen] | None:
        """The first events that are enough, were not counted before, and have no firing between them."""
        used = {one.seq for found, _ in self.told for one in found}
        waiting = [
            one
            for one in sorted(self.seen, key=lambda one: one[:2])
            if one.seq not in used and not (self.options["distinct"] and one.value is None)
        ]
        firings = [found[-1][:2] for found, _ in self.told]
        for last in waiting:
            among = [
                one
                for one in waiting
                if one[:2] <= last[:2]
                and last.time - one.time < self.options["within"]
                and not any(one[:2] < firing < last[:2] for firing in firings)
            ]
            if len({self._value(one) for one in among}) >= self.options["count"]:
                return among
        return None

    def _value(self, one: Seen) -> str:
        return repr(one.value) if self.options["distinct"] else str(one.seq)


class SlowLast(Slow):
    def judge(self, now: int) -> tuple[bool | None, list[int | None]]:
        last = sorted(self.seen, key=lambda one: one[:2])[-self.options["of"] :]
        own = [one.seq for one in last if one.role == "hit"]
        return self.edge(len(own) >= self.options["count"], own[-1] if own else None)


class SlowConsecutive(Slow):
    def judge(self, now: int) -> tuple[bool | None, list[int | None]]:
        self.told = self.told or set()
        rows: list[list[int]] = [[]]
        for one in sorted(self.seen):
            if one.role == "hit":
                rows[-1].append(one.seq)
            else:
                rows.append([])
        fired: list[int | None] = []
        for row in rows:
            if len(row) >= self.options["count"]:
                if not self.told & set(row):
                    fired.append(row[self.options["count"] - 1])
                self.told |= set(row)
        return len(rows[-1]) >= self.options["count"], fired


class SlowSequence(Slow):
    def judge(self, now: int) -> tuple[bool | None, list[int | None]]:
        self.told = self.told or set()
        # At equal times the other event comes after the rule's own.
        ordered = sorted(self.seen, key=lambda one: (one.time, one.role == "then", one.seq))
        found = self._missing(ordered, now) if self.options["missing"] else self._met(ordered)
        fired: list[int | None] = [seq for seq in found if seq not in self.told]
        self.told |= set(found)
        return None, fired

    def _met(self, ordered: list[Seen]) -> list[int]:
        found = []
        since: list[Seen] = []
        for one in ordered:
            if one.role == "hit":
                since.append(one)
                continue
            if since and one.time - since[-1].time <= self.options["within"]:
                found.append(one.seq)
            since = []
        return found

    def _missing(self, ordered: list[Seen], now: int) -> list[int]:
        within, wait = self.options["within"], self.options["wait"]
        return [
            one.seq
            for one in ordered
            if one.role == "hit"
            and one.time + within + wait <= now
            and not any(other.role == "then" and one.time <= other.time <= one.time + within for other in ordered)
        ]


class SlowAbsence(Slow):
    def judge(self, now: int) -> tuple[bool | None, list[int | None]]:
        last = max((one.time for one in self.seen), default=self.begun)
        return self.edge(now >= last + self.options["within"] + self.options["wait"], None)


class SlowScheduledAbsence(Slow):
    """``every`` is the number of ticks between two moments of the schedule, which holds tick 0."""

    def judge(self, now: int) -> tuple[bool | None, list[int | None]]:
        every, within, wait = (self.options[name] for name in ("every", "within", "wait"))
        self.told = self.told or {}
        fired: list[int | None] = []
        slot = (self.begun // every + 1) * every
        while slot + within + wait <= now:
            if slot not in self.told:
                self.told[slot] = not any(slot <= one.time <= slot + within for one in self.seen)
                if self.told[slot]:
                    fired.append(None)
            slot += every
        missed = max((slot for slot, was in self.told.items() if was), default=None)
        return missed is not None and not any(one.time >= missed for one in self.seen), fired


class SlowLogged(Slow):
    def newest(self, count: int) -> list[Seen] | None:
        usable = [one for one in sorted(self.seen) if type(one.value) is int]
        return usable[-count:] if len(usable) >= count else None


class SlowMetricThreshold(SlowLogged):
    def judge(self, now: int) -> tuple[bool | None, list[int | None]]:
        newest = self.newest(self.options["window"])
        if newest is None:
            return None, []
        values = [one.value for one in newest]
        found = {"average": average(values), "min": min(values), "max": max(values), "last": values[-1]}
        active = COMPARISONS[self.options["comparison"]](found[self.options["aggregate"]], self.options["threshold"])
        return self.edge(active, newest[-1].seq)


class SlowMetricChange(SlowLogged):
    def judge(self, now: int) -> tuple[bool | None, list[int | None]]:
        window, previous = self.options["window"], self.options["previous"]
        newest = self.newest(window + previous)
        if newest is None:
            return None, []
        values = [one.value for one in newest]
        take = {"average": average, "min": min, "max": max, "last": lambda some: some[-1]}[self.options["aggregate"]]
        before, after = take(values[:previous]), take(values[previous:])
        change = after - before
        limit = Fraction(self.options["threshold"])
        if self.options["compare"] == "relative":
            limit *= abs(before)
        active = {
            "increase": change > 0 and change >= limit,
            "decrease": change < 0 and -change >= limit,
            "any": change != 0 and abs(change) >= limit,
        }[self.options["direction"]]
        return self.edge(active, newest[-1].seq)


class SlowMetricZScore(SlowLogged):
    def judge(self, now: int) -> tuple[bool | None, list[int | None]]:
        newest = self.newest(self.options["window"] + 1)
        if newest is None:
            return None, []
        *past, last = [one.value for one in newest]
        away = last - average(past)
        limit = Fraction(self.options["threshold"])
        far = away != 0 and away * away >= limit * limit * variance(past)
        active = {"increase": far and away > 0, "decrease": far and away < 0, "any": far}[self.options["direction"]]
        return self.edge(active, newest[-1].seq)


class SlowStatistic(Slow):
    def too_late(self, time: int, now: int) -> bool:
        """Its period was judged."""
        length = self.options["period"]
        return (time // length + 1) * length + self.options["wait"] <= now

    def judge(self, now: int) -> tuple[bool | None, list[int | None]]:
        current = (now - self.options["wait"]) // self.options["period"]
        row = [self._size(number) for number in range(current - self.options["count"], current)]
        holds = COMPARISONS[self.options["comparison"]]
        if row[-1] is None:
            return None, []
        if not all(holds(size, self.options["threshold"]) for size in row if size is not None):
            return self.edge(False, None)
        if None in row:
            return None, []
        # In the order of arrival: told of is the event that came last.
        return self.edge(True, self._values(current - 1)[-1].seq)

    def _values(self, number: int) -> list[Seen]:
        length = self.options["period"]
        return [one for one in self.seen if type(one.value) is int and one.time // length == number]

    def _size(self, number: int) -> Any:
        found = self._statistic(number)
        against = self.options.get("against")
        if against is None or found is None:
            return found
        before = self._statistic(number - against["periods"])
        if before is None:
            return None
        change = found - before
        if against["compare"] == "relative" and change:
            change = Fraction(change, abs(before)) if before else float("inf") * change
        return {"increase": change, "decrease": -change, "any": abs(change)}[against["direction"]]

    def _statistic(self, number: int) -> Any:
        values = [one.value for one in self._values(number)]
        if not values:
            return None
        return {
            "average": average(values),
            "min": min(values),
            "max": max(values),
            "sum": sum(values),
            "variance": variance(values),
        }[self.options["filter"]]


def average(values: list[int]) -> Fraction:
    return Fraction(sum(values), len(values))


def variance(values: list[int]) -> Fraction:
    middle = average(values)
    return sum(((value - middle) ** 2 for value in values), Fraction(0)) / len(values)
