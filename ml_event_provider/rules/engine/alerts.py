"""The alert: what one rule says about one key over time, as a state machine of plain JSON.

What is: ``open`` (since when it lasts by the engine's clock, or ``None``), ``id``, ``since`` and ``newest`` (the
times of its first and newest event), ``seq`` (that one's place), ``facts``, ``memory`` (its condition's), ``over``
(the time of the newest event that ends such an alert, whether one lasted or not, kept until ``over_until``),
``floor`` (what is not newer was ended with an alert), ``ack`` (who looks after it, and when), ``end_at``,
``changes`` (when it began and ended), ``flapping``, ``group`` (where it is told with others).

What was told: ``told`` (of which alert each target heard last that it lasts; "" where it heard of this one that it
flaps), ``steps`` (who heard of each step of escalation), ``called`` (under which id), ``told_at`` (when the first heard
of this alert), ``again_at`` (when to try to tell those who did not; it is there only where somebody did not),
``again_of`` (when what they are to hear happened), ``repeats``, ``repeat_at``, ``escalated`` (how many steps were
taken), ``postponed`` (no step before). Whatever holds a message back changes nothing of what is.
"""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.events.identity import change_id
from ml_event_provider.rules.model import names_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ml_event_provider.rules.engine.states import Body
    from ml_event_provider.rules.model import Rule

#: How late an event may be, in seconds, and still tell that what it is about is over already.
LATE: Final = 86_400


def begin(rule: Rule, now: float) -> Body:
    """The state of an alert that has never fired."""
    memory = None if rule.condition is None else rule.condition.tracked.begin(now)
    return {"form": rule.form, "open": None, "memory": memory, "changes": [], "flapping": False, "told": {}}


def is_whole(body: Body) -> bool:
    """Whether what is stored can be an alert's state, as far as others than its rule go by it."""
    lasts, place = body.get("open"), body.get("seq")
    if type(lasts) not in (float, int, NoneType) or type(place) not in (int, NoneType):
        return False
    return (place is None or 0 <= place < 2**63) and (lasts is None or isinstance(body.get("id"), str))


def read(rule: Rule, body: Body) -> Body:
    """A state as it was stored, also by a version that knew only whether anybody had heard."""
    told = body.get("told")
    if not isinstance(told, dict):
        lasts = body["open"] is not None
        # What waited in a group is noted when it is told.
        knew = told is True and (lasts or body["flapping"])
        body["told"] = dict.fromkeys(names_of(rule.targets), body["id"]) if knew else {}
        if lasts:
            steps = enumerate(rule.steps[: body["escalated"]], 1)
            body["steps"] = {str(number): names_of(step.targets) for number, step in steps}
            body |= {"told_at": body["open"] if knew else None, "group": None}
            body |= {"since": body["open"], "newest": body["open"]}
            if told is False:
                body["again_at"] = body["open"]
    return body


def open_(rule: Rule, body: Body, key: str, seq: int | None, time: float, now: float) -> bool:
    """Note a firing at a time of its own; say whether the alert begins with it."""
    begins = body["open"] is None
    if begins:
        if not body["flapping"]:
            body.update(escalated=0, steps={})
        body.update(
            open=now,
            id=change_id("alert", rule.workspace, rule.name, key, now, seq),
            since=time,
            newest=time,
            repeats=0,
            repeat_at=None,
            ack=None,
            told_at=None,
            group=None,
            look=rule.look,
        )
        body.pop("again_at", None)
        body.pop("postponed", None)
        _changed(rule, body, now)
    if begins or seq is not None:
        body["seq"] = seq
    body["newest"] = max(body["newest"], time)
    if rule.resolve is not None and rule.resolve.after is not None:
        body["end_at"] = now + rule.resolve.after.total_seconds()
    return begins


