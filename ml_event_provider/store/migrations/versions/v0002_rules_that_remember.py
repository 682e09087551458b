"""Definitions of all kinds with their versions, in place of rules; states and decisions; notifications of alerts.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from airflow.utils.sqlalchemy import UtcDateTime
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LONG_TEXT = sa.Text(16_777_215).with_variant(sa.Text(), "postgresql", "sqlite")
COPIED = ("workspace", "name", "version", "enabled", "managed_by", "definition", "created_at", "updated_at")
NOTED = ("workspace", "name", "version", "change", "author", "managed_by", "definition", "changed_at")


def table(name: str, *columns: str) -> sa.TableClause:
    """A table for statements; SQLAlchemy quotes names that are words of a database's SQL."""
    return sa.table(name, *(sa.column(column) for column in columns))


RULES = table("ml_event_rule", *COPIED)
DEFINITIONS = table("ml_event_definition", "kind", *COPIED)
VERSIONS = table("ml_event_definition_version", "kind", *NOTED)
# As it stands in SQL, so that the statements are whole where they are only shown.
RULE = sa.literal_column("'rule'")


def upgrade() -> None:
    op.create_table(
        "ml_event_definition",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("workspace", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("managed_by", sa.String(length=20), nullable=False),
        sa.Column("definition", LONG_TEXT, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "workspace", "name", name="ml_event_definition_name"),
    )
    op.create_table(
        "ml_event_definition_version",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("workspace", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("change", sa.String(length=20), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("managed_by", sa.String(length=20), nullable=False),
        sa.Column("definition", LONG_TEXT, nullable=True),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "workspace", "name", "version", name="ml_event_definition_version_name"),
    )
    op.create_table(
        "ml_event_state",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workspace", sa.String(length=100), nullable=False),
        sa.Column("rule", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=500), nullable=False),
        sa.Column("body", LONG_TEXT, nullable=False),
        sa.Column("due_at", sa.Double(), nullable=True),
        sa.Column("open_since", sa.Double(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ml_event_state_due", "ml_event_state", ["due_at"], unique=False)
    op.create_index("ml_event_state_open", "ml_event_state", ["open_since"], unique=False)
    op.create_index("ml_event_state_rule", "ml_event_state", ["workspace", "rule"], unique=False)
    op.create_table(
        "ml_event_decision",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=True),
        sa.Column("workspace", sa.String(length=100), nullable=False),
        sa.Column("rule", sa.String(length=200), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=500), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("facts", LONG_TEXT, nullable=False),
        sa.Column("notification_id", sa.String(length=36), nullable=True),
        sa.Column("decided_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ml_event_decision_event", "ml_event_decision", ["event_seq"], unique=False)
    op.create_index("ml_event_decision_time", "ml_event_decision", ["decided_at"], unique=False)
    op.add_column(
        "ml_event_notification", sa.Column("kind", sa.String(length=20), server_default="fired", nullable=False)
    )
    op.add_column(
        "ml_event_notification", sa.Column("alert_id", sa.String(length=36), server_default="", nullable=False)
    )
    op.add_column("ml_event_notification", sa.Column("members", sa.Integer(), server_default="1", nullable=False))
    op.add_column("ml_event_notification", sa.Column("context", LONG_TEXT, nullable=True))
    op.add_column("ml_event_delivery", sa.Column("fallback", LONG_TEXT, nullable=True))
    rule = RULES.c
    op.execute(DEFINITIONS.insert().from_select(["kind", *COPIED], sa.select(RULE, *rule)))
    created = {
        "change": sa.literal_column("'created'"),
        "author": sa.literal_column("''"),
        "changed_at": rule.updated_at,
    }
    noted = [created[name] if name in created else rule[name] for name in NOTED]
    op.execute(VERSIONS.insert().from_select(["kind", *NOTED], sa.select(RULE, *noted)))
    op.drop_table("ml_event_rule")


def downgrade() -> None:
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
    kept = sa.select(*(DEFINITIONS.c[name] for name in COPIED)).where(DEFINITIONS.c.kind == RULE)
    op.execute(RULES.insert().from_select(COPIED, kept))
    op.drop_column("ml_event_delivery", "fallback")
    for column in ("context", "members", "alert_id", "kind"):
        op.drop_column("ml_event_notification", column)
    for table in ("ml_event_decision", "ml_event_state", "ml_event_definition_version", "ml_event_definition"):
        op.drop_table(table)
