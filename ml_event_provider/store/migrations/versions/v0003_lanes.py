"""Lanes with breakers, streams in order, actions apart from targets; gaps, quarantine, what dispatchers report.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from airflow.utils.sqlalchemy import UtcDateTime
from alembic import op

log = logging.getLogger(__name__)

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LONG_TEXT = sa.Text(16_777_215).with_variant(sa.Text(), "postgresql", "sqlite")
UNMATCHED = sa.text("matched_at IS NULL")
UNFINISHED = sa.text("state IN ('pending', 'failed', 'leased')")
#: How many events are read in one go.
BATCH = 2_000


def upgrade() -> None:
    op.create_table(
        "ml_event_lane",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("workspace", sa.String(length=100), nullable=False),
        sa.Column("conn_id", sa.String(length=250), nullable=False),
        sa.Column("breaker", sa.String(length=20), server_default="closed", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=True),
        sa.Column("probe_at", UtcDateTime(), nullable=True),
        sa.Column("recovered_at", UtcDateTime(), nullable=True),
        sa.Column("slow", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("code", sa.String(length=100), server_default="", nullable=False),
        sa.Column("reason", sa.String(length=1000), server_default="", nullable=False),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("workspace", "conn_id", name="ml_event_lane_target"),
    )
    op.create_table(
        "ml_event_gap",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("upto", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("horizon", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", "position"),
    )
    op.create_table(
        "ml_event_claim",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("source", sa.String(length=512), nullable=False),
        sa.Column("try_uuid", sa.Uuid(), nullable=False),
        sa.Column("body", LONG_TEXT, nullable=False),
        sa.Column("claimed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("event_id", "source", name="ml_event_claim_event"),
    )
    op.create_table(
        "ml_event_quarantine",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("reference", sa.String(length=255), nullable=False),
        sa.Column("workspace", sa.String(length=100), server_default="", nullable=False),
        sa.Column("reason", sa.String(length=1000), nullable=False),
        sa.Column("set_aside_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "reference", name="ml_event_quarantine_reference"),
    )
    op.add_column("ml_event_event", sa.Column("dag_id", sa.String(length=250), nullable=True))
    if not op.get_context().as_sql:
        _fill_dags()
    op.create_index("ml_event_event_dag", "ml_event_event", ["dag_id", "seq"])
    op.drop_index("ml_event_event_unmatched", "ml_event_event")
    op.create_index(
        "ml_event_event_unmatched",
        "ml_event_event",
        ["matched_at", "workspace", "seq"],
        postgresql_where=UNMATCHED,
        sqlite_where=UNMATCHED,
    )
    op.add_column("ml_event_state", sa.Column("alert_id", sa.String(length=36), nullable=True))
    op.add_column("ml_event_state", sa.Column("dag_id", sa.String(length=250), nullable=True))
    if not op.get_context().as_sql:
        _fill_alerts()
    op.create_index("ml_event_state_workspace_due", "ml_event_state", ["workspace", "due_at"])
    op.create_index("ml_event_state_alert", "ml_event_state", ["alert_id"])
    op.add_column("ml_event_dispatcher", sa.Column("report", LONG_TEXT, nullable=True))
    _upgrade_deliveries()


def _as_stored(connection: sa.Connection, body: sa.ColumnClause[str]) -> sa.ColumnElement[Any]:
    """A body to be read row by row: SQLite takes any bytes for text, and one row of no text would end the query."""
    if connection.dialect.name == "sqlite":
        return sa.cast(body, sa.LargeBinary).label(body.name)
    return body


def _fill_dags() -> None:
    """Write beside each event the DAG that it tells of. One whose body cannot be read stays without."""
    event = sa.table("ml_event_event", sa.column("seq"), sa.column("body"), sa.column("dag_id"))
    connection = op.get_bind()
    body = _as_stored(connection, event.c.body)
    position = -1
    while True:
        query = sa.select(event.c.seq, body).where(event.c.seq > position).order_by(event.c.seq).limit(BATCH)
        rows = connection.execute(query).all()
        if not rows:
            return
        position = rows[-1].seq
        by_dag: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            dag_id = _dag_of(row.seq, row.body)
            if dag_id:
                by_dag[dag_id].append(row.seq)
        for dag_id, seqs in by_dag.items():
            connection.execute(sa.update(event).where(event.c.seq.in_(seqs)).values(dag_id=dag_id))


def _dag_of(seq: int, body: str | bytes) -> str | None:
    try:
        data = json.loads(body)["data"]
        dag_id = data.get("dag_id") or data.get("source_dag_id")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        log.warning("Event %d cannot be read (%s): it is kept, and belongs to no DAG", seq, error)
        return None
    if not isinstance(dag_id, str):
        return None
    # What PostgreSQL and UTF-8 cannot hold.
    return dag_id.replace("\0", "\ufffd").encode(errors="replace").decode()[:250]


def _fill_alerts() -> None:
    """Write beside each alert that lasts its id, and the DAG of its newest event."""
    names = ("id", "body", "open_since", "alert_id", "dag_id")
    state = sa.table("ml_event_state", *map(sa.column, names))
    event = sa.table("ml_event_event", sa.column("seq"), sa.column("dag_id"))
    connection = op.get_bind()
    query = sa.select(state.c.id, _as_stored(connection, state.c.body)).where(state.c.open_since.is_not(None))
    for row in connection.execute(query).all():
        try:
            alert_id, seq = _alert_of(json.loads(row.body))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            log.warning("The state %s of an alert cannot be read (%s): it is kept as it is", row.id, error)
            continue
        dag_id = None
        if seq is not None:
            dag_id = connection.execute(sa.select(event.c.dag_id).where(event.c.seq == seq)).scalar()
        changed = sa.update(state).where(state.c.id == row.id)
        connection.execute(changed.values(alert_id=alert_id, dag_id=dag_id))


def _alert_of(body: dict[str, Any]) -> tuple[str, int | None]:
    """An alert's id, and the place of its newest event if it has one."""
    alert_id, seq = body["id"], body.get("seq")
    if not isinstance(alert_id, str) or len(alert_id) > 36 or "\0" in alert_id:
        raise ValueError("its id is none")
    return alert_id, seq if isinstance(seq, int) and 0 <= seq < 2**63 else None


