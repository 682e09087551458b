"""One event after another, or the lack of the other."""

from __future__ import annotations

from bisect import insort
from datetime import timedelta
from typing import Any

from pydantic import Field, model_validator

from ml_event_provider.rules.calendars import Duration, PositiveDuration
from ml_event_provider.rules.conditions.base import Memory, Observation, Verdict
from ml_event_provider.rules.fields import Part
from ml_event_provider.rules.matcher import Matcher


class Sequence(Part):
    """The rule's own events, then others within a time; or, with ``missing``, no other within it.

    It fires for each other event that follows at least one of the rule's own since the other before it; with
    ``missing``, for each of the rule's own that no other followed in time. The events' own times decide.
    """

    then: Matcher = Field(description="The other events.")
    within: PositiveDuration = Field(description="How long after the rule's own event the other may come.")
    missing: bool = Field(False, strict=True, description="Fire where the other event does not come.")
    wait: Duration = Field(
        timedelta(minutes=1), description="With missing: how long after the end of the time to wait for late events."
    )
    lateness: Duration = Field(timedelta(hours=1), description="How late an event may come and still count.")

    @model_validator(mode="after")
    def _asks(self) -> Sequence:
        if not self.then.asks:
            raise ValueError("then needs 'on' or 'event_pattern', or every event would follow")
        return self

    def begin(self, now: float) -> Memory:
        """Nothing seen yet."""
        return {"seen": []}

    def take(self, memory: Memory, seen: Observation, now: float) -> None:
        """Insert an observation; forget those that none to come can meet."""
        # Each as time, seq, whether it is the other event, whether it is told. At equal times the other comes last.
        row: list[list[Any]] = memory["seen"]
        insort(row, [seen.time, seen.role == "then", seen.seq, False])
        self._forget(memory, now)

    def judge(self, memory: Memory, now: float) -> Verdict:
        """Fire for what was not told before."""
        self._forget(memory, now)
        if self.missing:
            return self._missing(memory, now)
        window = self.within.total_seconds()
        fired: list[int] = []
        first_open: float | None = None
        newest: float | None = None
        for one in memory["seen"]:
            time, other, seq, told = one
            if not other:
                newest = time
                continue
            if newest is not None and time - newest <= window and not told:
                fired.append(seq)
                one[3] = True
            newest = None
        first_open = newest
        return Verdict(
            bool(fired), tuple(fired), None, {"waiting": first_open is not None and now - first_open <= window}
        )

    def _missing(self, memory: Memory, now: float) -> Verdict:
        window, wait = self.within.total_seconds(), self.wait.total_seconds()
        fired: list[int] = []
        next_at: float | None = None
        followed: float | None = None
        for one in reversed(memory["seen"]):
            time, other, seq, told = one
            if other:
                followed = time
                continue
            if told or (followed is not None and followed - time <= window):
                continue
            due = time + window + wait
            if due <= now:
                fired.append(seq)
                one[3] = True
            else:
                next_at = due if next_at is None else min(next_at, due)
        return Verdict(bool(fired), tuple(reversed(fired)), next_at, {"waiting": next_at is not None})

    def _forget(self, memory: Memory, now: float) -> None:
        window, late = self.within.total_seconds(), max(self.lateness.total_seconds(), self.wait.total_seconds())
        # Added in the order in which the moments to judge are, so that rounding drops none of those.
        memory["seen"] = [one for one in memory["seen"] if one[0] + window + late >= now][-1000:]
