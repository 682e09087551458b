"""One guard around every listener: nothing of ours can fail a task or the scheduler."""

from __future__ import annotations

import logging
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

from ml_event_provider import troubles
from ml_event_provider.metrics import count

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
            failed = f"ML events: {listener.__name__} failed; the state change itself is not affected"
            troubles.tell(log, failed, error, level=logging.ERROR)
            count("listener_errors")

    return safe
