"""The dispatcher process: one thread matches, one sends with a pool of its own, one keeps house, one listens.

It can be killed at any moment: what is matched is matched in one transaction, what is sent is leased first and
settled after, and a lease that nobody settles runs out.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
import uuid
from typing import TYPE_CHECKING, Any

from ml_event_provider import troubles
from ml_event_provider.dispatch import listening
from ml_event_provider.dispatch.housekeeping import Housekeeping
from ml_event_provider.dispatch.loop import Signals, guarded
from ml_event_provider.dispatch.rounds import Rounds
from ml_event_provider.dispatch.sending import Sending
from ml_event_provider.dispatch.settings import Settings
from ml_event_provider.exceptions import WrongTables
from ml_event_provider.metrics import count
from ml_event_provider.store import migration
from ml_event_provider.store.engine import transaction

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

__all__ = ["DispatcherProcess", "Settings"]

#: How long a thread has for the step that it is at when the process ends, in seconds.
END_SECONDS = 2.0
#: How often it is tried to give up at the end what others wait for.
SIGN_OFF_TRIES = 5
#: How soon it is seen that it was stopped otherwise than by a signal, in seconds.
LOOK_SECONDS = 0.25
#: How often a dispatcher that waits for its tables looks for them, in seconds.
TABLES_SECONDS = 5.0


class DispatcherProcess:
    """Matches, delivers and keeps house until told to stop, or until its parent ends."""

    def __init__(self, settings: Settings, *, parent: int | None = None) -> None:
        self._settings = settings
        self._parent = parent
        self.id = f"{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._signals = Signals()
        self._rounds = Rounds()
        self._sending = Sending(settings, dispatcher_id=self.id)
        self._housekeeping = Housekeeping(settings, dispatcher_id=self.id, parent=parent, report=self._report)

    def _report(self) -> dict[str, Any]:
        return {**self._rounds.report(), **self._sending.report()}

    def stop(self) -> None:
        """End after what is under way."""
        self._signals.stop()

    def run(self) -> None:
        """Work until stopped. The first SIGTERM or SIGINT stops it in order, the second at once."""
        woken, wake = os.pipe()

        def on_signal(number: int, _: Any) -> None:
            signal.signal(number, signal.SIG_DFL)
            self._signals.stop()
            os.write(wake, b".")

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        log.info("Dispatcher %s started (parent %s)", self.id, self._parent or "none")
        # Airflow reads its list of metrics with the first that is sent: here, not in several threads at once.
        count("dispatcher_starts")
        if not self._tables_fit(woken):
            return
        sending = self._thread("lease", lambda: self._sending.run(self._signals))
        others = [
            self._thread("housekeeping", lambda: self._housekeeping.run(self._signals)),
            self._thread("listen", lambda: listening.run(self._signals)),
            self._thread("match", lambda: self._rounds.run(self._signals, poll=self._settings.poll)),
        ]
        # This thread holds no lock when a signal comes: its handler may take any.
        while not self._signals.stopping.is_set() and sending.is_alive():
            select.select([woken], [], [], LOOK_SECONDS)
        self._signals.stop()
        sending.join(self._settings.send_timeout + END_SECONDS)
        for thread in others:
            # What is cut off in the middle of a transaction is rolled back.
            thread.join(END_SECONDS)
        for name, sign_off in (("sending", self._sending.sign_off), ("housekeeping", self._housekeeping.sign_off)):
            _sign_off(name, sign_off)
        os.close(woken)
        os.close(wake)
        log.info("Dispatcher %s ended", self.id)

    def drain_once(self) -> int:
        """Match and send all that is due now, then return how many attempts were made (tests, one-shot use)."""
        demand_tables()
        attempts = 0
        while True:
            matched = self._rounds.round()
            made = self._sending.drain_once()
            attempts += made
            if not matched and not made:
                return attempts

    def _tables_fit(self, woken: int) -> bool:
        """Wait until the tables are this version's; false if it is to end before, as ``woken`` says."""
        while not self._signals.stopping.is_set():
            try:
                demand_tables()
            except Exception as error:  # noqa: BLE001 - told, and tried again
                troubles.tell(log, "The dispatcher waits", error)
            else:
                return True
            if self._parent is not None and os.getppid() != self._parent:
                return False
            select.select([woken], [], [], TABLES_SECONDS)
        return False

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, name=f"ml-events-{name}", daemon=True)
        thread.start()
        return thread


def _sign_off(name: str, sign_off: Callable[[], None]) -> None:
    """Give up what only a living dispatcher holds; a database that is busy is asked again, one that is away is left."""

    def done() -> bool:
        sign_off()
        return True

    never = threading.Event()
    for _ in range(SIGN_OFF_TRIES):
        if guarded(f"sign off: {name}", done, never):
            return


def demand_tables() -> None:
    """See that the tables are those of this version.

    :raises WrongTables: if not; it says what to do.
    """
    with transaction() as connection:
        remedy = migration.standing(connection).remedy
    if remedy:
        raise WrongTables(remedy)
