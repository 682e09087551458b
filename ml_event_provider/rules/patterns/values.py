"""JSON's plain values in the one form by which patterns compare them."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import Any, Final

#: Whole numbers up to this size are exact as binary64.
_EXACT: Final = 2**53


class Constant:
    """A value that equals only itself: Python has ``True == 1``, JSON has not."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


TRUE: Final = Constant("true")
FALSE: Final = Constant("false")
NULL: Final = Constant("null")
#: The field is missing, or holds no plain value (``{}``, ``[]``, an object).
ABSENT: Final = Constant("absent")

#: A plain value in comparable form. A tuple is a number that binary64 cannot tell from its neighbours.
Plain = str | int | float | Constant | tuple[str, str]


def plain(value: Any) -> Plain:
    """A JSON string, number, boolean or null in comparable form.

    300, 300.0 and 3.0e2 are one number. A whole number that is not its own shortest binary64 text
    (12345678901234567890), an infinity and a NaN compare by their text only, as in event-ruler.
    """
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if value is True:
        return TRUE
    if value is False:
        return FALSE
    if value is None:
        return NULL
    if kind is int:
        return value if -_EXACT <= value <= _EXACT else _large(value)
    if kind is float:
        return value if isfinite(value) else ("#", repr(value))
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return plain(int(value))
    if isinstance(value, float):
        return plain(float(value))
    return ("?", kind.__name__)


def _large(value: int) -> Plain:
    try:
        number = float(value)
    except OverflowError:
        return ("#", hex(value))
    return number if int(Decimal(repr(number))) == value else ("#", hex(value))


def is_number(value: object) -> bool:
    """Whether a comparable value is a number that ranges can hold."""
    return type(value) is int or type(value) is float


def as_json(value: Plain) -> Any:
    """A comparable value as JSON again."""
    if value is TRUE or value is FALSE:
        return value is TRUE
    if value is NULL or value is ABSENT:
        return None
    if isinstance(value, tuple):
        return int(value[1], 16) if "0x" in value[1] else value[1]
    return value
