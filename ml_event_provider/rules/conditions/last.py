"""So many of the last events."""

from __future__ import annotations

from bisect import insort

from pydantic import Field, model_validator

from ml_event_provider.rules.conditions.base import Memory, Observation, Verdict
from ml_event_provider.rules.fields import Part
from ml_event_provider.rules.matcher import Matcher


class Last(Part):
    """``count`` of the last ``of`` events, by the events' own times: three of the last five runs.

    All events are the rule's own and ``others``. It fires when there become enough; while fewer than ``of`` came, the
    rest counts as others. An event that comes late counts where it belongs, if it still is among the last.
    """

    count: int = Field(ge=1, le=1000, description="How many of them are the rule's own events.")
    of: int = Field(ge=1, le=1000, description="How many events are looked at: the rule's own and the others.")
    others: Matcher | None = Field(
        None, description="The other events, such as good runs; by default, those that undo the rule's own."
    )

    @model_validator(mode="after")
    def _possible(self) -> Last:
        if self.count > self.of:
            raise ValueError(f"count: {self.count} of the last {self.of} can never be; make 'count' at most 'of'")
        if self.others is not None and not self.others.asks:
            raise ValueError("others needs 'on' or 'event_pattern', or every event would be one of them")
        return self

    def begin(self, now: float) -> Memory:
        """Nothing seen yet."""
        # Seen: time, seq, whether it is the rule's own.
        return {"seen": [], "active": False}

    def take(self, memory: Memory, seen: Observation, now: float) -> None:
        """Insert an observation; only the last matter."""
        insort(memory["seen"], [seen.time, seen.seq, seen.role == "hit"])
        del memory["seen"][: -self.of]

    def judge(self, memory: Memory, now: float) -> Verdict:
        """Fire about the newest of them when there become enough."""
        own = [seq for _, seq, hit in memory["seen"] if hit]
        active = len(own) >= self.count
        fired = (own[-1],) if active and not memory["active"] else ()
        memory["active"] = active
        return Verdict(active, fired, None, {"count": len(own), "wanted": self.count, "of": self.of})
