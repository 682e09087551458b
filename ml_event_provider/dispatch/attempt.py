"""One attempt of one delivery: find the connection, render the message, send it, read the answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any

from ml_event_provider import config, extensions, troubles
from ml_event_provider.dispatch.actions import perform
from ml_event_provider.dispatch.composing import body_template, compose
from ml_event_provider.exceptions import LookUpFailed, TemplateProblem, UnknownTarget
from ml_event_provider.messages import Renderer
from ml_event_provider.messages.memory import LEFT_OUT
from ml_event_provider.store.breakers import Heard
from ml_event_provider.store.engine import utc_now
from ml_event_provider.store.schema import DeliveryState
from ml_event_provider.store.settlements import Settlement
from ml_event_provider.targets import Outcome, Result
from ml_event_provider.targets.secrets import Mask

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ml_event_provider.dispatch.composing import Composed
    from ml_event_provider.dispatch.connections import Connections
    from ml_event_provider.dispatch.retry import RetryPolicy
    from ml_event_provider.store.deliveries import Delivery

log = logging.getLogger(__name__)

#: A target whose attempt took longer is slow, in seconds.
SLOW_SECONDS = 1.0
#: What the database's integers hold.
_MOST = 2**31 - 1


class TooLateError(Exception):
    """There is no time left to send before the lease ends."""


class Sender:
    """Makes attempts. Used from several threads; holds no state of a delivery."""

    def __init__(
        self,
        *,
        policy: RetryPolicy,
        timeout: float,
        renderer: Renderer,
        connections: Connections,
        random: Callable[[], float],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._policy = policy
        self._timeout = timeout
        self._renderer = renderer
        self._connections = connections
        self._random = random
        self._now = now

    def attempt(self, delivery: Delivery, in_time: Callable[[], bool] = lambda: True) -> Settlement | None:
        """Try once and say what becomes of the delivery. Never raises.

        ``in_time`` is asked last, when the message is ready: where it says no, nothing is sent, and the answer is
        ``None``.
        """
        started_at, started = self._now(), time.monotonic()
        try:
            result = checked(self._send(delivery, in_time))
        except TooLateError:
            return None
        except LookUpFailed as error:
            # Nothing was tried, and the target is not to blame.
            result = Result.retry("look-up", str(error), attempted=False)
        except UnknownTarget as error:
            # Someone may create the connection at any moment: retried like an unreachable target.
            result = Result.retry("no target", str(error))
        except BaseException as error:
            # A library's sys.exit(), too, is a failed attempt, and not none.
            log.exception("Delivery %s to %s failed in the target's or our own code", delivery.id, delivery.conn_id)
            result = Result.retry("internal", f"{type(error).__name__} while sending; see the dispatcher's log")
        milliseconds = min(_MOST, round((time.monotonic() - started) * 1000))
        return self._settlement(delivery, result, started_at, milliseconds)

    def _send(self, delivery: Delivery, in_time: Callable[[], bool]) -> Result:
        if delivery.recorded is None:
            return Result.refused("no event", "the delivery's event was pruned")
        event = delivery.recorded.event
        if delivery.action is not None:
            if not in_time():
                raise TooLateError
            return perform(
                delivery.action["action"],
                event=event,
                delivery_id=delivery.id,
                rule=delivery.rule,
                workspace=delivery.workspace,
                hops=int(delivery.action["hops"]),
            )
        connection = self._connections.held(delivery.conn_id, delivery.workspace)
        target = extensions.target_for(connection.conn_type)
        try:
            composed = compose(delivery, event, target=target, connection=connection, renderer=self._renderer)
        except TemplateProblem as problem:
            # The receiver expects the user's own shape, so no other body will do: mend it, then send again.
            return Result.refused("template", Mask(connection, body_template(connection, delivery))(str(problem)))
        _complain(delivery, composed)
        if not in_time():
            raise TooLateError
        result = target.send(connection, composed.message, timeout=self._timeout)
        return _with_warning(result, composed.unused)

    def _settlement(self, delivery: Delivery, result: Result, started_at: datetime, milliseconds: int) -> Settlement:
        number = delivery.attempts + (1 if result.attempted else 0)
        settled = Settlement(
            delivery_id=delivery.id,
            number=number,
            started_at=started_at,
            milliseconds=milliseconds,
            outcome=result.outcome,
            code=result.code,
            reason=result.reason,
            state=DeliveryState.DEAD,
            attempted=result.attempted,
            heard=_heard(delivery, result, milliseconds),
        )
        if result.outcome is Outcome.DELIVERED:
            return replace(settled, state=DeliveryState.DELIVERED)
        if result.outcome is Outcome.REFUSED:
            return settled
        # What was held back was not tried: it must not die of it, however few tries there are.
        tried = number if result.attempted else 0
        wait = self._policy.wait(tried, jitter=self._random(), retry_after=result.retry_after)
        if wait is None:
            return settled
        return replace(
            settled,
            state=DeliveryState.FAILED,
            next_attempt_at=self._now() + timedelta(seconds=wait),
            wished=result.retry_after is not None,
            options=_without_reached(delivery.options, result),
        )


def _complain(delivery: Delivery, composed: Composed) -> None:
    for problem in composed.problems:
        if problem.endswith(LEFT_OUT):
            troubles.tell(log, "A template is left out", TemplateProblem(problem))
        else:
            log.warning("Delivery %s: %s", delivery.id, problem)


def _with_warning(result: Result, warning: str) -> Result:
    """The result with what was wrong with the message's template, so that who looks at the delivery sees it."""
    if not warning or not isinstance(result, Result):
        return result
    return replace(result, reason=f"{result.reason}; {warning}".removeprefix("; "))


