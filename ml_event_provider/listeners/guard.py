"""One guard around every listener: nothing of ours can fail a task or the scheduler."""

from __future__ import annotations

import logging
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

from ml_event_provider import troubles

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

P = ParamSpec("P")


def guarded(listener: Callable[P, None]) -> Callable[P, None]:
    """The listener, with whatever it raises logged and counted (``ml_events.listener_errors``) instead.

    Also ``BaseException``: a task's time-out raises one wherever the process happens to be, and a listener that
    raises starves those after it. Not an order to end: the scheduler's SIGTERM handler raises ``SystemExit``.
    """

    @wraps(listener)
    def safe(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            listener(*args, **kwargs)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - nothing of ours fails a task or the scheduler
            troubles.tell(log, f"ML events: {listener.__name__} failed; the state change itself is not affected", error)
            count("listener_errors")

    return safe


def count(name: str, amount: int = 1) -> None:
    """Count ``ml_events.<name>`` in Airflow's metrics; a missing backend is no reason to fail."""
    try:
        from airflow._shared.observability.metrics import stats

        stats.incr(f"ml_events.{name}", amount)
    except Exception:
        log.debug("metric ml_events.%s not counted", name, exc_info=True)
