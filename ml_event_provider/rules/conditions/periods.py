"""Periods of equal length, one after the other: in UTC, or as a clock on the wall of a zone shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAY: Final = 86_400
#: The least that a period of a zone lasts: an hour that is left out or comes twice must not be one by itself.
LEAST: Final = 3 * 3600
#: A Monday, so that weeks begin with it.
_FIRST: Final = datetime(1970, 1, 5, tzinfo=UTC)


class Periods:
    """Where periods begin.

    In UTC at whole multiples of their length since 1970. In a zone at its midnight, and from there on by the clock on
    the wall, so that one with a change of that clock is shorter or longer; periods of a week begin on Monday.

    :param length: in seconds; in a zone whole days, or at least three hours that divide a day.
    :raises ValueError: if the length is none for a zone.
    """

    __slots__ = ("_length", "_zone")

    def __init__(self, length: float, timezone: str | None = None) -> None:
        if timezone is not None and (length < LEAST or (length % DAY and DAY % length)):
            raise ValueError("with 'timezone' a period is whole days, or at least 3h and a part of a day: 8h, 1d, 7d")
        self._length = length
        self._zone = None if timezone is None else ZoneInfo(timezone)

    def at(self, moment: float) -> int:
        """The number of the period in which a moment lies."""
        if self._zone is None:
            return int(moment // self._length)
        wall = datetime.fromtimestamp(moment, self._zone).replace(tzinfo=UTC)
        number = int((wall - _FIRST).total_seconds() // self._length)
        while self.start(number) > moment:
            number -= 1
        while self.start(number + 1) <= moment:
            number += 1
        return number

    def start(self, number: int) -> float:
        """When a period begins, in seconds since 1970 in UTC."""
        if self._zone is None:
            return number * self._length
        wall = _FIRST + timedelta(seconds=number * self._length)
        return wall.replace(tzinfo=self._zone).timestamp()
