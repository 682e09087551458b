"""What the engine says: notifications with their deliveries, and why a matching event gave none."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from ml_event_provider.rules.engine.absent import absent_event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.events import Event
    from ml_event_provider.rules.model import Rule


class Outcome(StrEnum):
    """What became of an event that a rule looked at."""

    #: A notification came of it at once, or with others of its group.
    NOTIFIED = "notified"
    #: The condition over time does not hold, or holds and was told of already.
    WAITING = "waiting"
    #: It came later than the condition allows.
    TOO_LATE = "too late"
    #: It waits for others of its group.
    GROUPED = "grouped"
    COOLDOWN = "cooldown"
    FLAPPING = "flapping"
    INHIBITED = "inhibited"
    SILENCED = "silenced"
    QUOTA = "quota"
    #: It ended an alert, and nobody is to be told.
    ENDED = "ended"
    #: It is older than what ended, or would have ended, the alert that it would begin.
    OVER = "over"
    #: What was to be told again came so late that the next of its kind was due already.
    OVERTAKEN = "overtaken"
    #: The rule was deleted or switched off while it waited.
    FORGOTTEN = "forgotten"
    #: The rule could not digest it; the log says why.
    FAILED = "failed"


class Kind(StrEnum):
    """What a notification says of its alert."""

    FIRED = "fired"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    ESCALATED = "escalated"
    FLAPPING = "flapping"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDelivery:
    """One delivery to be made. ``muted`` says why it is not sent; ``not_before`` is in seconds since 1970.

    It goes to ``conn_id``, or is an ``action`` in Airflow and goes to no connection. ``target`` tells it apart from
    others of the same connection (``names_of``).
    """

    conn_id: str = ""
    target: str = ""
    template: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    action: Mapping[str, Any] | None = None
    muted: str = ""
    not_before: float | None = None
    fallback: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A notification to be made.

    ``seqs`` are the places of its events in the store, newest last. There is none where the absence of events is what
    it is about: ``absent_at`` says since when.
    """

    id: str
    rule: Rule
    kind: Kind
    severity: str
    at: float
    seqs: tuple[int, ...]
    absent_at: float | None
    alert: str
    key: str
    facts: Mapping[str, Any]
    deliveries: tuple[PlannedDelivery, ...]
    #: Of all members; only the newest are named by ``seqs``.
    members: int = 1
    #: What it comes in order with: all that the rule says about one key, or one group. ``None`` if there is no order.
    stream: str | None = None

    def absent_event(self) -> Event | None:
        """The event to be recorded for the absence of others, where that is what it is about."""
        return None if self.absent_at is None else absent_event(self.rule, self.key, self.absent_at, self.facts)


class Failure(NamedTuple):
    """An event that could not be digested: by one rule, or where ``rule`` is empty, by none."""

    seq: int
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of an event that a rule looked at, and why."""

    rule: Rule
    seq: int | None
    key: str
    outcome: Outcome
    at: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    notification: str = ""
