"""The dispatcher's settling thread: what became of attempts is recorded in batches, and kept until it is."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from ml_event_provider.dispatch.loop import guarded
from ml_event_provider.metrics import count
from ml_event_provider.store import settlements
from ml_event_provider.store.engine import transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from ml_event_provider.store.deliveries import Delivery
    from ml_event_provider.store.settlements import Settlement

log = logging.getLogger(__name__)

#: How long results are gathered for one transaction, in seconds, and how many.
GATHER_SECONDS = 0.03
MOST = 500


class Ended(NamedTuple):
    """An attempt that ended."""

    delivery: Delivery
    settlement: Settlement


class Settling:
    """Records what became of attempts.

    :param on_settled: is told of each batch that is in the store.
    """

    def __init__(
        self, *, owner: str, now: Callable[[], datetime], on_settled: Callable[[Sequence[Ended]], None]
    ) -> None:
        self._owner = owner
        self._now = now
        self._on_settled = on_settled
        self._ended: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ml-events-settle", daemon=True)
        self._given_up = threading.Event()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, ended: Ended) -> None:
        """An attempt ended."""
        self._ended.put(ended)

    def finish(self, seconds: float) -> None:
        """Record all that was put so far and end; give up what the database does not take in so many seconds."""
        self._ended.put(None)
        self._thread.join(seconds)
        self._given_up.set()

    def _run(self) -> None:
        last = False
        while not last:
            batch, last = self._gather()
            while batch and not self._given_up.is_set():
                if guarded("settle", lambda batch=batch: self._settle(batch), self._given_up):  # type: ignore[misc]
                    break

    def _gather(self) -> tuple[list[Ended], bool]:
        """The next results, and whether they are the last."""
        batch: list[Ended] = []
        end = float("inf")
        while len(batch) < MOST:
            wait = None if not batch else max(0.0, end - time.monotonic())
            try:
                one = self._ended.get(timeout=wait)
            except queue.Empty:
                break
            if one is None:
                return batch, True
            if not batch:
                end = time.monotonic() + GATHER_SECONDS
            batch.append(one)
        return batch, False

    def _settle(self, batch: Sequence[Ended]) -> bool:
        with transaction() as connection:
            settlements.settle(connection, [one.settlement for one in batch], owner=self._owner, now=self._now())
        _tell(batch)
        self._on_settled(batch)
        return True


def _tell(batch: Sequence[Ended]) -> None:
    """One line for each target and way of ending; the single deliveries only where somebody looks closely."""
    alike = Counter(
        (one.delivery.target, one.delivery.workspace, one.settlement.state, one.settlement.code) for one in batch
    )
    for (target, workspace, state, code), number in alike.items():
        log.info("%d delivery(ies) to %s (workspace %s): %s %s", number, target, workspace, state, code)
    for state, number in Counter(one.settlement.state for one in batch).items():
        count(f"deliveries_{state}", number)
    if log.isEnabledFor(logging.DEBUG):
        for delivery, settlement in batch:
            log.debug(
                "delivery=%s event=%s rule=%s target=%s attempt=%d outcome=%s code=%r ms=%d state=%s",
                delivery.id,
                delivery.recorded.event.id if delivery.recorded else "-",
                delivery.rule,
                delivery.target,
                settlement.number,
                settlement.outcome,
                settlement.code,
                settlement.milliseconds,
                settlement.state,
            )
