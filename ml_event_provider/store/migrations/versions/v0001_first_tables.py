"""The first tables: events, rules, notifications, deliveries, attempts, dispatchers, cursors.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from airflow.utils.sqlalchemy import UtcDateTime
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LONG_TEXT = sa.Text(16_777_215).with_variant(sa.Text(), "postgresql", "sqlite")


def upgrade() -> None:
    op.create_table(
        "ml_event_attempt",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("delivery_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("code", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.String(length=1000), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ml_event_attempt_delivery", "ml_event_attempt", ["delivery_id"], unique=False)
    op.create_table(
        "ml_event_cursor",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("holder", sa.String(length=100), nullable=True),
        sa.Column("held_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "ml_event_delivery",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("notification_id", sa.String(length=36), nullable=False),
        sa.Column("conn_id", sa.String(length=250), nullable=False),
        sa.Column("template", sa.String(length=250), nullable=True),
        sa.Column("options", LONG_TEXT, nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=True),
        sa.Column("lease_owner", sa.String(length=100), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("code", sa.String(length=100), server_default="", nullable=False),
        sa.Column("reason", sa.String(length=1000), server_default="", nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ml_event_delivery_due",
        "ml_event_delivery",
        ["state", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending', 'failed', 'leased')"),
        sqlite_where=sa.text("state IN ('pending', 'failed', 'leased')"),
    )
    op.create_index("ml_event_delivery_notification", "ml_event_delivery", ["notification_id"], unique=False)
    op.create_index("ml_event_delivery_state", "ml_event_delivery", ["state", "finished_at"], unique=False)
    op.create_table(
        "ml_event_dispatcher",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("hostname", sa.String(length=250), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("embedded", sa.Boolean(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("heartbeat_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "ml_event_event",
        sa.Column("seq", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("source", sa.String(length=512), nullable=False),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("workspace", sa.String(length=100), nullable=False),
        sa.Column("origin", sa.String(length=20), nullable=False),
        sa.Column("time", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("try_uuid", sa.Uuid(), nullable=True),
        sa.Column("matched_at", UtcDateTime(), nullable=True),
        sa.Column("body", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id", "source", name="ml_event_event_id_source"),
    )
    op.create_index("ml_event_event_recorded", "ml_event_event", ["recorded_at"], unique=False)
    op.create_index("ml_event_event_try", "ml_event_event", ["try_uuid", "type"], unique=False)
    op.create_index("ml_event_event_type_time", "ml_event_event", ["type", "time"], unique=False)
    op.create_index(
        "ml_event_event_unmatched",
        "ml_event_event",
        ["matched_at", "seq"],
        unique=False,
        postgresql_where=sa.text("matched_at IS NULL"),
        sqlite_where=sa.text("matched_at IS NULL"),
    )
    op.create_table(
        "ml_event_notification",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workspace", sa.String(length=100), nullable=False),
        sa.Column("rule", sa.String(length=200), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("severity", sa.String(length=20), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ml_event_notification_event", "ml_event_notification", ["event_seq"], unique=False)
    op.create_table(
        "ml_event_rule",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("workspace", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("managed_by", sa.String(length=20), nullable=False),
        sa.Column("definition", LONG_TEXT, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("workspace", "name", name="ml_event_rule_name"),
    )
    op.create_table(
        "ml_event_watched_run",
        sa.Column("dag_run_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("dag_run_id"),
    )


def downgrade() -> None:
    for table in (
        "ml_event_watched_run",
        "ml_event_rule",
        "ml_event_notification",
        "ml_event_event",
        "ml_event_dispatcher",
        "ml_event_delivery",
        "ml_event_cursor",
        "ml_event_attempt",
    ):
        op.drop_table(table)
