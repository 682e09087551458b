"""The dispatcher's listening thread: rings for those who match and those who send when others told of work."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ml_event_provider.dispatch.loop import guarded
from ml_event_provider.store import wakes
from ml_event_provider.store.wakes import Listener

if TYPE_CHECKING:
    from ml_event_provider.dispatch.loop import Signals

log = logging.getLogger(__name__)

#: How soon it is seen that the dispatcher ends; and how long a session that was lost rests, in seconds.
LOOK_SECONDS, REST_SECONDS = 1.0, 5.0


def run(signals: Signals) -> None:
    """Listen until told to stop. Polling goes on beside it: what is not heard is found a little later."""
    while not signals.stopping.is_set():
        guarded("listen", lambda: _listen(signals), signals.stopping)
        signals.stopping.wait(REST_SECONDS)


def _listen(signals: Signals) -> None:
    listener = Listener()
    try:
        if not listener.hears:
            signals.stopping.wait()
        while not signals.stopping.is_set():
            told = listener.wait(LOOK_SECONDS)
            if wakes.EVENTS in told:
                signals.events.ring()
            if wakes.DELIVERIES in told:
                signals.deliveries.ring()
    finally:
        listener.close()
