"""Wakes dispatchers as soon as there is something to do, instead of at their next poll.

On PostgreSQL by LISTEN and NOTIFY, which take effect with the commit; on SQLite by a look at the file's change counter,
which costs microseconds. Elsewhere, and where a session cannot listen, dispatchers poll.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from ml_event_provider.store.engine import engine

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

#: What is told: that events are to be matched, that deliveries are to be sent.
EVENTS, DELIVERIES = "events", "deliveries"
_BOTH: Final = frozenset({EVENTS, DELIVERIES})
_CHANNEL: Final = "ml_events"
_NOTIFY: Final = text(f"SELECT pg_notify('{_CHANNEL}', :what)")
#: How often SQLite's counter is looked at, in seconds.
_LOOK: Final = 0.05


def tell(connection: Connection, what: str) -> None:
    """Wake those who wait for ``what`` when this transaction commits; once in each transaction is enough."""
    if connection.dialect.name != "postgresql":
        return
    # What a savepoint told is gone with it.
    within = connection.get_nested_transaction() or connection.get_transaction()
    key = f"ml_events_told_{what}"
    if within is None or connection.info.get(key) is not within:
        connection.execute(_NOTIFY, {"what": what})
        connection.info[key] = within


class Listener:
    """Hears what others told. Use it from one thread; ``close`` gives its session back."""

    def __init__(self) -> None:
        self._connection: Any = engine().connect().execution_options(isolation_level="AUTOCOMMIT")
        self._dialect = self._connection.dialect
        self._counter = 0
        if self._dialect.name == "postgresql":
            self._connection.exec_driver_sql(f"LISTEN {_CHANNEL}")
        elif self._dialect.name == "sqlite":
            self._counter = self._read_counter()

    @property
    def hears(self) -> bool:
        """Whether it hears anything on this database at all."""
        return self._dialect.name in ("postgresql", "sqlite")

    def wait(self, seconds: float) -> Collection[str]:
        """What was told, as soon as anything is; nothing if nothing is within so many seconds."""
        if self._dialect.name == "postgresql":
            return self._wait_postgresql(seconds)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            counter = self._read_counter()
            if counter != self._counter:
                self._counter = counter
                return _BOTH
            time.sleep(_LOOK)
        return ()

    def close(self) -> None:
        """Listen no more."""
        # A session that listens must not be lent to anybody else.
        self._connection.invalidate()
        self._connection.close()

    def _read_counter(self) -> int:
        return int(self._connection.exec_driver_sql("PRAGMA data_version").scalar_one())

    def _wait_postgresql(self, seconds: float) -> Collection[str]:
        driver = self._connection.connection.driver_connection
        if self._dialect.driver == "psycopg":
            return {one.payload for one in driver.notifies(timeout=seconds, stop_after=1)}
        select.select([driver], [], [], seconds)
        driver.poll()
        told = {one.payload for one in driver.notifies}
        driver.notifies.clear()
        return told
