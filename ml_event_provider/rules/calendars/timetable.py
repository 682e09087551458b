"""When the clocks of a time zone show a time within the windows of a timetable."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from ml_event_provider.rules.calendars.days import DAYS, WHOLE_DAY, minutes_of
from ml_event_provider.rules.calendars.moments import first_change, offset_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ml_event_provider.rules.calendars.days import Dates

#: How far ahead an opening is looked for.
HORIZON: Final = timedelta(days=366)

_DAY: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)
_REMEMBERED: Final = 1000

#: From which minute of a day until before which other, sorted and apart from each other.
_Intervals = tuple[tuple[int, int], ...]


def _merged(intervals: Iterable[tuple[int, int]]) -> _Intervals:
    found: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


class Timetable:
    """Open windows in one time zone.

    A moment is open if the zone's clocks show, at that moment, a time within a window. So a window that the
    clocks jump over in spring does not come that day, one in which they jump is shorter, and one that they
    show twice in autumn comes twice. A window over midnight belongs to the day on which it begins.
    """

    def __init__(
        self,
        timezone: str,
        days: Sequence[str],
        windows: Sequence[str],
        closed: Sequence[Dates] = (),
        opened: Sequence[Dates] = (),
    ) -> None:
        self._zone = ZoneInfo(timezone)
        self._days = frozenset(DAYS.index(day) for day in days)
        self._windows = [minutes_of(window) for window in windows]
        self._closed, self._opened = closed, opened
        self._found: dict[int, _Intervals] = {}

    def contains(self, moment: datetime) -> bool:
        """Whether a moment in UTC is open."""
        local = moment.astimezone(self._zone)
        minute = local.hour * 60 + local.minute
        return any(start <= minute < end for start, end in self._on(local.toordinal()))

    def next_open(self, moment: datetime, limit: datetime) -> datetime | None:
        """The first open moment from ``moment`` to ``limit``, all in UTC."""
        while moment <= limit:
            offset = offset_at(self._zone, moment)
            until = first_change(self._zone, moment, moment + _DAY) or moment + _DAY
            # The times that clocks show, here with the mark of UTC, run evenly until the change.
            midnight = (moment + offset).replace(hour=0, minute=0, second=0, microsecond=0)
            while midnight < until + offset:
                for start, end in self._on(midnight.toordinal()):
                    opening = max(midnight + start * _MINUTE - offset, moment)
                    if opening < min(midnight + end * _MINUTE - offset, until):
                        return opening if opening <= limit else None
                midnight += _DAY
            moment = until
        return None

    def _on(self, ordinal: int) -> _Intervals:
        """What is open on a day, given by its proleptic Gregorian ordinal."""
        found = self._found.get(ordinal)
        if found is None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[ordinal] = self._intervals(date.fromordinal(ordinal))
        return found

    def _intervals(self, day: date) -> _Intervals:
        found: list[tuple[int, int]] = []
        if any(dates.holds(day) for dates in self._opened):
            found.append((0, WHOLE_DAY))
        if self._regular(day):
            found += [(start, end if end > start else WHOLE_DAY) for start, end in self._windows]
        if self._regular(day - _DAY):
            found += [(0, end) for start, end in self._windows if 0 < end < start]
        return _merged(found)

    def _regular(self, day: date) -> bool:
        """Whether the windows begin on this day as on others."""
        return day.weekday() in self._days and not any(dates.holds(day) for dates in self._closed)
