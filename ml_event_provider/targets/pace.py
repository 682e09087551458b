"""Keeps to a remote's rate from this side, so that the remote never has to punish."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pace:
    """At most ``limit`` sends in any ``period`` seconds for each key. Used from several threads.

    A sliding window, since a bucket that refills would let nearly twice the limit through in its first
    period. Who must wait is given the next free moment of a timetable, so that a hundred waiting deliveries
    do not all come back at once. It counts this process only: with several dispatchers, give each its share.

    :param now: a clock in seconds that never goes back.
    """

    def __init__(self, limit: int, period: float, now: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._period = period
        self._now = now
        self._lock = threading.Lock()
        self._keys: dict[str, _Window] = {}

    def wait(self, key: str, limit: int | None = None) -> float:
        """Take a place: 0 if the send may go out now, else after how many seconds to ask again.

        :param limit: another limit for this key.
        """
        limit = limit or self._limit
        with self._lock:
            now = self._now()
            window = self._window(key, now)
            if now >= window.blocked_until and len(window.sent) < limit:
                window.sent.append(now)
                return 0.0
            free = window.sent[-limit] + self._period if len(window.sent) >= limit else now
            step = self._period / limit
            window.timetable = max(window.timetable + step, free, window.blocked_until)
            return window.timetable - now

    def block(self, key: str, seconds: float) -> float:
        """Let nothing through for so long, since the remote said so; returns when to ask again, as above."""
        with self._lock:
            now = self._now()
            window = self._window(key, now)
            window.blocked_until = max(window.blocked_until, now + seconds)
            window.timetable = max(window.timetable + self._period / self._limit, window.blocked_until)
            return window.timetable - now

    def _window(self, key: str, now: float) -> _Window:
        window = self._keys.setdefault(key, _Window())
        while window.sent and window.sent[0] <= now - self._period:
            window.sent.popleft()
        return window


class _Window:
    def __init__(self) -> None:
        self.sent: deque[float] = deque()
        self.blocked_until = float("-inf")
        #: The last moment that was given to a delivery that must wait.
        self.timetable = float("-inf")
