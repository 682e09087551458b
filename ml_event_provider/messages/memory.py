"""Remembers which templates cost too much, so that they cost it once in some minutes and not in each message."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

#: For how long a template is left out that ran into its limits.
LEFT_OUT_SECONDS: Final = 300.0
#: How the words end of what is left out.
LEFT_OUT: Final = "; it is left out for some minutes, or until it changes"
#: What used so much processor time and failed is left out, too, whatever it failed of.
COSTLY_SECONDS: Final = 0.02
_MOST: Final = 1000


class Costly:
    """What ran into its limits of late, and with which words. Used from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, seconds: float = LEFT_OUT_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, tuple[float, str]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._known)

    def why(self, key: Hashable) -> str | None:
        """What was said of ``key`` when it last ran into its limits, if that is not too long ago."""
        found = self._known.get(key)
        if found is None:
            return None
        if self._clock() >= found[0]:
            with self._lock:
                self._known.pop(key, None)
            return None
        return found[1]

    def note(self, key: Hashable, words: str) -> None:
        """Remember."""
        with self._lock:
            self._known[key] = (self._clock() + self._seconds, words)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
