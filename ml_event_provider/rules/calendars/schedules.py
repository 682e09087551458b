"""Schedules that recur, as cron writes them, and the windows that begin on them.

croniter reads the expressions and finds matching dates and times on a clock without a time zone. The step from
there to moments is made here, because croniter's own differs between looking forward and backward, and lets a
daily time that the clocks show twice come twice. As in Vixie cron:

* A schedule with fixed hours comes once for each matching time. If the clocks jump over that time, it comes
  when they jump (02:30 where 02:00 becomes 03:00 comes at 03:00); if they show it twice, at the first.
* A schedule for every hour (``*`` as hour) comes whenever the clocks show a matching time: not while they
  jump over it, and twice if they show it twice.
"""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from ml_event_provider.rules.calendars.compiled import Compiled
from ml_event_provider.rules.calendars.durations import PositiveDuration, show_duration
from ml_event_provider.rules.calendars.moments import TimeZone, first_change, in_utc, offset_at

_MINUTE: Final = timedelta(minutes=1)
_INSTANT: Final = timedelta(microseconds=1)
_LONGEST: Final = timedelta(days=31)
_ALIASES: Final = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_FIELDS: Final = "minute, hour, day of month, month, day of week"
#: croniter's own ``H`` and ``R`` fields, which stand for numbers drawn by lot.
_BY_LOT: Final = re.compile(r"(?:^|[\s,])[hr](?:$|[\s,(/])", re.IGNORECASE)


