"""What the dispatcher's threads have in common: they end together, wake each other, and survive their failures."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from ml_event_provider import troubles
from ml_event_provider.metrics import count

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

#: How long a step that failed rests before it is done again, in seconds.
REST_SECONDS = 0.2


class Bell:
    """Wakes a thread that waits for work, from other threads."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._told = 0

    def ring(self) -> None:
        """There may be something to do."""
        with self._news:
            self._told += 1
            self._news.notify_all()

    @property
    def told(self) -> int:
        """How often it rang: look before you work, wait from there on."""
        return self._told

    def wait(self, seconds: float, *, since: int) -> None:
        """Until it rings after ``since``, or time is up."""
        end = time.monotonic() + seconds
        with self._news:
            while self._told == since and (remaining := end - time.monotonic()) > 0:
                self._news.wait(remaining)


class Signals:
    """Whether to end; and that there are events to match, or deliveries to send."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.events = Bell()
        self.deliveries = Bell()

    def stop(self) -> None:
        """End after what is under way."""
        self.stopping.set()
        self.events.ring()
        self.deliveries.ring()


def guarded(name: str, work: Callable[[], object], stopping: threading.Event) -> bool:
    """Do one step and say whether it did anything; whatever it raises is logged and does not end the others."""
    try:
        return bool(work())
    except Exception as error:  # noqa: BLE001 - told, and the other steps go on
        troubles.tell(log, f"{name} failed", error)
        count("dispatcher_errors")
        stopping.wait(REST_SECONDS)
        return False
