"""Durations as people write them: ``15m``, ``1h30m``, ``7d``, ``PT15M``, or a number of seconds."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction
from math import isfinite
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

#: The longest duration that is allowed.
MAX_DURATION: Final = timedelta(days=366)

_MAX_TEXT: Final = 100
_MICROSECOND: Final = timedelta(microseconds=1)
_SECONDS: Final = {
    "w": Fraction(604_800),
    "d": Fraction(86_400),
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
}


def _part(unit: str, mark: str = r"\.") -> str:
    return rf"(?:([0-9]+(?:{mark}[0-9]+)?){unit})?"


_SHORT = r"(?=[0-9])" + r" ?".join(_part(unit) for unit in _SECONDS)
_WEEKS = rf"P(?=[0-9]){_part('W', '[.,]')}"
_ISO = r"P(?=[0-9T])" + _part("D", "[.,]") + r"(?:T(?=[0-9])" + "".join(_part(u, "[.,]") for u in "HMS") + r")?"
#: Valid in Python as in ECMA 262, which JSON Schema uses.
_PATTERN: Final = rf"^(?:{_SHORT}|{_WEEKS}|{_ISO})$"
_UNITS: Final = (*_SECONDS, "w", "d", "h", "m", "s")
_FORM: Final = re.compile(_PATTERN)
_ISO_CALENDAR: Final = re.compile(r"P[0-9.,]+(?:Y|M).*|P.*[0-9]Y.*")


def show_duration(td: timedelta) -> str:
    """The shortest exact text: ``90s`` is ``1m30s``, 24 hours are ``1d``, half a second is ``0.5s``."""
    if td < timedelta(0):
        return "-" + show_duration(-td)
    minutes, seconds = divmod(td.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = "".join(f"{count}{unit}" for count, unit in ((td.days, "d"), (hours, "h"), (minutes, "m")) if count)
    if td.microseconds:
        return f"{text}{seconds}.{td.microseconds:06d}".rstrip("0") + "s"
    return f"{text}{seconds}s" if seconds or not text else text


def _seconds(text: str) -> Fraction:
    if text.startswith(("-", "P-")):
        raise ValueError(f"{text[:_MAX_TEXT]!r} is negative; a duration counts forward")
    found = _FORM.match(text) if len(text) <= _MAX_TEXT and not text.endswith("\n") else None
    if found is not None:
        parts = zip(found.groups(), _UNITS, strict=True)
        return sum((Fraction(n.replace(",", ".")) * _SECONDS[unit] for n, unit in parts if n), Fraction(0))
    hint = ""
    if _ISO_CALENDAR.fullmatch(text[:_MAX_TEXT]):
        hint = "; years and months have no fixed length, use days"
    elif re.fullmatch(r"[0-9.]+", text[:_MAX_TEXT]):
        hint = f"; the unit is missing, as in '{text[:20]}s'"
    raise ValueError(
        f"{text[:_MAX_TEXT]!r} is no duration{hint}; write '90s', '15m', '1h30m', '24h', '7d', '2w' (units w d h m s"
        " ms, the largest first), ISO 8601 'PT15M', or a number of seconds"
    )


def _duration(value: Any) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, str | int | float | timedelta):
        raise ValueError(
            f"a duration is a text like '15m' or '1h30m', or a number of seconds, not {type(value).__name__}"
        )
    shown = repr(value if isinstance(value, str | float) else str(value))[:_MAX_TEXT]
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{shown} is no duration; write a number of seconds")
    if isinstance(value, str):
        seconds = _seconds(value.strip())
    elif isinstance(value, timedelta):
        seconds = Fraction(value // _MICROSECOND, 1_000_000)
    else:
        seconds = Fraction(value)
    if seconds < 0:
        raise ValueError(f"{shown} is negative; a duration counts forward")
    if seconds > MAX_DURATION.total_seconds():
        raise ValueError(f"{shown} is too long; at most {show_duration(MAX_DURATION)} are allowed")
    return timedelta(microseconds=round(seconds * 1_000_000))


def _positive(value: Any) -> timedelta:
    found = _duration(value)
    if not found:
        raise ValueError(f"{str(value)!r} is 0; this duration must be longer, at least '0.000001s'")
    return found


def _schema(bound: str) -> WithJsonSchema:
    limit = int(MAX_DURATION.total_seconds())
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": _PATTERN, "maxLength": _MAX_TEXT},
                {"type": "number", bound: 0, "maximum": limit, "description": "Seconds."},
            ],
            "examples": ["90s", "15m", "1h30m", "24h", "7d", "PT15M"],
        }
    )


_SHOWN = PlainSerializer(show_duration, return_type=str, when_used="json")

#: A :class:`~datetime.timedelta` of 0 to 366 days. Read from ``90s``, ``15m``, ``1h30m``, ``24h``, ``7d``,
#: ``2w``, ISO 8601 like ``PT15M`` and ``P1D``, a timedelta, or a number of seconds; rounded to microseconds.
#: In JSON it is written as :func:`show_duration` does, which reads back to the same.
Duration = Annotated[timedelta, PlainValidator(_duration), _SHOWN, _schema("minimum")]
#: A :data:`Duration` longer than 0.
PositiveDuration = Annotated[timedelta, PlainValidator(_positive), _SHOWN, _schema("exclusiveMinimum")]
