"""Holds what arrived, and what the store says, against the promises."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import create_engine, text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: States in which a delivery is accounted for without having arrived.
_TOLD_WHY: Final = {"pending", "failed", "leased", "dead", "muted", "overtaken", "cancelled"}


class Receipt(NamedTuple):
    """A message as a target took it."""

    target: str
    delivery: str
    rule: str
    event: str
    kind: str
    alert: str
    fed_at: float | None
    at: float


class Row(NamedTuple):
    """A delivery as the store has it."""

    id: str
    conn_id: str
    rule: str
    kind: str
    state: str
    reason: str


@dataclass
class Verdict:
    """What was found. ``broken`` are broken promises in words; empty is good."""

    deliveries: int = 0
    received: int = 0
    again: int = 0
    states: dict[str, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def percentile(self, part: float) -> float:
        """The latency, from an event's feeding to its receipt by a good target, that so many do not exceed."""
        ordered = sorted(self.latencies) or [float("nan")]
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def receipts(book: Path) -> list[Receipt]:
    """All lines of the receiver's book, in the order of arrival."""
    return [Receipt(**json.loads(line)) for line in book.read_text(encoding="utf-8").splitlines()]


def rows(url: str) -> list[Row]:
    """All deliveries of the store."""
    query = text(
        "SELECT d.id, d.conn_id, n.rule, n.kind, d.state, d.reason FROM ml_event_delivery d"
        " JOIN ml_event_notification n ON n.id = d.notification_id"
    )
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return [Row(*row) for row in connection.execute(query)]
    finally:
        engine.dispose()


def judge(found: list[Receipt], stored: list[Row], *, good: set[str], expected: dict[str, int]) -> Verdict:
    """Compare. ``expected`` says how many notifications of each rule there must be, ``good`` which targets work."""
    taken: dict[str, list[Receipt]] = defaultdict(list)
    for one in found:
        taken[one.delivery].append(one)
    verdict = Verdict(deliveries=len(stored), received=len(found), again=len(found) - len(taken))
    for row in stored:
        verdict.states[row.state] = verdict.states.get(row.state, 0) + 1
    # The second half of an alert needs no end if the alert did not last, so rules are counted by what they say.
    verdict.broken += _missing(stored, expected)
    verdict.broken += _lost(stored, taken, good)
    verdict.broken += _two_ids(found)
    verdict.broken += _disorder(found)
    verdict.latencies = [
        first.at - first.fed_at
        for first in (min(same, key=lambda one: one.at) for same in taken.values())
        if first.target in good and first.fed_at is not None and not first.alert
    ]
    return verdict


def _missing(stored: Iterable[Row], expected: dict[str, int]) -> list[str]:
    made: dict[str, int] = defaultdict(int)
    for row in stored:
        made[row.rule] += 1
    return [
        f"rule {rule!r} made {made[rule]} deliveries, not {count}"
        for rule, count in sorted(expected.items())
        if made[rule] != count
    ]


def _lost(stored: Iterable[Row], taken: dict[str, list[Receipt]], good: set[str]) -> list[str]:
    broken: list[str] = []
    for row in stored:
        if row.state == "delivered" and row.id not in taken:
            broken.append(f"delivery {row.id} to {row.conn_id} is called delivered, and never arrived")
        elif row.conn_id in good and row.state not in {"delivered", "overtaken"}:
            broken.append(f"delivery {row.id} to the good target {row.conn_id} is {row.state}: {row.reason}")
        elif row.state in {"dead", "overtaken", "failed"} and not row.reason:
            broken.append(f"delivery {row.id} to {row.conn_id} is {row.state} without a reason")
        elif row.state not in _TOLD_WHY | {"delivered"}:
            broken.append(f"delivery {row.id} is in no known state: {row.state}")
    known = {row.id for row in stored}
    broken += [f"a message arrived of which the store knows nothing: {one}" for one in sorted(set(taken) - known)]
    return broken


def _two_ids(found: Iterable[Receipt]) -> list[str]:
    ids: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for one in found:
        ids[one.target, one.rule, one.event, one.kind, one.alert].add(one.delivery)
    return [f"{what} was sent under {len(same)} ids" for what, same in ids.items() if len(same) > 1]


def _disorder(found: Iterable[Receipt]) -> list[str]:
    """Of each alert, what a target took first and last: no beginning may follow an end."""
    told: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in sorted(found, key=lambda one: one.at):
        if one.alert:
            told[one.target, one.alert].append(one.kind)
    broken = []
    for (target, alert), kinds in told.items():
        if "resolved" in kinds and "fired" in kinds[kinds.index("resolved") :]:
            broken.append(f"alert {alert} was told to {target} in the order {', '.join(kinds)}")
    return broken