def _readable(text: str) -> str:
    schedule = " ".join(text.split())
    if schedule.startswith("@"):
        if schedule.lower() not in _ALIASES:
            near = get_close_matches(schedule.lower(), _ALIASES, 1, 0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{text!r} is no schedule{hint}; allowed are {', '.join(_ALIASES)} and cron expressions")
        return schedule.lower()
    count = len(schedule.split())
    if count != 5:
        raise ValueError(
            f"{text!r} has {count} field{'s' * (count != 1)}; a schedule has 5 ({_FIELDS}), as in '0 6 * * mon-fri'"
        )
    if _BY_LOT.search(schedule):
        raise ValueError(f"{text!r} has a field drawn by lot (H or R); write numbers, so that it comes at known times")
    _check(schedule)
    return schedule


def _check(schedule: str) -> None:
    from croniter import CroniterBadDateError, CroniterError  # type: ignore[import-untyped]

    try:
        _Matches(schedule).after(datetime(2000, 1, 1, tzinfo=UTC))
    except CroniterBadDateError:
        raise ValueError(f"{schedule!r} never comes; no date has such a day") from None
    except CroniterError as error:
        raise ValueError(f"{schedule!r} is no cron expression ({_FIELDS}): {error}") from None


class _Matches:
    """The dates and times of a cron expression on a clock without a zone, which carries the mark of UTC."""

    def __init__(self, schedule: str) -> None:
        from croniter import croniter

        self._cron = croniter(schedule, datetime(2000, 1, 1), ret_type=datetime)
        self.every_hour: bool = self._cron.expanded[1] == ["*"]

    def after(self, shown: datetime) -> datetime:
        """The first match in a later minute."""
        return self._found(shown, "get_next")

    def until(self, shown: datetime) -> datetime:
        """The last match in this or an earlier minute."""
        return self._found(shown + _MINUTE, "get_prev")

    def _found(self, shown: datetime, way: str) -> datetime:
        # A croniter keeps its place, so each search has its own, which makes it safe among threads.
        cron = copy.copy(self._cron)
        start = shown.replace(second=0, microsecond=0, tzinfo=None)
        found: datetime = getattr(cron, way)(start_time=start)
        return found.replace(tzinfo=UTC)


class _Ticks:
    """The moments, in UTC, of a cron expression in a time zone."""

    def __init__(self, schedule: str, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self._matches = _Matches(schedule)
        self._last: tuple[datetime, datetime] | None = None

    def around(self, moment: datetime) -> tuple[datetime, datetime]:
        """The last tick at or before a moment and the first after it; the latest answer is remembered."""
        last = self._last
        if last is None or not last[0] <= moment < last[1]:
            if self._matches.every_hour:
                last = self._shown_until(moment), self._shown_after(moment)
            else:
                last = self._fixed_until(moment), self._fixed_after(moment)
            self._last = last
        return last

    def _shown_after(self, moment: datetime) -> datetime:
        offset = offset_at(self._zone, moment)
        shown, start = moment + offset, moment
        while True:
            found = self._matches.after(shown) - offset
            change = first_change(self._zone, start, found)
            if change is None:
                return found
            offset = offset_at(self._zone, change)
            shown, start = change + offset - _INSTANT, change

    def _shown_until(self, moment: datetime) -> datetime:
        while True:
            offset = offset_at(self._zone, moment)
            found = self._matches.until(moment + offset) - offset
            change, later = None, first_change(self._zone, found, moment)
            while later is not None:
                change, later = later, first_change(self._zone, later, moment)
            if change is None:
                return found
            moment = change - _INSTANT

    def _fixed_after(self, moment: datetime) -> datetime:
        shown = moment + offset_at(self._zone, moment)
        while True:
            shown = self._matches.after(shown)
            found = self._moment(shown)
            if found > moment:
                return found

    def _fixed_until(self, moment: datetime) -> datetime:
        # While the clocks show an hour again, its later times have come already.
        first = moment.astimezone(self._zone).replace(fold=0).utcoffset()
        assert first is not None
        shown = moment + max(first, offset_at(self._zone, moment))
        while True:
            shown = self._matches.until(shown)
            found = self._moment(shown)
            if found <= moment:
                return found
            shown -= _MINUTE

    def _moment(self, shown: datetime) -> datetime:
        """When the clocks first show a time, or jump over it."""
        local = shown.replace(tzinfo=self._zone)
        found = local.astimezone(UTC)
        if found + offset_at(self._zone, found) == shown:
            return found
        # In the gap, fold 1 leads to a moment before the change and fold 0 to one after it (PEP 495).
        change = first_change(self._zone, local.replace(fold=1).astimezone(UTC), found)
        assert change is not None
        return change


class CronSchedule(Compiled):
    """Moments that recur: a cron expression in a time zone.

    On days on which clocks are changed, a schedule with fixed hours comes once for each of its times: when the
    clocks jump over it, or the first time that they show it. One with * as hour comes as often as clocks show it.

    If both the day of the month and the day of the week are given, one of them is enough, but with # or W both
    must hold. A field that lists all its values is the same as *.
    """

    schedule: Annotated[str, Field(max_length=200), AfterValidator(_readable)] = Field(
        description=f"A cron expression of 5 fields ({_FIELDS}) or {', '.join(_ALIASES)}.",
        examples=["0 6 * * mon-fri", "*/15 * * * *", "@daily"],
    )
    timezone: TimeZone = Field("UTC", description="The IANA name of the time zone of the schedule.")

    @cached_property
    def _ticks(self) -> _Ticks:
        return _Ticks(self.schedule, self.timezone)

    def previous(self, at_or_before: datetime) -> datetime:
        """The last moment of the schedule that is not after an aware moment, in UTC."""
        return self._ticks.around(in_utc(at_or_before))[0]

    def next(self, after: datetime) -> datetime:
        """The first moment of the schedule that is later than an aware moment, in UTC."""
        return self._ticks.around(in_utc(after))[1]


def _at_most_31_days(value: timedelta) -> timedelta:
    if value > _LONGEST:
        raise ValueError(f"{show_duration(value)!r} is too long; a window lasts at most {show_duration(_LONGEST)}")
    return value


class Recurrence(CronSchedule):
    """Windows that recur: each begins by a schedule and lasts a duration of elapsed time.

    A window holds its beginning but not its end. Windows may overlap if they last longer than the time
    until the next begins.
    """

    duration: Annotated[PositiveDuration, AfterValidator(_at_most_31_days)] = Field(
        description="How long each window lasts, at most 31 days."
    )

    def covers(self, moment: datetime) -> bool:
        """Whether an aware moment is within a window."""
        utc = in_utc(moment)
        return utc - self._ticks.around(utc)[0] < self.duration

    def window_at(self, moment: datetime) -> tuple[datetime, datetime] | None:
        """The window around an aware moment as (start, end) in UTC, of several the one that began last."""
        utc = in_utc(moment)
        start = self._ticks.around(utc)[0]
        end = start + self.duration
        return (start, end) if utc < end else None

    def next_start(self, after: datetime) -> datetime:
        """The first beginning of a window later than an aware moment, in UTC."""
        return self.next(after)

    def previous_start(self, at_or_before: datetime) -> datetime:
        """The last beginning of a window that is not after an aware moment, in UTC."""
        return self.previous(at_or_before)
