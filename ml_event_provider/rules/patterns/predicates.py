"""What one element of a pattern's list asks of one plain value.

Each predicate is immutable and equal to another one that asks the same. ``test`` takes a value in
comparable form (``values.plain``); it is false for ``ABSENT``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ml_event_provider.rules.patterns.addresses import BITS, address
from ml_event_provider.rules.patterns.values import ABSENT, Plain

if TYPE_CHECKING:
    from collections.abc import Callable


class Predicate(Protocol):
    """A question about one value."""

    def __hash__(self) -> int:
        """The same for predicates that ask the same."""

    def test(self, value: Plain) -> bool:
        """Whether the value is what is asked for."""


def fold(text: str) -> str:
    """A form that is equal for all texts that any ignore-case comparison takes as equal."""
    return text.upper().casefold()


@dataclass(frozen=True, slots=True)
class Equal:
    """The value is this one."""

    value: Plain

    def test(self, value: Plain) -> bool:
        """Whether the value is so."""
        return value == self.value


@dataclass(frozen=True, slots=True)
class Present:
    """There is any value."""

    def test(self, value: Plain) -> bool:
        """Whether the value is so."""
        return value is not ABSENT


@dataclass(frozen=True, slots=True)
class Prefix:
    """A string that starts so."""

    text: str

    def test(self, value: Plain) -> bool:
        """Whether the value is so."""
        return isinstance(value, str) and value.startswith(self.text)


@dataclass(frozen=True, slots=True)
class Suffix:
    """A string that ends so."""

    text: str

    def test(self, value: Plain) -> bool:
        """Whether the value is so."""
        return isinstance(value, str) and value.endswith(self.text)


def _caseless(text: str) -> str:
    """A regular expression in which each character stands for its lower and its upper case form."""
    forms = [(char.lower(), char.upper()) for char in text]
    return "".join(f"(?:{re.escape(low)}|{re.escape(high)})" for low, high in forms)


@dataclass(frozen=True, slots=True)
class IgnoreCase:
    """A string that is, starts with or ends with ``text`` in any case; ``where`` is ``"="``, ``"^"`` or
    ``"$"``.

    Each character of ``text`` stands for its own lower and upper case form, as in event-ruler: ``"k"`` is
    no KELVIN SIGN although that one's lower case is ``"k"``.
    """

    text: str
    where: str
    _lower: str = field(init=False, compare=False, repr=False)
    _find: Callable[[str], object] | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        find: Callable[[str], object] | None = None
        if not self.text.isascii():
            regex = re.compile(_caseless(self.text) + ("" if self.where == "^" else r"\Z"), re.DOTALL)
            find = regex.search if self.where == "$" else regex.match
        object.__setattr__(self, "_lower", self.text.lower())
        object.__setattr__(self, "_find", find)

    def test(self, value: Plain) -> bool:
        """Whether the value is so."""
        if not isinstance(value, str):
            return False
        if self._find is not None:
            return self._find(value) is not None
        size = len(self.text)
        if self.where == "^":
            value = value[:size]
        elif self.where == "$":
            value = value[max(0, len(value) - size) :]
        return len(value) == size and value.isascii() and value.lower() == self._lower


@dataclass(frozen=True, slots=True)
class Wildcard:
    """A string that holds the ``parts`` in this order, the first at its start and the last at its end, or that is
    the only one of them.

    With ``folded`` the parts are in folded form and the string is folded before. Takes linear time.
    """

    parts: tuple[str, ...]
    folded: bool = False
    _inner: tuple[str, ...] = field(init=False, compare=False, repr=False)
    _least: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_inner", self.parts[1:-1])
        object.__setattr__(self, "_least", len(self.parts[0]) + len(self.parts[-1]))

    def test(self, value: Plain) -> bool:
        """Whether the value is so."""
        if not isinstance(value, str):
            return False
        if self.folded:
            value = fold(value)
        first, last = self.parts[0], self.parts[-1]
        if len(self.parts) == 1:
            return value == first
        if len(value) < self._least or not (value.startswith(first) and value.endswith(last)):
            return False
        at, end = len(first), len(value) - len(last)
        for part in self._inner:
            at = value.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two bounds, of which one may be missing."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def test(self, value: Plain) -> bool:
        """Whether the value is so."""
        if type(value) is not int and type(value) is not float:
            return False
        low, high = self.low, self.high
        return (low is None or (value > low if self.low_open else value >= low)) and (
            high is None or (value < high if self.high_open else value <= high)
        )


@dataclass(frozen=True, slots=True)
class Network:
    """A string that is an IP address whose first ``bits`` bits are ``number``.

    With all bits: that very address.
    """

    version: int
    bits: int
    number: int

    def test(self, value: Plain) -> bool:
        """Whether the value is so."""
        found = address(value) if isinstance(value, str) else None
        if found is None or found[0] != self.version:
            return False
        return found[1] >> (BITS[self.version] - self.bits) == self.number


@dataclass(frozen=True, slots=True)
class AnythingBut:
    """Any value but these, and but those for which one of ``predicates`` holds."""

    values: frozenset[Plain] = frozenset()
    predicates: tuple[Predicate, ...] = ()

    def test(self, value: Plain) -> bool:
        """Whether the value is so."""
        if value is ABSENT or value in self.values:
            return False
        return not any(predicate.test(value) for predicate in self.predicates)


@dataclass(frozen=True, slots=True)
class Expression:
    """A string in which a regular expression is found (RE2 syntax and its linear time)."""

    text: str
    _found: Any = field(compare=False, repr=False)

    def test(self, value: Plain) -> bool:
        """Whether the value is so."""
        return isinstance(value, str) and self._found(value) is not None


@dataclass(frozen=True, slots=True)
class SameEvent:
    """The value compared with that of another field of the same event; ``operator`` is ``"="``, ``"<"``, ….

    It is asked by ``compare``, which takes both values: ``"="`` and ``"!="`` take any two, the others two
    numbers.
    """

    operator: str
    path: str

    def test(self, value: Plain) -> bool:
        """Whether the value is so."""
        raise TypeError("a comparison of two fields takes two values")

    def compare(self, left: Plain, right: Plain) -> bool:
        """Whether ``left operator right``; never true if one is absent."""
        if left is ABSENT or right is ABSENT:
            return False
        if self.operator == "=":
            return left == right
        if self.operator == "!=":
            return left != right
        if not isinstance(left, int | float) or not isinstance(right, int | float):
            return False
        return {
            "<": left < right,
            "<=": left <= right,
            ">": left > right,
            ">=": left >= right,
        }[self.operator]
