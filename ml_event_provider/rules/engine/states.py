"""Where the engine keeps what it remembers between events."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Place(NamedTuple):
    """What a state belongs to: a rule, a role (alert, group, cooldown, inhibit, quota) and a key."""

    workspace: str
    rule: str
    role: str
    key: str


#: A state's content: JSON.
Body = dict[str, Any]


class States(Protocol):
    """States by place. A state may be due at a moment, in seconds since 1970, at which the engine looks at it."""

    def get(self, place: Place) -> Body | None:
        """The state there, if there is one. The engine may change it before it puts it back."""

    def put(self, place: Place, body: Body | None, due: float | None = None) -> None:
        """Keep a state, or forget it where ``body`` is ``None``."""

    def prefetch(self, places: Iterable[Place]) -> None:
        """Get ready for being asked for these states."""

    def due(self, place: Place) -> float | None:
        """When the state there is due, if it is."""

    def pop_due(self, moment: float) -> tuple[float, Place] | None:
        """The state that is due first, if it is due by ``moment``; it is not due any more then."""


class MemoryStates:
    """States in a dictionary, for backtests and as the working set of a batch."""

    def __init__(self) -> None:
        self.bodies: dict[Place, Body] = {}
        self.dues: dict[Place, float] = {}
        self._heap: list[tuple[float, Place]] = []

    def get(self, place: Place) -> Body | None:
        """The state there."""
        return self.bodies.get(place)

    def prefetch(self, places: Iterable[Place]) -> None:
        """All are at hand."""

    def put(self, place: Place, body: Body | None, due: float | None = None) -> None:
        """Keep or forget a state."""
        if body is None:
            self.bodies.pop(place, None)
            self.dues.pop(place, None)
            return
        self.bodies[place] = body
        self.set_due(place, due)

    def due(self, place: Place) -> float | None:
        """When the state there is due."""
        return self.dues.get(place)

    def set_due(self, place: Place, due: float | None) -> None:
        """Say when a state is due."""
        if due is None:
            self.dues.pop(place, None)
        elif self.dues.get(place) != due:
            self.dues[place] = due
            heappush(self._heap, (due, place))

    def pop_due(self, moment: float) -> tuple[float, Place] | None:
        """The state that is due first. The heap also holds moments that were changed since; those are passed over."""
        while self._heap and self._heap[0][0] <= moment:
            due, place = heappop(self._heap)
            if self.dues.get(place) == due:
                del self.dues[place]
                return due, place
        return None
