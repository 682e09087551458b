"""What one rendering may use: steps, time and size; and the functions that keep to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import chain
from types import NoneType
from typing import Any

from ml_event_provider.exceptions import LimitReached, TemplateProblem
from ml_event_provider.messages.plain import text_of

MAX_STEPS = 100_000
#: A call takes about ten times as long as a turn of a loop.
STEPS_OF_A_CALL = 10
MAX_RANGE = 10_000
#: Characters in a text; items and characters in a container, counted as often as they would be printed.
MAX_SIZE = 1_000_000
MAX_INTEGER_BITS = 4096
#: The clock is read so often: a step takes about a microsecond, the clock half of one.
_STEPS_BETWEEN_LOOKS = 100
#: What counts as one thing, whatever it is.
_SINGLE = frozenset({int, float, bool, NoneType})
_CONTAINERS = (list, tuple, set, frozenset)
_WEIGHED = (str, list, tuple, dict)
#: What needs no slow question whether it is a mapping.
_ATOMS = (int, float, NoneType, *_CONTAINERS)
#: Characters that cost no step.
_NOTHING_MUCH = 1000
#: A template's source, and what of it stands between braces, in characters. Compiling takes a millisecond for each 100
#: characters of that, and is done once.
MAX_SOURCE = 200_000
MAX_CODE = 30_000


@dataclass(slots=True)
class Budget:
    """What one rendering may use, and what it noticed.

    ``seconds`` are of processor time of this thread: one that waits while others work is not slow.
    """

    seconds: float
    clock: Callable[[], float] = time.thread_time
    #: Show missing values as a dash and do not report them (the built-in templates).
    lenient: bool = False
    missing: dict[str, None] = field(default_factory=dict)
    steps: int = 0
    #: At how many steps the clock is read again.
    looks_at: int = _STEPS_BETWEEN_LOOKS
    deadline: float = 0.0

    def __post_init__(self) -> None:
        self.deadline = self.clock() + self.seconds

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """For what is done once and not in each message: the time that it takes is given back."""
        before = self.clock()
        try:
            yield
        finally:
            self.deadline += self.clock() - before

    def step(self, count: int = 1) -> None:
        """Count work.

        :raises LimitReached: if it is too much, or has taken too long.
        """
        self.steps += count
        if self.steps >= self.looks_at:
            self._look()

    def _look(self) -> None:
        if self.steps > MAX_STEPS:
            raise LimitReached(f"does more than {MAX_STEPS:,} steps: loop over fewer things")
        if self.clock() > self.deadline:
            raise LimitReached(f"takes longer than {self.seconds:g} seconds: make it simpler")
        self.looks_at = self.steps + _STEPS_BETWEEN_LOOKS


BUDGET: ContextVar[Budget | None] = ContextVar("ml_event_message_budget", default=None)


@contextmanager
def spending(budget: Budget) -> Iterator[Budget]:
    """Make ``budget`` the one that the work of this thread is counted on."""
    token = BUDGET.set(budget)
    try:
        yield budget
    finally:
        BUDGET.reset(token)


def step(count: int = 1) -> None:
    """Count work on the budget of the rendering that is going on, if one is."""
    budget = BUDGET.get()
    if budget is not None:
        budget.step(count)


def steps(values: Any) -> Iterator[Any]:
    """What a loop iterates: counted, and empty where there is nothing."""
    for item in () if values is None else values:
        step()
        yield item


def weight(value: Any, room: int = MAX_SIZE) -> int:
    """How much there is to print in a value; it stops counting soon after ``room``."""
    if isinstance(value, str):
        return len(value) + 1
    if isinstance(value, dict) or (not isinstance(value, _ATOMS) and isinstance(value, Mapping)):
        # Each pair counts as one more thing.
        parts: Iterable[Any] = chain.from_iterable(value.items())
        total = 1 + len(value)
    elif isinstance(value, _CONTAINERS):
        parts, total = value, 1
    else:
        return 1
    for item in parts:
        # Nearly everything, without a call for each.
        kind = type(item)
        if kind is str:
            total += len(item) + 1
        elif kind in _SINGLE:
            total += 1
        else:
            total += weight(item, room - total)
        if total > room:
            break
    return total


def check_size(size: int) -> None:
    """Refuse a text or container that is too large.

    :raises LimitReached: if it is.
    """
    if size > MAX_SIZE:
        raise LimitReached(f"makes a value of more than {MAX_SIZE:,} characters: make less of it")


def checked(value: Any) -> Any:
    """``value``, if it is not too large.

    :raises LimitReached: if it is.
    """
    if isinstance(value, str) and len(value) < _NOTHING_MUCH:
        # Nearly everything.
        return value
    if isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise LimitReached(f"makes a number of more than {MAX_INTEGER_BITS} bits")
    elif isinstance(value, _WEIGHED) or (not isinstance(value, _ATOMS) and isinstance(value, Mapping)):
        found = weight(value)
        check_size(found)
        if found > _NOTHING_MUCH:
            step(found // _NOTHING_MUCH)
    return value


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Refuse what would make very much of little before it does.

    :raises LimitReached: if it would.
    """
    if operator == "%" and isinstance(left, str):
        raise TemplateProblem("uses '%' on a text: join texts with '~'")
    if operator == "**" and isinstance(left, int) and isinstance(right, int):
        if left.bit_length() * right > MAX_INTEGER_BITS:
            raise LimitReached(f"makes a number of more than {MAX_INTEGER_BITS} bits")
    elif operator == "*":
        for values, count in ((left, right), (right, left)):
            if isinstance(values, str | list | tuple) and isinstance(count, int):
                check_size(weight(values) * count)


def bounded_range(*bounds: int) -> range:
    """``range`` of at most 10,000 numbers."""
    numbers = range(*bounds)
    # len() cannot tell the length of very long ranges.
    if numbers and (numbers[-1] - numbers[0]) // numbers.step >= MAX_RANGE:
        raise LimitReached(f"range() of more than {MAX_RANGE:,} numbers: use fewer")
    return numbers


def bounded_replace(text: Any, old: str, new: str, count: int = -1) -> str:
    """All (or the first ``count``) ``old`` in ``text`` replaced by ``new``."""
    text, old, new = text_of(text), str(old), str(new)
    found = text.count(old) if count < 0 else min(count, text.count(old))
    check_size(len(text) + found * len(new))
    return str(text.replace(old, new, count))


def bounded_round(value: Any, precision: int = 0) -> Any:
    """A rounded number."""
    return round(value, max(-20, min(int(precision), 20))) if isinstance(value, int | float) else value


def bounded_sum(values: Any, attribute: str | None = None, start: float = 0) -> Any:
    """The sum of numbers, or of a field of each; what is no number is left out."""
    total: Any = start if isinstance(start, int | float) else 0
    for value in steps(values):
        if attribute is not None:
            value = value.get(attribute) if isinstance(value, Mapping) else None
        if isinstance(value, int | float):
            total += value
    return total