def heard(rule: Rule, body: Body, who: Mapping[str, float], again_at: float | None) -> None:
    """Note who hears of the alert that lasts, each at a moment of its own; and when to try again to tell the others."""
    body["told"] |= dict.fromkeys(who, body["id"])
    # What an action did, nobody of the targets heard.
    moments = [moment for one, moment in who.items() if one or not rule.targets]
    if moments and body["told_at"] is None:
        first = min(moments)
        body |= {"told_at": first, "repeat_at": first + rule.repeat.total_seconds() if rule.repeat else None}
    # That another firing is told to nobody, ever, is no reason to leave out those who wait to hear of the alert.
    if again_at is not None:
        body["again_of"] = body["newest"]
    again = [one for one in (again_at, body.get("again_at")) if one is not None]
    if again:
        body["again_at"] = min(again)


def unhear(rule: Rule, body: Body, conn_ids: Collection[str], now: float) -> None:
    """What was on its way to these targets is not: they are to hear anew that the alert lasts."""
    gone = {name for name, one in zip(names_of(rule.targets), rule.targets, strict=True) if one.conn_id in conn_ids}
    body["told"] = {who: alert for who, alert in body["told"].items() if who not in gone}
    if not informed(body):
        body["told_at"] = None
    body["again_at"], body["again_of"] = now, body["newest"]


def hearers(body: Body) -> dict[str, list[str]]:
    """Who is to hear that the alert is over, by the id under which they heard of it last: while it flaps, an older."""
    found: dict[str, list[str]] = {}
    for who, alert in sorted(body["told"].items()):
        found.setdefault(alert or body["id"], []).append(who)
    return found


def calm(body: Body) -> None:
    """The alert flaps no more: those who heard of it are yet to hear how it stands."""
    body["flapping"] = False
    body["told"] = {who: "" if alert == body["id"] else alert for who, alert in body["told"].items()}


def informed(body: Body) -> list[str]:
    """Which targets heard that this alert lasts."""
    return sorted(who for who, alert in body["told"].items() if who and alert == body["id"])


def restart(rule: Rule, body: Body, upto: float, now: float) -> None:
    """What something else than its condition ended: what was counted up to a time goes with it.

    An absence is not counted: it lasts, and must end and begin anew.
    """
    body["floor"] = max(body.get("floor", upto), upto)
    if rule.condition is not None and rule.condition.absence is None:
        body["memory"] = rule.condition.tracked.begin(now)


def undone(body: Body, time: float, now: float) -> None:
    """Note an event that ends such an alert: what is older, and comes later, is over."""
    body["over"] = max(body.get("over", time), time)
    body["over_until"] = now + LATE


def is_over(body: Body, time: float) -> bool:
    """Whether something of that time was over before it came."""
    return time < float(body.get("over", time))


def idle(rule: Rule, body: Body, now: float) -> bool:
    """Whether there is nothing to remember."""
    if body["open"] is not None or rule.condition is not None or body["changes"] or body["flapping"]:
        return False
    return bool(body.get("over_until", now) <= now)


def end(rule: Rule, body: Body, now: float) -> None:
    """The alert is over."""
    body.update(open=None, repeat_at=None, end_at=None)
    body.pop("again_at", None)
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
    if body["told_at"] is None:
        # Nobody could acknowledge what nobody heard of.
        return None
    moment = body["told_at"] + rule.steps[body["escalated"]].after.total_seconds()
    return float(max(moment, body.get("postponed", moment)))


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
    if body["told_at"] is None:
        return None
    moment: float | None = body.get("repeat_at")
    return moment


def next_change(rule: Rule, body: Body) -> float | None:
    """When the alert ends, is escalated or calms down, whatever its condition says."""
    moments: list[Any] = []
    if body["open"] is not None:
        moments += [body.get("end_at"), next_escalation(rule, body)]
        moments += [None if body["flapping"] else body.get("again_at")]
    if body["flapping"] and rule.flapping is not None:
        # Calm when the oldest change that counts is out of the window.
        counted = body["changes"][-rule.flapping.changes :]
        moments.append(counted[0] + rule.flapping.within.total_seconds())
    if body["open"] is None and rule.condition is None:
        moments.append(body.get("over_until"))
    return min((moment for moment in moments if moment is not None), default=None)
