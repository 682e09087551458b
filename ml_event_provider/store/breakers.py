"""A lane's breaker: a target that fails again and again is left alone, and tried with one delivery now and then.

Closed, open, half-open; its state is the lane's row, so that all dispatchers act alike. Each time that it opens or
closes an event is recorded in the lane's workspace.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, func, select, update

from ml_event_provider.events.identity import change_id
from ml_event_provider.events.model import Event
from ml_event_provider.store import events, schema
from ml_event_provider.store.engine import become_writer, can_skip_locked, in_chunks
from ml_event_provider.store.schema import Breaker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

log = logging.getLogger(__name__)

_LANE = schema.lane
_DELIVERY = schema.delivery
_LANES = select(_LANE).where(_LANE.c.id.in_(bindparam("ids", expanding=True))).order_by(_LANE.c.id)
_LANES_LOCKED = _LANES.with_for_update()
#: What an attempt may change of a lane.
_WRITTEN = (
    *("breaker", "failures", "opened_at", "probe_at", "recovered_at"),
    *("code", "reason", "delivered_at", "slow", "updated_at"),
)
_NOTE = update(_LANE).where(_LANE.c.id == bindparam("lane_id")).values({name: bindparam(name) for name in _WRITTEN})
_WAITING = (
    select(func.count()).select_from(_DELIVERY).where(_DELIVERY.c.lane_id == bindparam("lane"), schema.UNFINISHED)
)

#: The events that tell of it.
UNREACHABLE, RECOVERED = "ml.target.unreachable", "ml.target.recovered"
#: How many attempts in a row must fail before the breaker opens.
FAILURES = 5
#: When the target is tried again after the breaker opened; each failure doubles it, up to the longest. In seconds.
FIRST_WAIT = 5.0
LONGEST_WAIT = 300.0


class Heard(NamedTuple):
    """What one attempt tells of its target. ``reached`` is ``None`` where it says nothing about that."""

    lane_id: int
    reached: bool | None
    delivered: bool = False
    #: Whether it took long.
    slow: bool | None = None
    code: str = ""
    reason: str = ""


class State(NamedTuple):
    """Where a breaker stands."""

    breaker: str
    failures: int
    opened_at: datetime | None
    probe_at: datetime | None


def after(state: State, reached: bool | None, now: datetime) -> State:
    """Where a breaker stands after one more attempt."""
    if reached:
        return State(Breaker.CLOSED, 0, None, None)
    if reached is None:
        # The probe said nothing about the target: the next delivery may.
        half = state.breaker == Breaker.HALF_OPEN
        return state._replace(breaker=Breaker.OPEN, probe_at=now + timedelta(seconds=FIRST_WAIT)) if half else state
    if state.breaker == Breaker.OPEN:
        # It was under way already when the breaker opened.
        return state
    failures = state.failures + 1
    if state.breaker == Breaker.CLOSED and failures < FAILURES:
        return state._replace(failures=failures)
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(max(failures - FAILURES, 0), 30))
    return State(Breaker.OPEN, failures, state.opened_at or now, now + timedelta(seconds=wait))


def note(connection: Connection, heard: Sequence[Heard], *, now: datetime) -> None:
    """Keep what attempts told of their targets, in the order in which they ended."""
    by_lane: dict[int, list[Heard]] = defaultdict(list)
    for one in heard:
        by_lane[one.lane_id].append(one)
    become_writer(connection)
    # In one order, so that two dispatchers never wait for each other.
    query = _LANES_LOCKED if can_skip_locked(connection) else _LANES
    rows: list[dict[str, Any]] = []
    news: list[tuple[Any, str, State, Mapping[str, Any]]] = []
    for chunk in in_chunks(sorted(by_lane)):
        for lane in connection.execute(query, {"ids": chunk}).all():
            before = State(lane.breaker, lane.failures, lane.opened_at, lane.probe_at)
            state, row = _noted(lane, before, by_lane[lane.id], now)
            rows.append(row)
            was_open, is_open = before.breaker != Breaker.CLOSED, state.breaker != Breaker.CLOSED
            if is_open and not was_open:
                news.append((lane, UNREACHABLE, state, row))
            if was_open and not is_open:
                row["recovered_at"] = now
                news.append((lane, RECOVERED, before, {"code": lane.code, "reason": lane.reason}))
    if rows:
        connection.execute(_NOTE, rows)
    for lane, kind, state, last in news:
        _tell(connection, lane, kind, state, last, now)


def _noted(lane: Any, before: State, told: Sequence[Heard], now: datetime) -> tuple[State, dict[str, Any]]:
    """Where the breaker stands then, and the lane's row."""
    state = before
    for one in told:
        state = after(state, one.reached, now)
    row: dict[str, Any] = {"lane_id": lane.id, **{name: getattr(lane, name) for name in _WRITTEN}}
    row |= {**state._asdict(), "updated_at": now}
    failed = [one for one in told if one.reached is False]
    if failed:
        row |= {"code": failed[-1].code[:100], "reason": failed[-1].reason[:1000]}
    if any(one.delivered for one in told):
        row["delivered_at"] = now
    slow = [one.slow for one in told if one.slow is not None]
    if slow:
        row["slow"] = slow[-1]
    return state, row


def _tell(connection: Connection, lane: Any, kind: str, state: State, last: Mapping[str, Any], now: datetime) -> None:
    """Record that a target cannot be reached any more, or can again."""
    waiting = connection.execute(_WAITING, {"lane": lane.id}).scalar_one()
    since = (state.opened_at or now).isoformat()
    data = {
        "conn_id": lane.conn_id,
        "since": since,
        "failures": state.failures,
        "code": last["code"],
        "reason": last["reason"],
        "waiting": waiting,
    }
    event = Event(
        id=change_id("target", lane.workspace, lane.conn_id, kind, since),
        source="/ml_event_provider/targets",
        type=kind,
        time=now,
        subject=lane.conn_id,
        data=data,
        workspace=lane.workspace,
        origin="dispatcher",
    )
    events.record_one(connection, event)
    log.warning(
        "Target %s (workspace %s) %s after %d failure(s): %s; %d deliveries wait",
        *(lane.conn_id, lane.workspace, "answers again" if kind == RECOVERED else "does not answer"),
        *(state.failures, last["reason"] or last["code"], waiting),
    )
