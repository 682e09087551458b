"""Our tables' place in ``airflow db migrate``: Airflow finds this manager through the provider's metadata."""

from __future__ import annotations

from pathlib import Path

from airflow.utils.db_manager import BaseDBManager

from ml_event_provider.store.schema import metadata

_HERE = Path(__file__).parent


class MlEventDBManager(BaseDBManager):
    """Makes, migrates and drops the ``ml_event_`` tables, with an Alembic version table of its own."""

    metadata = metadata
    version_table_name = "ml_event_alembic_version"
    migration_dir = str(_HERE / "migrations")
    alembic_file = str(_HERE / "alembic.ini")
    supports_table_dropping = True
    revision_heads_map = {"0.1.0": "0001", "0.2.0": "0002", "0.3.0": "0003"}  # noqa: RUF012 - the base class declares a plain dict

    def downgrade(self, to_revision: str, from_revision: str | None = None, show_sql_only: bool = False) -> None:
        """Downgrade to an Alembic revision (``base``: no tables at all)."""
        from alembic import command

        self.log.info("Downgrading the ML Events tables to %s", to_revision)
        revision = f"{from_revision}:{to_revision}" if from_revision else to_revision
        alembic = self.get_alembic_config()  # type: ignore[no-untyped-call]
        command.downgrade(alembic, revision=revision, sql=show_sql_only)
