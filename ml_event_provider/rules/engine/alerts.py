"""The alert: what one rule says about one key over time, as a state machine of plain JSON.

Its state has ``open`` (since when it lasts, or ``None``), ``id``, ``seq`` (its newest event), ``facts``, ``memory``
(its condition's), ``repeats``, ``escalated`` (how many steps were taken), ``ack`` (who acknowledged it, and when),
``end_at``, ``told`` (whether anybody heard of it), ``changes`` (when it began and ended) and ``flapping``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_event_provider.events.identity import change_id

if TYPE_CHECKING:
    from ml_event_provider.rules.engine.states import Body
    from ml_event_provider.rules.model import Rule


def begin(rule: Rule, now: float) -> Body:
    """The state of an alert that has never fired."""
    memory = None if rule.condition is None else rule.condition.tracked.begin(now)
    return {"form": rule.form, "open": None, "memory": memory, "changes": [], "flapping": False}


def open_(rule: Rule, body: Body, key: str, seq: int | None, now: float) -> bool:
    """Note a firing; say whether the alert begins with it."""
    begins = body["open"] is None
    if begins:
        body.update(
            open=now,
            id=change_id("alert", rule.workspace, rule.name, key, now, seq),
            repeats=0,
            repeat_at=now + rule.repeat.total_seconds() if rule.repeat else None,
            escalated=0,
            ack=None,
            told=False,
        )
        _changed(rule, body, now)
    if begins or seq is not None:
        body["seq"] = seq
    if rule.resolve is not None and rule.resolve.after is not None:
        body["end_at"] = now + rule.resolve.after.total_seconds()
    return begins


def end(rule: Rule, body: Body, now: float) -> None:
    """The alert is over."""
    body.update(open=None, repeat_at=None, end_at=None)
    _changed(rule, body, now)


def _changed(rule: Rule, body: Body, now: float) -> None:
    if rule.flapping is not None:
        window = rule.flapping.within.total_seconds()
        body["changes"] = [moment for moment in body["changes"] if moment > now - window][-rule.flapping.changes :]
        body["changes"].append(now)


def flaps(rule: Rule, body: Body, now: float) -> bool:
    """Whether the alert has changed too often of late."""
    if rule.flapping is None:
        return False
    window = rule.flapping.within.total_seconds()
    return sum(1 for moment in body["changes"] if moment > now - window) >= rule.flapping.changes


def next_escalation(rule: Rule, body: Body) -> float | None:
    """When the next step of escalation is due."""
    if body["open"] is None or body["flapping"] or body.get("ack") or body["escalated"] >= len(rule.escalate):
        return None
    return float(body["open"] + rule.steps[body["escalated"]].after.total_seconds())


def due(rule: Rule, body: Body, verdict_at: float | None, now: float) -> float | None:
    """When the alert must be looked at again."""
    moments = [verdict_at, next_change(rule, body), next_repetition(rule, body)]
    first = min((moment for moment in moments if moment is not None), default=None)
    # A moment that rounding puts before itself must not come again and again.
    return None if first is None else first if first > now else now + 0.001


def next_repetition(rule: Rule, body: Body) -> float | None:
    """When the alert is repeated."""
    if body["open"] is None or rule.repeat is None or body["flapping"] or body.get("ack"):
        return None
    moment: float | None = body.get("repeat_at")
    return moment


def next_change(rule: Rule, body: Body) -> float | None:
    """When the alert ends, is escalated or calms down, whatever its condition says."""
    moments: list[Any] = []
    if body["open"] is not None:
        moments += [body.get("end_at"), next_escalation(rule, body)]
    if body["flapping"] and rule.flapping is not None:
        # Calm when the oldest change that counts is out of the window.
        counted = body["changes"][-rule.flapping.changes :]
        moments.append(counted[0] + rule.flapping.within.total_seconds())
    return min((moment for moment in moments if moment is not None), default=None)
