"""A database whose statements fail, one after the other."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine


@contextmanager
def before_each(engine: Engine, look: Callable[[Any, str], None]) -> Iterator[None]:
    """Call ``look`` with the connection and the text of each statement before it is executed."""

    def listen(connection: Any, _: Any, statement: str, *__: Any) -> None:
        look(connection, statement)

    sqlalchemy_event.listen(engine, "before_cursor_execute", listen)
    try:
        yield
    finally:
        sqlalchemy_event.remove(engine, "before_cursor_execute", listen)


class Failing:
    """Fails the statement of a number, the first is 0; counts them."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = 0

    def __call__(self, _: Any, statement: str) -> None:
        self.seen += 1
        if self.seen == self.number + 1:
            raise OperationalError(statement, {}, RuntimeError("the server closed the connection unexpectedly"))


def each_failing(engine: Engine, work: Callable[[], object]) -> Iterator[int]:
    """Do ``work`` with its first statement failing, then with its second, until none is left to fail; yields after
    each failure."""
    number = 0
    while True:
        failing = Failing(number)
        with before_each(engine, failing):
            try:
                work()
            except OperationalError:
                assert failing.seen > number
            else:
                # It failed and was swallowed, or there were not so many.
                assert failing.seen <= number, "an error was swallowed"
                return
        yield number
        number += 1
