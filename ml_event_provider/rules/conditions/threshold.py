"""So many events within a time."""

from __future__ import annotations

from bisect import bisect
from datetime import timedelta
from typing import Any

from pydantic import Field

from ml_event_provider.rules.calendars import Duration, PositiveDuration
from ml_event_provider.rules.conditions.base import Memory, Observation, Verdict
from ml_event_provider.rules.fields import Part, Path


class Threshold(Part):
    """``count`` events within a time. It fires once for each stretch of time in which there were so many.

    An event that comes late counts where it belongs: it may complete a stretch that is past.
    """

    count: int = Field(ge=1, le=1000, description="How many events.")
    within: PositiveDuration = Field(description="In which time, measured by the events' own times.")
    distinct: Path | None = Field(
        None, description="Count different values of this field of the event, rather than events."
    )
    lateness: Duration = Field(timedelta(hours=1), description="How late an event may come and still count.")

    def begin(self, now: float) -> Memory:
        """Nothing seen, told or to be told."""
        return {"seen": [], "told": [], "new": []}

    def take(self, memory: Memory, seen: Observation, now: float) -> None:
        """Insert an observation, and note the stretches of time that it makes or lengthens."""
        if self.distinct and seen.value is None:
            return
        window = self.within.total_seconds()
        # A later one is at least now - lateness; what lies a whole window before that meets it no more.
        oldest = now - self.lateness.total_seconds() - window
        kept: list[list[Any]] = [one for one in memory["seen"] if one[0] > oldest]
        added = [seen.time, seen.seq, seen.value]
        place = bisect(kept, added[:2], key=lambda one: one[:2])
        kept.insert(place, added)
        made: list[list[float]] = []
        for last in range(place, len(kept)):
            if kept[last][0] - seen.time >= window:
                break
            first = self._first_of(kept, last)
            if first is not None:
                start, end = kept[last][0], first + window
                if made and start < made[-1][1]:
                    made[-1][1] = max(made[-1][1], end)
                else:
                    made.append([start, end, kept[last][1]])
        told: list[list[float]] = [one for one in memory["told"] if one[1] > oldest]
        for start, end, seq in made:
            touched = [one for one in told if one[0] < end and start < one[1]]
            if not touched:
                memory["new"].append(seq)
            told = [one for one in told if one not in touched]
            told.append([min([start, *(one[0] for one in touched)]), max([end, *(one[1] for one in touched)])])
        memory["told"] = told
        memory["seen"] = kept[-max(4 * self.count, 256) :]

    def judge(self, memory: Memory, now: float) -> Verdict:
        """Active while the newest events are so many; fires for each stretch that touches none told before."""
        fired, memory["new"] = tuple(memory["new"]), []
        until = max((end for _, end in memory["told"] if end > now), default=None)
        start = now - self.within.total_seconds()
        recent = [one for one in memory["seen"] if one[0] > start]
        count = len({repr(one[2]) for one in recent}) if self.distinct else len(recent)
        return Verdict(until is not None, fired, until, {"count": count, "wanted": self.count})

    def _first_of(self, seen: list[list[Any]], last: int) -> float | None:
        """When the first of the ``count`` newest up to ``last`` was, if all are within the window."""
        latest, window = seen[last][0], self.within.total_seconds()
        if not self.distinct:
            first = last - self.count + 1
            return seen[first][0] if first >= 0 and latest - seen[first][0] < window else None
        values: set[str] = set()
        for time, _, value in reversed(seen[: last + 1]):
            if latest - time >= window:
                return None
            values.add(repr(value))
            if len(values) == self.count:
                return float(time)
        return None
