"""One attempt of one delivery: find the connection, render the message, send it, read the answer."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any

from ml_event_provider import config, extensions
from ml_event_provider.dispatch.actions import perform
from ml_event_provider.exceptions import LookUpFailed, TemplateProblem, UnknownTarget
from ml_event_provider.messages import Renderer
from ml_event_provider.messages.about import About
from ml_event_provider.store.deliveries import Delivery, Settlement
from ml_event_provider.store.engine import utc_now
from ml_event_provider.store.schema import DeliveryState
from ml_event_provider.targets import Message, Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ml_event_provider.dispatch.connections import Connections
    from ml_event_provider.dispatch.retry import RetryPolicy

log = logging.getLogger(__name__)


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

    def attempt(self, delivery: Delivery) -> Settlement:
        """Try once and say what becomes of the delivery. Never raises."""
        started_at, started = self._now(), time.monotonic()
        try:
            result = checked(self._send(delivery))
        except LookUpFailed as error:
            # Nothing was tried, and the target is not to blame.
            result = Result.retry("look-up", str(error), attempted=False)
        except UnknownTarget as error:
            # Someone may create the connection at any moment: retried like an unreachable target.
            result = Result.retry("no target", str(error))
        except Exception as error:
            log.exception("Delivery %s to %s failed in the target's or our own code", delivery.id, delivery.conn_id)
            result = Result.retry("internal", f"{type(error).__name__} while sending; see the dispatcher's log")
        milliseconds = round((time.monotonic() - started) * 1000)
        return self._settlement(delivery, result, started_at, milliseconds)

    def _send(self, delivery: Delivery) -> Result:
        if delivery.recorded is None:
            return Result.refused("no event", "the delivery's event was pruned")
        event = delivery.recorded.event
        if delivery.action is not None:
            return perform(
                delivery.action["action"],
                event=event,
                delivery_id=delivery.id,
                rule=delivery.rule,
                workspace=delivery.workspace,
                hops=int(delivery.action["hops"]),
            )
        connection = self._connections.get(delivery.conn_id, delivery.workspace)
        target = extensions.target_for(connection.conn_type)
        about = About(
            kind=delivery.kind,
            id=delivery.alert_id,
            members=delivery.members,
            facts=delivery.facts,
            others=tuple(one.event for one in delivery.others),
        )
        rendered = self._renderer.render(
            event,
            channel=target.channel,
            dialect=target.capabilities.dialect,
            max_title_bytes=target.capabilities.max_title_bytes,
            max_body_bytes=target.capabilities.max_body_bytes,
            rule=delivery.rule,
            severity=delivery.severity,
            template=delivery.template,
            options=delivery.options,
            about=about,
        )
        for problem in rendered.problems:
            log.warning("Delivery %s: %s", delivery.id, problem)
        parts = dict(rendered.parts)
        source = delivery.options.get("body_template") or connection.extra_dejson.get("body_template")
        if source and target.capabilities.dialect == "json":
            try:
                parts["json"] = self._renderer.render_json(
                    str(source),
                    event,
                    rule=delivery.rule,
                    severity=delivery.severity,
                    options=delivery.options,
                    about=about,
                )
            except TemplateProblem as problem:
                # The receiver expects the user's own shape, so no other body will do: mend it, then send again.
                return Result.refused("template", str(problem))
        message = Message(
            delivery_id=delivery.id,
            event=event,
            title=rendered.title,
            body=rendered.body,
            parts=parts,
            rule=delivery.rule,
            severity=delivery.severity,
            options=delivery.options,
            run_url=str(event.data.get("url") or ""),
            log_url=str(event.data.get("log_url") or ""),
            about=about,
        )
        return target.send(connection, message, timeout=self._timeout)

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
            options=_without_reached(delivery.options, result),
        )


def checked(result: Result) -> Result:
    """A target's result, fit to be stored whatever the target put into it.

    :raises TypeError: if it is none.
    """
    if not isinstance(result, Result):
        raise TypeError(f"the target answered {type(result).__name__}, not a Result")
    wait = result.retry_after
    return replace(
        result,
        outcome=Outcome(result.outcome),
        code=str(result.code or "").replace("\0", ""),
        reason=str(result.reason or "").replace("\0", ""),
        retry_after=wait if isinstance(wait, int | float) and isfinite(wait) else None,
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
