"""An Airflow of the tests' own: a home in a temporary folder, and databases migrated by Airflow itself."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

# Airflow reads these when it is imported, and a developer's own Airflow must not be touched.
_HOME = tempfile.TemporaryDirectory(prefix="ml-events-tests-")
HOME = Path(_HOME.name)
DEFAULT_DATABASE = f"sqlite:///{HOME}/airflow.db"
JWT_SECRET = "a-secret-of-the-tests-that-is-long-enough-for-hs512-0123456789abcdef"

if "airflow" in sys.modules:
    raise RuntimeError("Airflow was imported before tests/conftest.py could give it a home of its own")
for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
os.environ.update(
    {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": DEFAULT_DATABASE,
        "AIRFLOW__API_AUTH__JWT_SECRET": JWT_SECRET,
        "_AIRFLOW_PROCESS_CONTEXT": "server",
    }
)


@pytest.fixture(autouse=True)
def _fresh_options() -> Iterator[None]:
    """Cached options of ours end with the test, and what was logged once may be logged again."""
    from ml_event_provider import config, troubles

    config.forget()
    troubles.forget()
    yield
    config.forget()


@pytest.fixture(scope="session")
def database_urls() -> Iterator[Databases]:
    """The databases of this session, made when first asked for."""
    with ExitStack() as stack:
        yield Databases(stack)


class Databases:
    """Metadata databases by name, each migrated once."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._urls: dict[str, str] = {}

    def use(self, name: str) -> None:
        """Point this process's Airflow at the database; ``airflow db migrate`` makes it the first time."""
        new = name not in self._urls
        if new:
            self._urls[name] = self._create(name)
        configure_airflow(self._urls[name])
        if new:
            airflow_command("db", "migrate")

    def empty(self, name: str) -> str:
        """The URL of a further database, empty."""
        return self._create(f"{name}-{os.urandom(4).hex()}")

    def _create(self, name: str) -> str:
        if name.startswith("sqlite"):
            return f"sqlite:///{HOME}/{name}.db"
        from lab.postgres import postgres

        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ml-events-pg-"))
        return self._stack.enter_context(postgres(Path(folder) / "data"))


def configure_airflow(url: str) -> None:
    """Point this process's Airflow at a metadata database."""
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = url
    from airflow import settings

    settings.dispose_orm()
    settings.configure_vars()
    settings.configure_orm()


def airflow_command(*arguments: str) -> None:
    """Run ``airflow …`` in this process: starting another costs seconds."""
    from airflow.cli.cli_parser import get_parser

    parsed = get_parser().parse_args(list(arguments))
    parsed.func(parsed)


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def _migrated(request: pytest.FixtureRequest, database_urls: Databases) -> Iterator[str]:
    database_urls.use(request.param)
    yield request.param
    configure_airflow(DEFAULT_DATABASE)


@pytest.fixture
def airflow_db(_migrated: str) -> Iterator[Engine]:
    """Airflow's metadata database, once SQLite and once PostgreSQL; what a test wrote is gone after it."""
    from airflow import settings

    engine = settings.engine
    assert engine is not None
    yield engine
    settings.Session.remove()
    empty_tables(engine)


def empty_tables(engine: Engine) -> None:
    """Delete the rows of our tables and of those of Airflow's that tests write to."""
    from airflow.models.base import metadata as airflow_metadata

    from ml_event_provider.store.schema import metadata

    ours: list[Any] = list(metadata.sorted_tables)
    theirs = [table for table in reversed(airflow_metadata.sorted_tables) if table.name in _WRITTEN]
    with engine.begin() as connection:
        for table in [*ours, *theirs]:
            connection.execute(table.delete())


_WRITTEN = {
    "asset",
    "asset_event",
    "callback",
    "connection",
    "dag",
    "dag_bundle",
    "dag_bundle_team",
    "dag_code",
    "dag_run",
    "dag_tag",
    "dag_version",
    "import_error",
    "log",
    "serialized_dag",
    "task_instance",
    "task_instance_history",
    "team",
}
