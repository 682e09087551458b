"""Connections to Airflow's metadata database, and what differs between the three databases."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError, StatementError

from ml_event_provider.events.strict_json import SURROGATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine, Table


def engine() -> Engine:
    """Airflow's engine of this process."""
    from airflow import settings

    if settings.engine is None:
        settings.configure_orm()
    if settings.engine is None:
        raise RuntimeError("Airflow's metadata database is not configured in this process")
    return settings.engine


#: What goes wrong in the database, or on the way to it.
DATABASE_ERROR: Final = SQLAlchemyError
#: The dialects whose deadlocks roll back whole transactions, savepoints or not.
MYSQL = frozenset({"mysql", "mariadb"})
#: What users of these have to know.
MYSQL_LIMITS = (
    "on MySQL and MariaDB nothing is recorded within Airflow's own transactions, because a deadlock there would undo"
    " Airflow's work: starts of dag runs are not told of, and their ends by the reconciler, some seconds later. For"
    " production take PostgreSQL"
)
#: How long a transaction of ours may stand idle before PostgreSQL ends its session and frees its locks, in seconds.
#: A process that is frozen in a transaction, or whose machine is gone, holds up the others no longer than this.
IDLE_SECONDS = 15
#: How long a statement of ours waits for a lock, in seconds.
LOCK_SECONDS = 10

#: Each transaction begins with this on PostgreSQL: bounds, and times in UTC, in which each moment that can be stored
#: can be read back. All of it ends with the transaction, so that it holds behind a pooler, too. It tells the time.
_BEGIN_POSTGRESQL = (
    "SELECT clock_timestamp() AT TIME ZONE 'UTC', set_config('TimeZone', 'UTC', true),"
    f" set_config('idle_in_transaction_session_timeout', '{IDLE_SECONDS}s', true),"
    f" set_config('lock_timeout', '{LOCK_SECONDS}s', true),"
    " set_config('application_name', %(name)s, true)"
)
#: Under this a session keeps what its clock said when its transaction began, and when that was by ours.
_BEGAN = "ml_events_began"
#: For so long what a session's clock said is reckoned on, in seconds.
_RECKONED_SECONDS = 1.0
_application = "ml-events"


def call_ourselves(name: str) -> None:
    """Under what name the database lists this process's sessions (``pg_stat_activity``), after ``ml-events``."""
    global _application
    _application = f"ml-events {name}"[:63]


@contextmanager
def transaction() -> Iterator[Connection]:
    """A connection and a transaction that commits at the end, or rolls back on an error.

    On PostgreSQL it is bounded: see ``IDLE_SECONDS`` and ``LOCK_SECONDS``.
    """
    with engine().begin() as connection:
        if connection.dialect.name == "postgresql":
            # Straight to the driver: this runs before each of our transactions.
            moment = connection.exec_driver_sql(_BEGIN_POSTGRESQL, {"name": _application}).scalar_one()
            connection.info[_BEGAN] = (moment.replace(tzinfo=UTC), time.monotonic())
        yield connection


def database_now(connection: Connection) -> datetime:
    """The present moment by the clock that all who use this database share: the database's.

    SQLite has none of its own; whoever uses it is on this machine.
    """
    began: tuple[datetime, float] | None = connection.info.get(_BEGAN)
    if began is not None and (passed := time.monotonic() - began[1]) < _RECKONED_SECONDS:
        return began[0] + timedelta(seconds=passed)
    match connection.dialect.name:
        case "postgresql":
            moment = connection.execute(text("SELECT clock_timestamp() AT TIME ZONE 'UTC'")).scalar_one()
        case "mysql" | "mariadb":
            moment = connection.execute(text("SELECT UTC_TIMESTAMP(6)")).scalar_one()
        case _:
            return utc_now()
    found: datetime = moment.replace(tzinfo=UTC)
    return found


def shared_now() -> datetime:
    """:func:`database_now` for who has no transaction at hand."""
    with transaction() as connection:
        return database_now(connection)


def become_writer(connection: Connection) -> None:
    """Open SQLite's transaction as its only writer; the other databases have opened theirs and lock rows.

    SQLite's driver opens a transaction only before a writing statement (docs.python.org, ``sqlite3``,
    "Transaction control"): what was read before may have changed until then, and a savepoint would be
    committed at its end.
    """
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def savepoint(connection: Connection) -> Iterator[Connection]:
    """A savepoint within the connection's transaction."""
    become_writer(connection)
    with connection.begin_nested():
        yield connection


def utc_now() -> datetime:
    """The present moment by this machine's clock. What dispatchers share goes by :func:`database_now`."""
    return datetime.now(UTC)


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose unique keys are new; leave the others as they are."""
    if rows:
        connection.execute(_insert_ignoring(connection.dialect.name, table), list(rows))


def insert_new_one(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert one row unless its unique key exists; say whether it was new."""
    return connection.execute(_insert_ignoring(connection.dialect.name, table), dict(row)).rowcount == 1


@cache
def _insert_ignoring(dialect: str, table: Table) -> Any:
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        return postgresql_insert(table).on_conflict_do_nothing()
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects.mysql import insert as mysql_insert

    return mysql_insert(table).prefix_with("IGNORE")


def can_skip_locked(connection: Connection) -> bool:
    """Whether ``FOR UPDATE SKIP LOCKED`` works; SQLite has one writer at a time (:func:`become_writer`)."""
    return connection.dialect.name != "sqlite"


def worth_retrying(error: BaseException) -> bool:
    """Whether a database error may be gone at the next try: locked, deadlock, connection lost."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if not isinstance(error, OperationalError):
        return False
    # SQLite calls a wrong statement an OperationalError too; only a lock passes.
    return not str(error).startswith("(sqlite3.") or "locked" in str(error) or "busy" in str(error)


def refuses(error: BaseException) -> bool:
    """Whether the database, or its driver, refuses what a row itself holds: it would again at each try."""
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        # SQLAlchemy's own, around what a value's conversion raised.
        return True
    return isinstance(error, DataError | IntegrityError | ValueError | TypeError | OverflowError)


_OTHER_SCHEMA = (
    "no such table",
    "no such column",
    "has no column",
    "does not exist",
    "doesn't exist",
    "Unknown column",
)


def schema_differs(error: BaseException) -> bool:
    """Whether a statement failed because our tables are missing, or are those of another version."""
    if not isinstance(error, DBAPIError) or "ml_event_" not in (error.statement or ""):
        return False
    words = str(error).splitlines()[0]
    return any(said in words for said in _OTHER_SCHEMA)


def storable(text: str) -> bool:
    """Whether every database can hold this text: PostgreSQL's know no NUL, and UTF-8 no half of a surrogate pair."""
    return "\0" not in text and not SURROGATE.search(text)


def in_chunks(values: Iterable[Any], size: int = 500) -> Iterator[list[Any]]:
    """Lists of at most ``size`` values, for ``IN`` clauses that every database takes."""
    chunk: list[Any] = []
    for value in values:
        chunk.append(value)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
