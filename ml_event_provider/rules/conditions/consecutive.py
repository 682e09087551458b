"""So many events in a row, with none between that breaks the row."""

from __future__ import annotations

from bisect import insort
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, model_validator

from ml_event_provider.rules.calendars import Duration
from ml_event_provider.rules.conditions.base import Memory, Observation, Verdict
from ml_event_provider.rules.fields import NUMBER, Part
from ml_event_provider.rules.matcher import Matcher


class Consecutive(Part):
    """``count`` events in a row, by the events' own times. It fires once for each row.

    An event that comes late counts where it belongs: it may complete a row that was broken since, or break one.
    """

    count: Annotated[int, NUMBER] = Field(ge=1, le=1000, description="How many events in a row.")
    broken_by: Matcher | None = Field(
        None, description="The events that break the row; by default, those that undo the rule's own."
    )
    lateness: Duration = Field(timedelta(hours=1), description="How late an event may come and still count.")

    @model_validator(mode="after")
    def _breaks(self) -> Consecutive:
        if self.broken_by is not None and not self.broken_by.asks:
            raise ValueError("broken_by needs 'on' or 'event_pattern', or every event would break the row")
        return self

    def begin(self, now: float) -> Memory:
        """Nothing seen yet."""
        return {"seen": []}

    def take(self, memory: Memory, seen: Observation, now: float) -> None:
        """Insert an observation; forget what no later one can join."""
        # Each as time, seq, whether it counts, whether its row is told.
        row: list[list[Any]] = memory["seen"]
        insort(row, [seen.time, seen.seq, seen.role == "hit", False])
        settled = now - self.lateness.total_seconds()
        begin = 0
        for place, (time, _, counts, _) in enumerate(row):
            if time > settled:
                break
            if not counts:
                begin = place + 1
        row = row[begin:]
        spare = max(0, sum(1 for one in row if one[0] <= settled) - self.count)
        if any(told for _, _, _, told in row[:spare]):
            row[spare][3] = True
        memory["seen"] = row[spare:][-max(4 * self.count, 256) :]

    def judge(self, memory: Memory, now: float) -> Verdict:
        """Fire for each row that is long enough and of which nothing was told; active while the last one is."""
        fired: list[int] = []
        row: list[list[Any]] = []
        for one in [*memory["seen"], None]:
            if one is not None and one[2]:
                row.append(one)
                continue
            if len(row) >= self.count:
                if not any(told for _, _, _, told in row):
                    fired.append(row[self.count - 1][1])
                for each in row:
                    each[3] = True
            if one is not None:
                row = []
        return Verdict(len(row) >= self.count, tuple(fired), None, {"count": len(row), "wanted": self.count})
