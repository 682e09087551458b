"""The tables. SQLAlchemy Core on a metadata of our own; all names begin with ``ml_event_``.

Times are UTC. ``state`` values are the words of ``DeliveryState``.
"""

from __future__ import annotations

from enum import StrEnum

from airflow.utils.sqlalchemy import UtcDateTime
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    text,
)

metadata = MetaData()
#: Where Alembic notes the migration that the database is at, and the migration of each version of this package.
VERSION_TABLE = "ml_event_alembic_version"
REVISIONS = {"0.1.0": "0001", "0.2.0": "0002", "0.3.0": "0003"}

#: SQLite only counts up INTEGER keys; MySQL's plain TEXT ends at 64 KiB.
BigKey = BigInteger().with_variant(Integer, "sqlite")
LongText = Text(16_777_215).with_variant(Text(), "postgresql", "sqlite")


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    LEASED = "leased"
    #: Tried without success; ``next_attempt_at`` says when again.
    FAILED = "failed"
    DELIVERED = "delivered"
    DEAD = "dead"
    MUTED = "muted"
    #: A later message about the same alert went to this target instead.
    OVERTAKEN = "overtaken"
    #: Called off, by hand or with its rule, before it went out.
    CANCELLED = "cancelled"


class Breaker(StrEnum):
    """Whether a lane's target is tried at all."""

    CLOSED = "closed"
    #: It failed too often in a row: nothing is sent before ``probe_at``.
    OPEN = "open"
    #: One delivery is under way to see whether the target is back.
    HALF_OPEN = "half_open"


