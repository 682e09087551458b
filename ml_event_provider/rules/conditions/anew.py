"""So many events within a time, counted anew after each firing.

Each firing uses up the events that it counted, and divides those before it from those after it: no other firing counts
events of both sides. Between two firings there are never enough.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import Any, Final, NamedTuple

from ml_event_provider.rules.conditions.base import Memory, Verdict

#: How many events, and firings, are remembered of a key. Of more the oldest are forgotten.
MOST: Final = 10_000
#: How many events may wait before repeated values are left out.
ROOM: Final = 256


class CountedAnew(NamedTuple):
    """Counts ``wanted`` events, or different values, within ``window`` seconds, that are up to ``lateness`` late."""

    wanted: int
    window: float
    lateness: float

    def begin(self) -> Memory:
        """Nothing seen, told or to be told."""
        # Waiting: time, seq, value. Told: time and seq of the event that fired, and until when there were enough.
        return {"waiting": [], "told": [], "new": [], "room": ROOM}

    def take(self, memory: Memory, time: float, seq: int, value: Any, now: float) -> None:
        """Insert an event, and note the firing that it makes."""
        # A later one is at least now - lateness; what lies a whole window before that meets it no more.
        oldest = now - self.lateness - self.window
        row: list[list[Any]] = memory["waiting"]
        told: list[list[Any]] = memory["told"]
        del row[: bisect_right(row, oldest, key=_time)]
        del told[: bisect_right(told, oldest, key=_time)]
        insort(row, [time, seq, value], key=_place)
        found = self._counted(row, told, time, seq)
        if found is not None:
            last = row[found.stop - 1]
            newest = {each[2]: each[0] for each in row[found]}
            insort(told, [*last[:2], min(newest.values()) + self.window], key=_place)
            memory["new"].append(last[1])
            del row[found], told[:-MOST]
        if len(row) > memory["room"]:
            row = memory["waiting"] = self._thinned(row, told)[-MOST:]
            memory["room"] = len(row) + ROOM

    def judge(self, memory: Memory, now: float) -> Verdict:
        """Active until the events of each firing are too old to be enough; fires for each firing."""
        fired, memory["new"] = tuple(memory["new"]), []
        until = max((end for _, _, end in memory["told"] if end > now), default=None)
        last = memory["told"][-1][:2] if memory["told"] else [now - self.window, -1]
        counted = {value for *place, value in memory["waiting"] if place > last and now - place[0] < self.window}
        return Verdict(until is not None, fired, until, {"count": len(counted), "wanted": self.wanted})

    def _counted(self, row: list[list[Any]], told: list[list[Any]], time: float, seq: int) -> slice | None:
        """The events of the first firing that an added one makes: only between the firings around it can one be."""
        after = bisect_right(told, [time, seq], key=_place)
        low = bisect_right(row, told[after - 1][:2], key=_place) if after else 0
        high = bisect_right(row, told[after][:2], key=_place) if after < len(told) else len(row)
        for stop in range(bisect_right(row, [time, seq], key=_place), high + 1):
            end = row[stop - 1][0]
            if end - time >= self.window:
                return None
            start = max(low, bisect_right(row, end - self.window, key=_time))
            if len({each[2] for each in row[start:stop]}) >= self.wanted:
                return slice(start, stop)
        return None

    def _thinned(self, row: list[list[Any]], told: list[list[Any]]) -> list[list[Any]]:
        """Without those that lie between two others of their value less than the time apart, and no firing between.

        They would count only if a late event fired between these.
        """
        kept: dict[tuple[int, Any], list[list[Any]]] = {}
        for one in row:
            same = kept.setdefault((bisect_right(told, one[:2], key=_place), one[2]), [])
            while len(same) > 1 and one[0] - same[-2][0] < self.window:
                same.pop()
            same.append(one)
        return sorted((one for same in kept.values() for one in same), key=_place)


def _time(one: list[Any]) -> float:
    return float(one[0])


def _place(one: list[Any]) -> list[Any]:
    return one[:2]
