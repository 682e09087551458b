"""Many rows at once; where that fails because of one of them, all but that one."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, InternalError, StatementError

from ml_event_provider.store.engine import in_chunks, savepoint, worth_retrying

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Select

T = TypeVar("T")

#: What a row itself can be the reason for: a value that the database refuses or the driver cannot read or write.
_OF_A_ROW = (ValueError, TypeError, OverflowError, RecursionError, DataError, IntegrityError, InterfaceError)


def each(
    connection: Connection,
    items: Sequence[T],
    work: Callable[[Sequence[T]], object],
    spoilt: Callable[[T, Exception], object],
) -> None:
    """Do ``work`` on all items in one go, in a savepoint; where that fails, on halves, down to single ones.

    What fails alone is given to ``spoilt`` with the reason, and all others are done. ``work`` may be done again for an
    item whose first try was rolled back. What is no row's fault (a lost connection, a full disk) is raised.
    """
    if not items:
        return
    try:
        with savepoint(connection):
            work(items)
    except Exception as error:
        if not is_of_a_row(error):
            raise
        if len(items) == 1:
            spoilt(items[0], error)
            return
        middle = len(items) // 2
        each(connection, items[:middle], work, spoilt)
        each(connection, items[middle:], work, spoilt)


def read_each(
    connection: Connection,
    keys: Sequence[T],
    read: Callable[[Sequence[T]], Sequence[Any]],
    spoilt: Callable[[T, Exception], object],
) -> list[Any]:
    """What ``read`` gives for all keys in one go; where that fails, for halves, down to single ones.

    A key whose reading fails alone is given to ``spoilt`` with the reason. What is no row's fault is raised.
    """
    if not keys:
        return []
    try:
        with reading(connection):
            return list(read(keys))
    except Exception as error:
        if not is_of_a_row(error):
            raise
        if len(keys) == 1:
            spoilt(keys[0], error)
            return []
        middle = len(keys) // 2
        return read_each(connection, keys[:middle], read, spoilt) + read_each(connection, keys[middle:], read, spoilt)


def readable_rows(
    connection: Connection, query: Select[Any], key: Any, unreadable: Callable[[Any, Exception], object], **values: Any
) -> list[Any]:
    """The rows of a query in its order, in one statement; where that fails because of one of them, all but that one.

    :param key: the column that names a row.
    :param unreadable: is given the key of a row that cannot be read, and the reason.
    :param values: of the query's parameters.
    """

    def read(keys: Sequence[Any]) -> list[Any]:
        return [row for some in in_chunks(keys) for row in connection.execute(query.where(key.in_(some)), values)]

    try:
        with reading(connection):
            return list(connection.execute(query, values))
    except Exception as error:
        if not is_of_a_row(error):
            raise
    keys = list(connection.execute(query.with_only_columns(key), values).scalars())
    return read_each(connection, keys, read, unreadable)


def reading(connection: Connection) -> AbstractContextManager[object]:
    """A savepoint within which a statement that only reads may fail, and the transaction goes on."""
    # SQLite, where a savepoint would make us the writer, goes on after a statement that failed.
    return nullcontext() if connection.dialect.name == "sqlite" else savepoint(connection)


def json_object(text: str) -> dict[str, Any]:
    """The JSON object that a column holds.

    :raises ValueError: if it is none; so do :class:`TypeError` where it is no text, and :class:`RecursionError`.
    """
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError(f"it is no JSON object: {text[:80]}")
    return document


def is_of_a_row(error: BaseException) -> bool:
    """Whether an error may come from one row's content, rather than from the database's state."""
    if worth_retrying(error):
        return False
    # PostgreSQL calls a damaged page or value an internal error; a value that cannot be bound is a plain
    # StatementError, whatever class the driver gave it.
    return isinstance(error, (*_OF_A_ROW, InternalError)) or type(error) is StatementError


def reason_of(error: BaseException) -> str:
    """The reason in one line that can be stored anywhere."""
    cause: Any = getattr(error, "orig", None) or error
    return storable(f"{type(cause).__name__}: {str(cause).strip().splitlines()[0] if str(cause).strip() else ''}")


def storable(text: str) -> str:
    """A text of at most 1,000 characters that each database takes: no NUL, no half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")[:1000]
