"""So many events within a time.

At a moment there are enough where the newest ``count`` (different values) up to it lie within the time. What is
remembered says that as exactly as all events would, whatever comes late: left out is only

- of one value, what lies between two others less than the time apart;
- an event between two groups of ``count``, where both groups lie within the time: there are enough either way.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from datetime import timedelta
from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Any, Final

from pydantic import Field

from ml_event_provider.rules.calendars import Duration, PositiveDuration
from ml_event_provider.rules.conditions.anew import CountedAnew
from ml_event_provider.rules.conditions.base import Memory, Observation, Verdict
from ml_event_provider.rules.fields import NUMBER, Part, Path

#: How many events, and stretches told, are remembered of a key. Of more that matter the oldest are forgotten: what
#: comes late among those may miss them, or be told again.
MOST: Final = 10_000
#: How many events may come before what does not matter is left out again.
ROOM: Final = 256


class Threshold(Part):
    """``count`` events within a time. It fires once for each stretch of time in which there were so many; with
    ``renew``, each time that so many came which no firing before has counted.

    An event that comes late counts where it belongs: it may complete a stretch that is past.
    """

    count: Annotated[int, NUMBER] = Field(ge=1, le=1000, description="How many events.")
    within: PositiveDuration = Field(description="In which time, measured by the events' own times.")
    distinct: Path | None = Field(
        None, description="Count different values of this field of the event, rather than events."
    )
    renew: bool = Field(
        False, strict=True, description="Count anew after each firing: with count 2, each second event fires."
    )
    lateness: Duration = Field(timedelta(hours=1), description="How late an event may come and still count.")

    @cached_property
    def anew(self) -> CountedAnew | None:
        """How it counts anew, if it does."""
        times = self.within.total_seconds(), self.lateness.total_seconds()
        return CountedAnew(self.count, *times) if self.renew else None

    def begin(self, now: float) -> Memory:
        """Nothing seen, told or to be told."""
        if self.anew is not None:
            return self.anew.begin()
        # Seen: time, seq, with ``distinct`` the value. Told: the stretches, which touch each other nowhere.
        return {"seen": [], "told": [], "new": [], "room": ROOM}

    def take(self, memory: Memory, seen: Observation, now: float) -> None:
        """Insert an observation, and note the stretches of time that it makes or lengthens."""
        if self.distinct and seen.value is None:
            return
        if self.anew is not None:
            value = _text(seen.value) if self.distinct else seen.seq
            self.anew.take(memory, seen.time, seen.seq, value, now)
            return
        # A later one is at least now - lateness; what lies a whole window before that meets it no more.
        oldest = now - self.lateness.total_seconds() - self.within.total_seconds()
        row: list[list[Any]] = memory["seen"]
        told: list[list[float]] = memory["told"]
        del row[: bisect_right(row, oldest, key=_time)]
        del told[: bisect_right(told, oldest, key=_end)]
        place = bisect_right(row, [seen.time, seen.seq], key=lambda one: one[:2])
        row.insert(place, [seen.time, seen.seq, *([_text(seen.value)] if self.distinct else [])])
        for start, end, seq in self._made(row, place):
            low, high = bisect_right(told, start, key=_end), bisect_left(told, end, key=_time)
            if low == high:
                memory["new"].append(seq)
            told[low:high] = [
                [min([start, *(one[0] for one in told[low:high])]), max([end, *map(_end, told[low:high])])]
            ]
        del told[:-MOST]
        if len(row) > memory["room"]:
            row = memory["seen"] = self._mattering(row)[-MOST:]
            memory["room"] = len(row) + ROOM

    def judge(self, memory: Memory, now: float) -> Verdict:
        """Active while the newest events are so many; fires for each stretch that touches none told before."""
        if self.anew is not None:
            return self.anew.judge(memory, now)
        fired, memory["new"] = tuple(memory["new"]), []
        until = max((end for _, end in memory["told"] if end > now), default=None)
        row = memory["seen"]
        recent = row[bisect_right(row, now - self.within.total_seconds(), key=_time) :]
        count = len({self._value(one) for one in recent})
        return Verdict(until is not None, fired, until, {"count": count, "wanted": self.count})

    def _value(self, one: list[Any]) -> Any:
        return one[2] if self.distinct else one[1]

    def _made(self, row: list[list[Any]], place: int) -> list[tuple[float, float, int]]:
        """The stretches that end with the new event or with those that it may help to be enough.

        Each with its beginning, its end and the seq of the event that makes it.
        """
        window, added = self.within.total_seconds(), row[place][0]
        made: list[tuple[float, float, int]] = []
        newest = _Newest(self.count)
        values: set[Any] = set()
        first = place
        while len(values) < self.count and first >= 0 and added - row[first][0] < window:
            values.add(self._value(row[first]))
            first -= 1
        for number in range(first + 1, len(row)):
            time, seq = row[number][:2]
            if time - added >= window:
                break
            newest.add(time, self._value(row[number]))
            if number < place or newest.first is None or time - newest.first >= window:
                continue
            start, end = time, newest.first + window
            if made and start < made[-1][1]:
                start, before, seq = made.pop()
                end = max(before, end)
            made.append((start, end, seq))
        return made

    def _mattering(self, row: list[list[Any]]) -> list[list[Any]]:
        """Those of the events that say as much as all of them; the newest are left, so that they can be counted."""
        window = self.within.total_seconds()
        if self.distinct:
            values: dict[str, list[list[Any]]] = {}
            for one in row:
                same = values.setdefault(one[2], [])
                while len(same) > 1 and one[0] - same[-2][0] < window:
                    same.pop()
                same.append(one)
            row = sorted(one for same in values.values() for one in same)
        after: list[float | None] = []
        later, earlier = _Newest(self.count), _Newest(self.count)
        for one in reversed(row):
            after.append(later.first)
            later.add(one[0], self._value(one))
        kept: list[list[Any]] = []
        spared = len(row) - _spare(self.count)
        for number, (one, until) in enumerate(zip(row, reversed(after), strict=True)):
            since = earlier.first
            if number < spared and since is not None and until is not None and until - since < window:
                continue
            kept.append(one)
            earlier.add(one[0], self._value(one))
        return kept


class _Newest:
    """The fewest of the last events added that hold ``count`` different values."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._row: deque[tuple[float, Any]] = deque()
        self._times: dict[Any, int] = {}

    @property
    def first(self) -> float | None:
        """When the first of them was; ``None`` while there are too few."""
        return self._row[0][0] if len(self._times) == self._count else None

    def add(self, time: float, value: Any) -> None:
        """Add an event: each takes part in the work once when it comes and once when it goes."""
        self._row.append((time, value))
        self._times[value] = self._times.get(value, 0) + 1
        while len(self._times) > self._count or self._times[self._row[0][1]] > 1:
            _, gone = self._row.popleft()
            self._times[gone] -= 1
            if not self._times[gone]:
                del self._times[gone]


def _spare(count: int) -> int:
    """How many of the newest events are left as they are."""
    return max(4 * count, 256)


def _text(value: Any) -> str:
    """What tells a value from others; a digest of a long one."""
    text = repr(value)
    return text if len(text) <= 64 else "#" + blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _time(one: list[Any]) -> float:
    return float(one[0])


def _end(stretch: list[float]) -> float:
    return stretch[1]
