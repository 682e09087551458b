"""What one rendering may use: steps, time and size; and the functions that keep to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from ml_event_provider.exceptions import TemplateProblem
from ml_event_provider.messages.plain import text_of

MAX_STEPS = 100_000
#: A call takes about ten times as long as a turn of a loop.
STEPS_OF_A_CALL = 10
MAX_RANGE = 10_000
#: Characters in a text; items and characters in a container, counted as often as they would be printed.
MAX_SIZE = 1_000_000
MAX_INTEGER_BITS = 4096
#: A template's source, in characters.
MAX_SOURCE = 200_000


@dataclass(slots=True)
class Budget:
    """What one rendering may use, and what it noticed."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    #: Show missing values as a dash and do not report them (the built-in templates).
    lenient: bool = False
    missing: dict[str, None] = field(default_factory=dict)
    steps: int = 0
    deadline: float = 0.0

    def __post_init__(self) -> None:
        self.deadline = self.clock() + self.seconds

    def step(self, count: int = 1) -> None:
        """Count work.

        :raises TemplateProblem: if it is too much, or has taken too long.
        """
        before = self.steps
        self.steps += count
        if self.steps > MAX_STEPS:
            raise TemplateProblem(f"does more than {MAX_STEPS:,} steps: loop over fewer things")
        if before >> 5 != self.steps >> 5 and self.clock() > self.deadline:
            raise TemplateProblem(f"takes longer than {self.seconds:g} seconds: make it simpler")


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
    if isinstance(value, Mapping):
        value = value.items()
    elif not isinstance(value, list | tuple | set | frozenset):
        return 1
    total = 1
    for item in value:
        total += weight(item, room - total)
        if total > room:
            break
    return total


def check_size(size: int) -> None:
    """Refuse a text or container that is too large.

    :raises TemplateProblem: if it is.
    """
    if size > MAX_SIZE:
        raise TemplateProblem(f"makes a value of more than {MAX_SIZE:,} characters: make less of it")


def checked(value: Any) -> Any:
    """``value``, if it is not too large.

    :raises TemplateProblem: if it is.
    """
    if isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise TemplateProblem(f"makes a number of more than {MAX_INTEGER_BITS} bits")
    elif isinstance(value, str | list | tuple | Mapping):
        found = weight(value)
        check_size(found)
        if found > 1000:
            step(found // 1000)
    return value


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Refuse what would make very much of little before it does.

    :raises TemplateProblem: if it would.
    """
    if operator == "%" and isinstance(left, str):
        raise TemplateProblem("uses '%' on a text: join texts with '~'")
    if operator == "**" and isinstance(left, int) and isinstance(right, int):
        if left.bit_length() * right > MAX_INTEGER_BITS:
            raise TemplateProblem(f"makes a number of more than {MAX_INTEGER_BITS} bits")
    elif operator == "*":
        for values, count in ((left, right), (right, left)):
            if isinstance(values, str | list | tuple) and isinstance(count, int):
                check_size(weight(values) * count)


def bounded_range(*bounds: int) -> range:
    """``range`` of at most 10,000 numbers."""
    numbers = range(*bounds)
    # len() cannot tell the length of very long ranges.
    if numbers and (numbers[-1] - numbers[0]) // numbers.step >= MAX_RANGE:
        raise TemplateProblem(f"range() of more than {MAX_RANGE:,} numbers: use fewer")
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
