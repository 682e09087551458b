"""The leases that this process holds: renewed while they are needed, and not trusted when they may be over."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from ml_event_provider.store import leases
from ml_event_provider.store.engine import database_now, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

#: How much longer than a send may take a lease must last for it to begin: so many seconds, or this part of the lease.
MARGIN, MARGIN_SHARE = 1.0, 0.05


class Reading(NamedTuple):
    """A moment by two clocks. One stands still while a machine sleeps, the other may be put; each bounds the other."""

    steady: float
    wall: float


def read_clocks() -> Reading:
    """The present moment."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return Reading(time.monotonic() if boot is None else time.clock_gettime(boot), time.time())


class Held:
    """What is leased by this process. Used from several threads.

    :param owner: this dispatcher's id.
    :param seconds: how long a lease lasts.
    :param needed: how long a send may take.
    """

    def __init__(
        self, *, owner: str, seconds: float, needed: float, clocks: Callable[[], Reading] = read_clocks
    ) -> None:
        self._owner = owner
        self.seconds = seconds
        self._needed = needed + min(MARGIN, MARGIN_SHARE * seconds)
        self._clocks = clocks
        self._lock = threading.Lock()
        self._since: dict[str, Reading] = {}

    def begin(self) -> Reading:
        """The moment from which a lease counts: read it before the lease is taken."""
        return self._clocks()

    def add(self, ids: Iterable[str], since: Reading) -> None:
        """Deliveries whose lease began then."""
        with self._lock:
            self._since.update(dict.fromkeys(ids, since))

    def remove(self, ids: Iterable[str]) -> None:
        """Deliveries that were settled or given back."""
        with self._lock:
            for one in ids:
                self._since.pop(one, None)

    def in_time(self, delivery_id: str) -> bool:
        """Whether a send that begins now ends before its lease does."""
        return self.left(delivery_id) >= self._needed

    def left(self, delivery_id: str) -> float:
        """How long its lease lasts from now on, in seconds; less than zero where we have none."""
        since = self._since.get(delivery_id)
        if since is None:
            return -1.0
        now = self._clocks()
        return self.seconds - max(now.steady - since.steady, now.wall - since.wall)

    def renew(self) -> list[str]:
        """Renew all leases; return those that were lost."""
        with self._lock:
            ids = list(self._since)
        if not ids:
            return []
        since = self._clocks()
        with transaction() as connection:
            until = database_now(connection) + timedelta(seconds=self.seconds)
            kept = leases.renew(connection, ids, owner=self._owner, until=until)
        lost = [one for one in ids if one not in kept]
        with self._lock:
            for one in ids:
                if one in self._since:
                    if one in kept:
                        self._since[one] = since
                    else:
                        del self._since[one]
        return lost


class DatabaseClock:
    """The database's time between two looks at it, by this machine's steady clock."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._known: tuple[datetime, float] | None = None

    def put(self, moment: datetime) -> None:
        """The database said that it is this moment."""
        self._known = moment, self._steady()

    def now(self) -> datetime:
        """The present moment by the database's clock."""
        if self._known is None:
            with transaction() as connection:
                self.put(database_now(connection))
        assert self._known is not None
        moment, at = self._known
        return moment + timedelta(seconds=self._steady() - at)
