"""Our tables' place in ``airflow db migrate``: Airflow finds this manager through the provider's metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.utils.db_manager import BaseDBManager

from ml_event_provider.store.engine import MYSQL, MYSQL_LIMITS
from ml_event_provider.store.schema import REVISIONS, VERSION_TABLE, metadata

_HERE = Path(__file__).parent


class MlEventDBManager(BaseDBManager):
    """Makes, migrates and drops the ``ml_event_`` tables, with an Alembic version table of its own."""

    metadata = metadata
    version_table_name = VERSION_TABLE
    migration_dir = str(_HERE / "migrations")
    alembic_file = str(_HERE / "alembic.ini")
    supports_table_dropping = True
    revision_heads_map = REVISIONS

    def create_db_from_orm(self) -> None:
        """Make the tables."""
        super().create_db_from_orm()  # type: ignore[no-untyped-call]
        self._tell_limits()

    def upgradedb(self, *args: Any, **options: Any) -> None:
        """Migrate the tables, as Airflow's own does."""
        super().upgradedb(*args, **options)  # type: ignore[no-untyped-call]
        self._tell_limits()

    def _tell_limits(self) -> None:
        if self.session.get_bind().dialect.name in MYSQL:
            self.log.warning("ML Events: %s", MYSQL_LIMITS)

    def downgrade(self, to_revision: str, from_revision: str | None = None, show_sql_only: bool = False) -> None:
        """Downgrade to an Alembic revision (``base``: no tables at all)."""
        from alembic import command

        self.log.info("Downgrading the ML Events tables to %s", to_revision)
        revision = f"{from_revision}:{to_revision}" if from_revision else to_revision
        alembic = self.get_alembic_config()  # type: ignore[no-untyped-call]
        command.downgrade(alembic, revision=revision, sql=show_sql_only)
