"""One event after another, or the lack of the other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from datetime import timedelta
from typing import Any, Final

from pydantic import Field, model_validator

from ml_event_provider.rules.calendars import Duration, PositiveDuration
from ml_event_provider.rules.conditions.base import Memory, Observation, Verdict
from ml_event_provider.rules.fields import Part
from ml_event_provider.rules.matcher import Matcher

#: How many events of each kind are remembered of a key: starts that are open, and what a late event may need. Of more
#: starts the oldest are told at once, as if their time were over. Of more others the oldest are forgotten: then a
#: start that comes late is told although one of those followed it.
MOST: Final = 10_000


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
        # Seen: of a start its time; of another event also its seq, and whether it is told. At equal times it is last.
        return {"starts": [], "others": []} if self.missing else {"seen": []}

    def take(self, memory: Memory, seen: Observation, now: float) -> None:
        """Insert an observation; with ``missing``, forget the starts that are followed."""
        if not self.missing:
            insort(memory["seen"], [seen.time, seen.seq, False] if seen.role == "then" else [seen.time])
            return
        window, starts, others = self.within.total_seconds(), memory["starts"], memory["others"]
        if seen.role == "then":
            insort(others, seen.time)
            memory["starts"] = [one for one in starts if not 0 <= seen.time - one[0] <= window]
            return
        place = bisect_left(others, seen.time)
        if place == len(others) or others[place] - seen.time > window:
            insort(starts, [seen.time, seen.seq])

    def judge(self, memory: Memory, now: float) -> Verdict:
        """Fire for what was not told before; forget what no event to come can meet."""
        return self._missing(memory, now) if self.missing else self._met(memory, now)

    def _met(self, memory: Memory, now: float) -> Verdict:
        window, lateness = self.within.total_seconds(), self.lateness.total_seconds()
        row: list[list[Any]] = memory["seen"]
        fired: list[int] = []
        start: float | None = None
        for one in row:
            if _is_start(one):
                start = one[0]
                continue
            time, seq, told = one
            if start is not None and time - start <= window and not told:
                fired.append(seq)
                one[2] = True
            start = None
        # Of those before all that may come late, one matters: a start that none of the others followed.
        old = bisect_left(row, True, key=lambda one: now - one[0] <= lateness)
        if old and _is_start(row[old - 1]):
            old -= 1
        memory["seen"] = row[old:][-MOST:]
        return Verdict(bool(fired), tuple(fired), None, {"waiting": start is not None and now - start <= window})

    def _missing(self, memory: Memory, now: float) -> Verdict:
        window, wait, lateness = (one.total_seconds() for one in (self.within, self.wait, self.lateness))
        starts: list[list[Any]] = memory["starts"]
        due = bisect_right(starts, now, key=lambda one: one[0] + window + wait)
        surplus = max(0, len(starts) - due - MOST)
        fired, memory["starts"] = [seq for _, seq in starts[: due + surplus]], starts[due + surplus :]
        memory["others"] = _telling([time for time in memory["others"] if now - time <= lateness], window)[-MOST:]
        next_at = memory["starts"][0][0] + window + wait if memory["starts"] else None
        facts = {"waiting": next_at is not None} | ({"told_early": surplus} if surplus else {})
        return Verdict(bool(fired), tuple(fired), next_at, facts)


def _is_start(one: list[Any]) -> bool:
    return len(one) == 1


def _telling(times: list[float], within: float) -> list[float]:
    """Those of some sorted moments that follow whatever any of them follows: of three within the time, not the middle
    one."""
    kept: list[float] = []
    for time in times:
        while len(kept) > 1 and time - kept[-2] <= within:
            kept.pop()
        kept.append(time)
    return kept