def _upgrade_deliveries() -> None:
    delivery = "ml_event_delivery"
    op.add_column(delivery, sa.Column("workspace", sa.String(length=100), server_default="", nullable=False))
    op.add_column(delivery, sa.Column("lane_id", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column(delivery, sa.Column("action", LONG_TEXT, nullable=True))
    op.add_column(delivery, sa.Column("stream", sa.String(length=36), nullable=True))
    op.add_column(delivery, sa.Column("ordinal", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column(delivery, sa.Column("alert_id", sa.String(length=36), server_default="", nullable=False))
    op.add_column(delivery, sa.Column("failed_at", UtcDateTime(), nullable=True))
    # What a rule does in Airflow was marked by a connection's name; a direct notification has no rule's version.
    op.execute(
        "UPDATE ml_event_delivery SET action = options, options = '{}', conn_id = '' WHERE conn_id = 'airflow'"
        """ AND options LIKE '%"action"%' AND notification_id IN"""
        " (SELECT id FROM ml_event_notification WHERE rule_version > 0)"
    )
    op.execute(
        "UPDATE ml_event_delivery SET workspace = COALESCE((SELECT n.workspace FROM ml_event_notification n"
        " WHERE n.id = ml_event_delivery.notification_id), '')"
    )
    op.execute(
        "INSERT INTO ml_event_lane (workspace, conn_id, updated_at)"
        " SELECT workspace, conn_id, MAX(created_at) FROM ml_event_delivery GROUP BY workspace, conn_id"
    )
    op.execute(
        "UPDATE ml_event_delivery SET lane_id = (SELECT l.id FROM ml_event_lane l"
        " WHERE l.workspace = ml_event_delivery.workspace AND l.conn_id = ml_event_delivery.conn_id)"
    )
    op.drop_index("ml_event_delivery_due", delivery)
    # A lease's end is when its delivery is due again.
    op.execute("UPDATE ml_event_delivery SET next_attempt_at = lease_until WHERE state = 'leased'")
    unfinished = {"postgresql_where": UNFINISHED, "sqlite_where": UNFINISHED}
    op.create_index("ml_event_delivery_lane", delivery, ["lane_id", "next_attempt_at"], **unfinished)
    op.create_index("ml_event_delivery_stream", delivery, ["stream", "ordinal"], **unfinished)


def downgrade() -> None:
    _downgrade_deliveries()
    op.drop_column("ml_event_dispatcher", "report")
    op.drop_index("ml_event_state_alert", "ml_event_state")
    op.drop_index("ml_event_state_workspace_due", "ml_event_state")
    op.drop_column("ml_event_state", "dag_id")
    op.drop_column("ml_event_state", "alert_id")
    op.drop_index("ml_event_event_unmatched", "ml_event_event")
    op.create_index(
        "ml_event_event_unmatched",
        "ml_event_event",
        ["matched_at", "seq"],
        postgresql_where=UNMATCHED,
        sqlite_where=UNMATCHED,
    )
    op.drop_index("ml_event_event_dag", "ml_event_event")
    op.drop_column("ml_event_event", "dag_id")
    for table in ("ml_event_quarantine", "ml_event_claim", "ml_event_gap", "ml_event_lane"):
        op.drop_table(table)


def _downgrade_deliveries() -> None:
    delivery = "ml_event_delivery"
    for index in ("ml_event_delivery_stream", "ml_event_delivery_lane"):
        op.drop_index(index, delivery)
    op.create_index(
        "ml_event_delivery_due",
        delivery,
        ["state", "next_attempt_at"],
        postgresql_where=UNFINISHED,
        sqlite_where=UNFINISHED,
    )
    op.execute("UPDATE ml_event_delivery SET options = action, conn_id = 'airflow' WHERE action IS NOT NULL")
    op.execute("UPDATE ml_event_delivery SET state = 'muted' WHERE state IN ('overtaken', 'cancelled')")
    for column in ("failed_at", "alert_id", "ordinal", "stream", "action", "lane_id", "workspace"):
        op.drop_column(delivery, column)
