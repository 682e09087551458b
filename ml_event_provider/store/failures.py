"""What an error of the database means to the person who meets it."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ml_event_provider.store import migration
from ml_event_provider.store.engine import engine, schema_differs, worth_retrying
from ml_event_provider.troubles import first_line

#: How databases say that the user, or the server, does not let one write or read.
_NOT_ALLOWED: Final = ("permission denied", "read-only", "readonly", "command denied", "access denied for user")
_BUSY: Final = ("locked", "busy", "deadlock", "lock timeout", "lock wait", "could not serialize")


def in_words(error: BaseException) -> str:
    """What the error means and what to do, on one line; empty for what is no error of the database."""
    if not isinstance(error, DBAPIError | PoolTimeout):
        return ""
    line = first_line(error.orig) if isinstance(error, DBAPIError) and error.orig is not None else first_line(error)
    lower = line.lower()
    if schema_differs(error):
        return _remedy() or f"the tables of ML events are of another version ({line}): run `airflow db migrate`"
    if any(words in lower for words in _NOT_ALLOWED):
        return (
            f"the database does not allow it ({line}): the user in [database] sql_alchemy_conn must be able to read and"
            " write the ml_event_ tables; no replica will do"
        )
    if any(words in lower for words in _BUSY):
        return f"the database is busy ({line}): do the same again"
    if isinstance(error, PoolTimeout) or worth_retrying(error) or "unable to open" in lower:
        return f"the database cannot be reached ({line}): see [database] sql_alchemy_conn, and whether it runs there"
    return f"the database refuses it ({line})"


def _remedy() -> str:
    """What is to be done about the tables; empty if that cannot be told either."""
    try:
        with engine().connect() as connection:
            return migration.standing(connection).remedy
    except SQLAlchemyError:
        return ""