event = Table(
    "ml_event_event",
    metadata,
    Column("seq", BigKey, primary_key=True, autoincrement=True),
    Column("id", String(255), nullable=False),
    Column("source", String(512), nullable=False),
    Column("type", String(255), nullable=False),
    Column("subject", String(1024), nullable=False, server_default=""),
    Column("workspace", String(100), nullable=False),
    Column("origin", String(20), nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    # Airflow's UUID of the task try, so that the database itself finds what nobody reported.
    Column("try_uuid", Uuid(), nullable=True),
    # The DAG that it tells of, so that who may not see the DAG does not see the event.
    Column("dag_id", String(250), nullable=True),
    Column("matched_at", UtcDateTime, nullable=True),
    Column("body", LongText, nullable=False),
    UniqueConstraint("id", "source", name="ml_event_event_id_source"),
)
Index("ml_event_event_try", event.c.try_uuid, event.c.type)
Index("ml_event_event_type_time", event.c.type, event.c.time)
Index("ml_event_event_recorded", event.c.recorded_at)
Index("ml_event_event_dag", event.c.dag_id, event.c.seq)
Index(
    "ml_event_event_unmatched",
    event.c.matched_at,
    event.c.workspace,
    event.c.seq,
    postgresql_where=text("matched_at IS NULL"),
    sqlite_where=text("matched_at IS NULL"),
)

# Rules, and what stands beside them: resource groups, calendars, silences, packs. ``kind`` tells which.
definition = Table(
    "ml_event_definition",
    metadata,
    Column("id", BigKey, primary_key=True, autoincrement=True),
    Column("kind", String(20), nullable=False),
    Column("workspace", String(100), nullable=False),
    Column("name", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("managed_by", String(20), nullable=False),
    Column("definition", LongText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("kind", "workspace", "name", name="ml_event_definition_name"),
)

# Every version that a definition ever had; a deleted one ends with a version without a definition.
definition_version = Table(
    "ml_event_definition_version",
    metadata,
    Column("id", BigKey, primary_key=True, autoincrement=True),
    Column("kind", String(20), nullable=False),
    Column("workspace", String(100), nullable=False),
    Column("name", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("change", String(20), nullable=False),
    Column("author", String(200), nullable=False),
    Column("managed_by", String(20), nullable=False),
    Column("definition", LongText, nullable=True),
    Column("changed_at", UtcDateTime, nullable=False),
    UniqueConstraint("kind", "workspace", "name", "version", name="ml_event_definition_version_name"),
)

# What the rules remember between events; ``id`` is a hash of the place. Moments are seconds since 1970, exactly
# as the engine reckons with them.
state = Table(
    "ml_event_state",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("workspace", String(100), nullable=False),
    Column("rule", String(200), nullable=False),
    Column("role", String(20), nullable=False),
    Column("key", String(500), nullable=False),
    Column("body", LongText, nullable=False),
    Column("due_at", Double, nullable=True),
    # Since when an alert lasts.
    Column("open_since", Double, nullable=True),
    # Of an alert: its id, and the DAG of its newest event.
    Column("alert_id", String(36), nullable=True),
    Column("dag_id", String(250), nullable=True),
    Column("updated_at", UtcDateTime, nullable=False),
)
Index("ml_event_state_due", state.c.due_at)
Index("ml_event_state_workspace_due", state.c.workspace, state.c.due_at)
Index("ml_event_state_alert", state.c.alert_id)
Index("ml_event_state_open", state.c.open_since)
Index("ml_event_state_rule", state.c.workspace, state.c.rule)

# Why an event that a rule looked at gave a notification, or gave none.
decision = Table(
    "ml_event_decision",
    metadata,
    Column("id", BigKey, primary_key=True, autoincrement=True),
    Column("event_seq", BigInteger, nullable=True),
    Column("workspace", String(100), nullable=False),
    Column("rule", String(200), nullable=False),
    Column("rule_version", Integer, nullable=False),
    Column("key", String(500), nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("facts", LongText, nullable=False),
    Column("notification_id", String(36), nullable=True),
    Column("decided_at", UtcDateTime, nullable=False),
)
Index("ml_event_decision_event", decision.c.event_seq)
Index("ml_event_decision_time", decision.c.decided_at)

notification = Table(
    "ml_event_notification",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("workspace", String(100), nullable=False),
    Column("rule", String(200), nullable=False),
    Column("rule_version", Integer, nullable=False),
    Column("severity", String(20), nullable=False),
    Column("event_seq", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # fired, repeated, resolved, escalated or flapping.
    Column("kind", String(20), nullable=False, server_default="fired"),
    Column("alert_id", String(36), nullable=False, server_default=""),
    # How many firings it tells of, and JSON: ``facts``, and ``seqs`` where it tells of several events.
    Column("members", Integer, nullable=False, server_default="1"),
    Column("context", LongText, nullable=True),
)
Index("ml_event_notification_event", notification.c.event_seq)

# A target's own share of the dispatchers, and its breaker. Actions in Airflow go by the lane without a ``conn_id``.
lane = Table(
    "ml_event_lane",
    metadata,
    Column("id", BigKey, primary_key=True, autoincrement=True),
    Column("workspace", String(100), nullable=False),
    Column("conn_id", String(250), nullable=False),
    # A word of ``Breaker``; how many attempts failed in a row; since when it is open, and when it is tried again.
    Column("breaker", String(20), nullable=False, server_default="closed"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("opened_at", UtcDateTime, nullable=True),
    Column("probe_at", UtcDateTime, nullable=True),
    # When it closed, until all that failed before has been made due.
    Column("recovered_at", UtcDateTime, nullable=True),
    # Whether its last attempt took long: it gets the slow ones' share.
    Column("slow", Boolean, nullable=False, server_default=false()),
    # What its last failure said.
    Column("code", String(100), nullable=False, server_default=""),
    Column("reason", String(1000), nullable=False, server_default=""),
    Column("delivered_at", UtcDateTime, nullable=True),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("workspace", "conn_id", name="ml_event_lane_target"),
)

delivery = Table(
    "ml_event_delivery",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("notification_id", String(36), nullable=False),
    Column("workspace", String(100), nullable=False, server_default=""),
    Column("conn_id", String(250), nullable=False),
    Column("lane_id", BigInteger, nullable=False, server_default="0"),
    # What it does in Airflow, where it is an action: JSON with ``action`` and ``hops``. Never said from outside.
    Column("action", LongText, nullable=True),
    # What must arrive in order: deliveries of one stream go out by their ordinals, one after the other.
    Column("stream", String(36), nullable=True),
    Column("ordinal", BigInteger, nullable=False, server_default="0"),
    # The one alert that it tells of; what is later told of it overtakes this.
    Column("alert_id", String(36), nullable=False, server_default=""),
    Column("template", String(250), nullable=True),
    Column("options", LongText, nullable=False),
    Column("state", String(20), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=True),
    # When its last attempt failed, where it waits by our own reckoning and not because the remote named a time.
    Column("failed_at", UtcDateTime, nullable=True),
    Column("lease_owner", String(100), nullable=True),
    Column("lease_until", UtcDateTime, nullable=True),
    Column("code", String(100), nullable=False, server_default=""),
    Column("reason", String(1000), nullable=False, server_default=""),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime, nullable=True),
    # Where it goes when this target never took it: JSON.
    Column("fallback", LongText, nullable=True),
)
Index("ml_event_delivery_notification", delivery.c.notification_id)
Index(
    "ml_event_delivery_lane",
    delivery.c.lane_id,
    delivery.c.next_attempt_at,
    postgresql_where=text("state IN ('pending', 'failed', 'leased')"),
    sqlite_where=text("state IN ('pending', 'failed', 'leased')"),
)
Index(
    "ml_event_delivery_stream",
    delivery.c.stream,
    delivery.c.ordinal,
    postgresql_where=text("state IN ('pending', 'failed', 'leased')"),
    sqlite_where=text("state IN ('pending', 'failed', 'leased')"),
)
#: That a delivery has not ended. In constants, so that a prepared statement, too, is served by the indexes above.
UNFINISHED = text("ml_event_delivery.state IN ('pending', 'failed', 'leased')")
Index("ml_event_delivery_state", delivery.c.state, delivery.c.finished_at)

attempt = Table(
    "ml_event_attempt",
    metadata,
    Column("id", BigKey, primary_key=True, autoincrement=True),
    Column("delivery_id", String(36), nullable=False),
    Column("number", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("code", String(100), nullable=False),
    Column("reason", String(1000), nullable=False),
)
Index("ml_event_attempt_delivery", attempt.c.delivery_id)

dispatcher = Table(
    "ml_event_dispatcher",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("hostname", String(250), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("embedded", Boolean, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    # What it knows of itself and its machine: JSON.
    Column("report", LongText, nullable=True),
)

# One row a cursor or single-holder job: how far a table was read, who does a job until when.
cursor = Table(
    "ml_event_cursor",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("holder", String(100), nullable=True),
    Column("held_until", UtcDateTime, nullable=True),
)

# The dag runs that the reconciler has yet to see ended and complete.
watched_run = Table(
    "ml_event_watched_run",
    metadata,
    Column("dag_run_id", BigInteger, primary_key=True, autoincrement=False),
    Column("since", UtcDateTime, nullable=False),
)

# Ranges of ascending keys that a forward reader found missing: their transactions may commit yet.
gap = Table(
    "ml_event_gap",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("upto", BigInteger, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    # PostgreSQL: the first transaction that began after the gap was seen.
    Column("horizon", BigInteger, nullable=True),
)

# What task processes said of how their try ended, until Airflow's own tables say so.
claim = Table(
    "ml_event_claim",
    metadata,
    Column("id", BigKey, primary_key=True, autoincrement=True),
    Column("event_id", String(255), nullable=False),
    Column("source", String(512), nullable=False),
    Column("try_uuid", Uuid(), nullable=False),
    Column("body", LongText, nullable=False),
    Column("claimed_at", UtcDateTime, nullable=False),
    UniqueConstraint("event_id", "source", name="ml_event_claim_event"),
)

# What could not be read, matched or settled and was set aside, so that the rest goes on. ``kind`` tells what
# ``reference`` names: an event by its ``seq``, a state, a delivery.
quarantine = Table(
    "ml_event_quarantine",
    metadata,
    Column("id", BigKey, primary_key=True, autoincrement=True),
    Column("kind", String(20), nullable=False),
    Column("reference", String(255), nullable=False),
    Column("workspace", String(100), nullable=False, server_default=""),
    Column("reason", String(1000), nullable=False),
    Column("set_aside_at", UtcDateTime, nullable=False),
    UniqueConstraint("kind", "reference", name="ml_event_quarantine_reference"),
)
