"""Follows the store: shows each event that a rule or a DAG asked to tell of, with its deliveries."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo.screen import Screen
    from lab.airflow import Airflow

_QUERY = """
SELECT e.seq, e.matched_at, e.body, d.id, n.rule, d.conn_id, d.state, d.attempts, d.code, d.reason,
       (SELECT SUM(a.milliseconds) FROM ml_event_attempt a WHERE a.delivery_id = d.id)
FROM ml_event_event e
LEFT JOIN ml_event_notification n ON n.event_seq = e.seq
LEFT JOIN ml_event_delivery d ON d.notification_id = n.id
ORDER BY e.seq, n.rule, d.conn_id
"""
_UNDER_WAY = {"pending", "leased"}
_STYLES = {"delivered": "green", "failed": "yellow", "dead": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One delivery as the store has it."""

    id: str
    rule: str
    conn_id: str
    state: str
    attempts: int
    code: str
    reason: str
    milliseconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One recorded event and its deliveries."""

    seq: int
    matched: bool
    event: dict[str, Any]
    deliveries: list[Delivery] = field(default_factory=list)

    @property
    def about(self) -> str:
        """What the event is about, short: ``example_nightly_features.load_orders``."""
        return subject(self.event)

    @property
    def silent(self) -> bool:
        """Whether it is of a task whose process could not tell of it any more."""
        return self.event["type"].startswith("airflow.task") and self.event.get("origin") == "reconciler"

    @property
    def under_way(self) -> bool:
        """Whether something will still happen by itself within moments."""
        return not self.matched or any(one.state in _UNDER_WAY for one in self.deliveries)


def subject(event: dict[str, Any]) -> str:
    """An event's subject in a few characters."""
    data = event.get("data") or {}
    if event["type"].startswith("airflow.") and "dag_id" in data:
        return ".".join(filter(None, (data["dag_id"], data.get("task_id"))))
    if event["type"].startswith("ml.data") and "task_id" in data:
        return f"{data['dag_id']}.{data['task_id']}"
    text = event.get("subject", "")
    task = re.fullmatch(r"dags/(.*?)/runs/.*/tasks/(.*)", text)
    return f"{task[1]}.{task[2]}" if task else re.sub(r"/runs/.*", "", text) or event["source"]


class Feed:
    """Reads the store again and again, and prints what is new."""

    def __init__(self, airflow: Airflow, screen: Screen) -> None:
        self._airflow = airflow
        self._screen = screen
        self._shown: dict[str, tuple[str, int]] = {}
        self.told: list[Told] = []

    def poll(self) -> None:
        """Read the store and print the deliveries that changed, each under its event."""
        self.told = self._read()
        for one in self.told:
            if one.under_way:
                continue
            changed = [
                delivery
                for delivery in one.deliveries
                if self._shown.get(delivery.id) != (delivery.state, delivery.attempts)
            ]
            if changed:
                self._show(one, changed)

    def until(self, done: Callable[[], Any], what: str, *, seconds: float) -> Any:
        """Follow until ``done()`` is true; return what it returned.

        :raises TimeoutError: if that takes longer than ``seconds``.
        :raises RuntimeError: if Airflow ends.
        """

        def look() -> Any:
            self.poll()
            return done()

        return self._airflow.wait_for(look, what, seconds=seconds)

    def _read(self) -> list[Told]:
        found: dict[int, Told] = {}
        for seq, matched_at, body, *delivery in self._airflow.query(_QUERY):
            one = found.setdefault(seq, Told(seq=seq, matched=matched_at is not None, event=json.loads(body)))
            if delivery[0]:
                names = ("id", "rule", "conn_id", "state", "attempts", "code", "reason")
                values = dict(zip(names, delivery, strict=False))
                one.deliveries.append(Delivery(**values, milliseconds=delivery[7] or 0))
        return list(found.values())

    def _show(self, told: Told, deliveries: list[Delivery]) -> None:
        moment = str(told.event["time"])[11:19]
        again = any(one.id in self._shown for one in told.deliveries)
        about = f"{told.about}  (again)" if again else told.about
        self._screen.line(f"  {moment}  {told.event['type']:<35} {about}", "bold")
        if told.silent and not again:
            self._screen.line(f"{'':12}nobody reported it: the reconciler found it in Airflow's tables")
        for one in deliveries:
            self._shown[one.id] = (one.state, one.attempts)
            attempts = f"{one.attempts} attempt" + ("s" if one.attempts != 1 else "")
            answer = one.code if one.state == "delivered" else f"{one.code}: {one.reason}"
            state = "to be retried" if one.state == "failed" else one.state
            told_how = f"{state} ({attempts}, {one.milliseconds} ms, {answer})"
            line = f"{'':12}→ {one.rule} → {one.conn_id}: {told_how}"
            self._screen.line(line, *([_STYLES[one.state]] if one.state in _STYLES else []))