def checked(result: Result) -> Result:
    """A target's result, fit to be stored whatever the target put into it.

    :raises TypeError: if it is none.
    """
    if not isinstance(result, Result):
        raise TypeError(f"the target answered {type(result).__name__}, not a Result")
    recipients = result.recipients if isinstance(result.recipients, Mapping) else {}
    return replace(
        result,
        outcome=Outcome(result.outcome),
        code=_storable(result.code, 100),
        reason=_storable(result.reason, 1000),
        retry_after=_seconds(result.retry_after),
        recipients={_storable(who, 1000): _storable(answer, 1000) for who, answer in recipients.items()},
        attempted=bool(result.attempted),
    )


def _seconds(wait: Any) -> float | None:
    """A wait that can be reckoned with."""
    try:
        return float(wait) if isinstance(wait, int | float) and isfinite(wait) else None
    except OverflowError:
        return None


def _storable(text: Any, most: int) -> str:
    """Text of a target's own as every database takes it."""
    try:
        words = "" if text is None else str(text)
    except Exception:  # noqa: BLE001 - it is a plugin's object: whatever it raises, the message went out
        words = type(text).__name__
    return words[:most].replace("\0", "").encode("utf-8", "replace").decode()


def _heard(delivery: Delivery, result: Result, milliseconds: int) -> Heard | None:
    """What an attempt tells of its target: nothing, where it was our own failure or concerns this message alone."""
    if delivery.action is not None or not result.attempted or result.code == "internal":
        return None
    reached: bool | None = None
    if result.outcome is Outcome.DELIVERED:
        reached = True
    elif result.outcome is Outcome.RETRY:
        # Who says when to come back is there.
        reached = None if result.retry_after is not None else False
    elif any(character.isdigit() for character in result.code):
        # The remote's own code: it looked at this message and refused it.
        reached = True
    return Heard(
        lane_id=delivery.lane_id,
        reached=reached,
        delivered=result.outcome is Outcome.DELIVERED,
        slow=milliseconds >= SLOW_SECONDS * 1000,
        code=result.code,
        reason=result.reason,
    )


def _without_reached(options: dict[str, Any], result: Result) -> dict[str, Any] | None:
    """The options for the next try: recipients that took the message already do not get it again."""
    reached = sorted(who for who, answer in result.recipients.items() if answer == "delivered")
    if not reached:
        return None
    return {**options, "skip_recipients": sorted({*(options.get("skip_recipients") or ()), *reached})}


def default_renderer() -> Renderer:
    """The renderer with the user's and the plugins' template folders."""
    return Renderer([*config.template_directories(), *extensions.template_directories()])
