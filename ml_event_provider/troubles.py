"""Logs what goes wrong again and again at most once a minute each: a full disk or a lost database fills no log."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from ml_event_provider.exceptions import MlEventError

if TYPE_CHECKING:
    from collections.abc import Callable

#: How often one trouble is told, in seconds.
EVERY_SECONDS = 60.0
#: How many different troubles are remembered.
MOST = 1_000
#: SQLAlchemy's errors of a database that is away, busy or full: by name, since task processes do not import it.
_AWAY = frozenset({"OperationalError", "InterfaceError", "TimeoutError"})


def expected(error: BaseException) -> bool:
    """Whether it is the machine's, network's or database's trouble, or ours in words, and no fault: a line says all."""
    if isinstance(error, OSError | MlEventError) or getattr(error, "connection_invalidated", False):
        return True
    if str(error).startswith("(sqlite3.OperationalError) no such "):
        # SQLite calls a wrong statement so, too.
        return False
    return any(kind.__module__ == "sqlalchemy.exc" and kind.__name__ in _AWAY for kind in type(error).__mro__)


def first_line(error: BaseException) -> str:
    """What an error says, on one line, with its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__


class Troubles:
    """What was told when. ``clock`` gives seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: By trouble: when it was told last, and how often it was not told since.
        self._told: dict[tuple[str, str, type[BaseException]], tuple[float, int]] = {}

    def tell(self, log: logging.Logger, what: str, error: BaseException, *, level: int | None = None) -> bool:
        """Log ``what`` and the error unless the same was told within a minute; say whether it was logged.

        What is not :func:`expected` has its traceback, the first time. ``what`` is one of few texts: no names of
        files or rows stand in it. ``level`` is WARNING for what is expected, else ERROR, unless given.
        """
        key = (log.name, what, type(error))
        with self._lock:
            now = self._clock()
            last, left_out = self._told.get(key, (None, 0))
            if last is not None and now - last < EVERY_SECONDS:
                self._told[key] = (last, left_out + 1)
                return False
            if len(self._told) >= MOST:
                self._told.clear()
            self._told[key] = (now, 0)
        again = f" ({left_out} more times in {now - last:.0f} s)" if last is not None and left_out else ""
        trace = error if last is None and not expected(error) else None
        kind = "" if expected(error) else f"{type(error).__name__}: "
        log.log(level or _level(error), "%s%s: %s%s", what, again, kind, first_line(error), exc_info=trace)
        return True

    def forget(self) -> None:
        """Tell all anew."""
        with self._lock:
            self._told.clear()


def _level(error: BaseException) -> int:
    return logging.WARNING if expected(error) else logging.ERROR


_TROUBLES = Troubles()


def tell(log: logging.Logger, what: str, error: BaseException, *, level: int | None = None) -> bool:
    """:meth:`Troubles.tell` for this process."""
    return _TROUBLES.tell(log, what, error, level=level)


def forget() -> None:
    """Tell all anew."""
    _TROUBLES.forget()
