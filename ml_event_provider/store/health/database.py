"""What this database cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_event_provider.store.engine import MYSQL, MYSQL_LIMITS
from ml_event_provider.store.health.finding import Finding

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


def check(connection: Connection, moment: datetime) -> Finding:
    """The limits of MySQL and MariaDB."""
    return Finding(notices=[MYSQL_LIMITS] if connection.dialect.name in MYSQL else [])
