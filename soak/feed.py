"""Records the feed's events at a steady rate, whatever becomes of the database. ``python -m soak.feed EVENTS RATE``.

Three of five events are told as they are; two are the beginning and the end of an alert. Recording is tried until it
commits: an event's id makes a second try harmless. Prints how many were recorded.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

from sqlalchemy.exc import DBAPIError

from ml_event_provider.events.model import Event
from ml_event_provider.store import events

#: In each five: three plain ones, a failure, and its end two events later.
_ROUND = ("soak.happened", "soak.failed", "soak.happened", "soak.recovered", "soak.happened")


def event(number: int) -> Event:
    """The feed's event of that number."""
    kind = _ROUND[number % len(_ROUND)]
    return Event(
        id=f"soak-{number}",
        source="/soak",
        type=kind,
        subject=f"jobs/{number // len(_ROUND)}",
        time=datetime.now(UTC),
        data={"job": str(number // len(_ROUND)), "number": number, "fed_at": time.time(), "text": "x" * 500},
    )


def main(count: int, rate: float) -> None:
    """Feed."""
    started = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        one = event(number)
        while True:
            try:
                events.record_now([one])
                break
            except DBAPIError as error:
                print(f"the database is away: {type(error).__name__}", file=sys.stderr)
                time.sleep(0.2)
    print(count)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
