"""When a delivery is tried again. Pure: the attempt's number, a random number and the remote's wish in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter. Times in seconds."""

    max_attempts: int = 34
    base: float = 5.0
    longest: float = 3600.0

    @property
    def total(self) -> float:
        """How long a delivery is tried in all, without what the remote asks for."""
        waits = (min(self.longest, self.base * 2 ** min(number, 62)) for number in range(self.max_attempts - 1))
        return float(sum(waits))

    def wait(self, attempts: int, *, jitter: float, retry_after: float | None = None) -> float | None:
        """The wait after ``attempts`` failed attempts, or ``None`` when there were enough.

        ``jitter`` is a random number in [0, 1): it spreads the wait over 75 to 125 %, so that deliveries that failed
        together do not come back together. The remote's ``retry_after`` is a minimum, and is obeyed up to a day.
        """
        if attempts >= self.max_attempts:
            return None
        backoff: float = min(self.longest, self.base * 2 ** min(attempts - 1, 62)) * (0.75 + jitter / 2)
        if retry_after is None:
            return backoff
        return max(min(retry_after, 86_400.0), 0.0) + backoff * jitter * 0.1
