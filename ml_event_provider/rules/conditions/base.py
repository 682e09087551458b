"""What all conditions over time share: observations in, verdicts out, all that they remember in a JSON object.

A condition takes one observation after another in the order of their arrival, and judges at any moment. It sees
each key of its rule by itself. Moments are seconds since 1970 in UTC; the observation's is the event's own time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What an observation is to its condition: what it counts, what breaks or follows it, what is another of its kind.
Role = Literal["hit", "break", "other", "then"]
#: What a condition remembers of one key: JSON.
Memory = dict[str, Any]


class Observation(NamedTuple):
    """One event as a condition sees it. ``seq`` is its place in the store, which tells equal times apart."""

    time: float
    seq: int
    role: Role = "hit"
    value: Any = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition says of one key at one moment.

    ``active`` is ``None`` where there is too little data to tell: the alert stays as it is. ``fired`` holds the
    firings that were not announced before, each with the ``seq`` of the event that it is about, or ``None`` where
    the absence of an event is what it is about. ``next_at`` is the moment at which the verdict may change without
    any further observation. ``facts`` say how it came about.
    """

    active: bool | None
    fired: tuple[int | None, ...] = ()
    next_at: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class Tracked(Protocol):
    """A condition that can be tracked."""

    def begin(self, now: float) -> Memory:
        """The memory of a key that is seen, or expected, for the first time."""

    def take(self, memory: Memory, seen: Observation, now: float) -> None:
        """Add an observation to the memory."""

    def judge(self, memory: Memory, now: float) -> Verdict:
        """Say how things stand, and note in the memory which firings are announced with that."""
