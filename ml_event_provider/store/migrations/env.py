"""Runs the migrations on Airflow's metadata database, online or as SQL text."""

from __future__ import annotations

import contextlib
from typing import Any

from airflow import settings
from alembic import context

from ml_event_provider.store.engine import engine
from ml_event_provider.store.manager import MlEventDBManager

_OPTIONS: dict[str, Any] = {
    "target_metadata": MlEventDBManager.metadata,
    "version_table": MlEventDBManager.version_table_name,
    "compare_type": True,
    "render_as_batch": True,
}


def _only_ours(_object: object, name: str | None, kind: str, *_: object) -> bool:
    return kind != "table" or name in MlEventDBManager.metadata.tables


def run_migrations_offline() -> None:
    """Print the migrations as SQL."""
    context.configure(url=settings.SQL_ALCHEMY_CONN, literal_binds=True, include_object=_only_ours, **_OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online() -> None:
    """Run the migrations on Airflow's connection, or on one of our own."""
    with contextlib.ExitStack() as stack:
        connection = context.config.attributes.get("connection")
        if connection is None:
            connection = stack.enter_context(engine().connect())
        context.configure(
            connection=connection,
            transaction_per_migration=True,
            include_object=_only_ours,
            **_OPTIONS,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
