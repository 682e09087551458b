"""Works through rows of Airflow's tables so that one that makes anything raise is set aside, and the others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ml_event_provider.store import events
from ml_event_provider.store.engine import worth_retrying
from ml_event_provider.store.one_by_one import each, read_each, reason_of
from ml_event_provider.store.quarantine import Kind, SetAside, set_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from ml_event_provider.events.model import Event

K = TypeVar("K")


class Rows:
    """One transaction's work on rows. What is set aside is named by ``what`` and its key: ``asset 7``."""

    def __init__(self, connection: Any, *, now: datetime) -> None:
        self._connection = connection
        self._now = now

    def read(self, what: str, keys: Sequence[K], read: Callable[[Sequence[K]], list[Any]]) -> list[Any]:
        """The rows that ``read`` gives for the keys."""
        return read_each(self._connection, keys, read, lambda key, error: self._aside(f"{what} {key}", error))

    def describe(
        self, what: str, rows: Iterable[Any], describe: Callable[[Any], Event], *, key: str = "id"
    ) -> list[Event]:
        """The rows' events."""
        made: list[Event] = []
        for row in rows:
            try:
                made.append(describe(row))
            except Exception as error:
                if worth_retrying(error):
                    raise
                self._aside(f"{what} {getattr(row, key)}", error)
        return made

    def record(self, made: Sequence[Event]) -> list[Event]:
        """Record events; return those that were."""
        refused: set[str] = set()

        def spoilt(event: Event, error: Exception) -> None:
            refused.add(event.id)
            self._aside(f"event {event.id} of {event.subject}", error)

        each(self._connection, made, lambda some: events.record(self._connection, some, now=self._now), spoilt)
        return [event for event in made if event.id not in refused]

    def _aside(self, reference: str, error: Exception) -> None:
        set_aside(self._connection, [SetAside(Kind.ROW, reference, "", reason_of(error))], now=self._now)
