"""One time limit for a whole conversation, where a socket's own time-out starts anew with every byte."""

from __future__ import annotations

import io
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

_LATEST: ContextVar[float] = ContextVar("ml_event_latest", default=float("inf"))


@contextmanager
def nothing_after(moment: float) -> Iterator[None]:
    """No conversation that begins within the block goes on after a moment of ``time.monotonic``.

    A process that was frozen after it had looked at the clock, and before it began to send, so sends nothing stale.
    """
    token = _LATEST.set(moment)
    try:
        yield
    finally:
        _LATEST.reset(token)


class Deadline:
    """The moment until which everything must be done, ``seconds`` from now."""

    __slots__ = ("_end", "_now")

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._end = min(now() + seconds, _LATEST.get())

    def remaining(self) -> float:
        """The seconds that are left, more than zero.

        :raises TimeoutError: if none are left.
        """
        left = self._end - self._now()
        if left <= 0:
            raise TimeoutError("the time allowed is over")
        return left

    def shorten(self, seconds: float) -> None:
        """End ``seconds`` from now, if that is earlier."""
        self._end = min(self._end, self._now() + seconds)


class TimedSocket:
    """Gives ``http.client`` and ``smtplib`` the file that they read, with the deadline kept on each read."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, *_args: Any, **_options: Any) -> io.BufferedReader:
        """A buffered reader of the socket."""
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
