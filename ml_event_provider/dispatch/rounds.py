"""The dispatcher's matching thread: turns through the workspaces while there is anything to do, else at a poll."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.dispatch.loop import guarded
from ml_event_provider.dispatch.matching import Rotation
from ml_event_provider.metrics import count

if TYPE_CHECKING:
    from ml_event_provider.dispatch.loop import Signals

log = logging.getLogger(__name__)

#: How many unusable rules of a workspace are reported.
TOLD: Final = 20


class Rounds:
    """Matches what was recorded."""

    def __init__(self) -> None:
        self._rotation = Rotation()

    def run(self, signals: Signals, *, poll: float) -> None:
        """Match until told to stop; each round that made anything wakes those who send."""
        while not signals.stopping.is_set():
            told = signals.events.told
            if guarded("match", self.round, signals.stopping):
                signals.deliveries.ring()
            else:
                signals.events.wait(poll, since=told)

    def report(self) -> dict[str, Any]:
        """What health is told: why which rules cannot be used, by workspace."""
        return {
            "unusable": {name: dict(list(one.items())[:TOLD]) for name, one in self._rotation.rules.unusable.items()}
        }

    def round(self) -> bool:
        """One turn; say whether there was anything to do, or is more."""
        matched = self._rotation.turn()
        if matched.events or matched.deliveries:
            log.info("Matched %d event(s): %d deliveries", matched.events, matched.deliveries)
            count("events_matched", matched.events)
        return any(matched)
