"""The engine: what rules make of a stream of events. Pure: events, clock and states in, notifications and states out.

The dispatcher runs it on the store's states, a backtest on a dictionary.
"""

from __future__ import annotations

from ml_event_provider.rules.engine.arrival import Arrival, Prepared
from ml_event_provider.rules.engine.engine import Engine
from ml_event_provider.rules.engine.output import Decision, Failure, Kind, Outcome, Planned, PlannedDelivery
from ml_event_provider.rules.engine.states import MemoryStates, Place, States

__all__ = [
    "Arrival",
    "Decision",
    "Engine",
    "Failure",
    "Kind",
    "MemoryStates",
    "Outcome",
    "Place",
    "Planned",
    "PlannedDelivery",
    "Prepared",
    "States",
]
