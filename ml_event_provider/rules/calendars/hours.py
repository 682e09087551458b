"""The hours in which a rule is active, and the calendars that rules share."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.calendars.compiled import Compiled
from ml_event_provider.rules.calendars.days import DAYS, Dates, Days, Windows
from ml_event_provider.rules.calendars.moments import TimeZone, in_utc
from ml_event_provider.rules.calendars.timetable import HORIZON, Timetable
from ml_event_provider.rules.fields import Name, Short, listed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


_DateList = Annotated[tuple[Dates, ...], BeforeValidator(listed), Field(max_length=1000)]


class _Windowed(Compiled):
    timezone: TimeZone = Field("UTC", description="The IANA name of the time zone of days and hours.")
    days: Days = Field(DAYS, description="The days on which windows begin; all by default.")
    hours: Windows = Field(
        ("00:00-24:00",),
        description="The windows of such a day, like 08:00-18:00; one like 22:00-06:00 goes on to the next day.",
    )


class Calendar(_Windowed):
    """Open windows and the dates that differ from them, named so that rules can share them.

    A moment is open if the zone's clocks show a time within a window, as for the hours of a rule.

    A closed date removes the windows that *begin* on it; a night window of the day before still goes on
    into it. An extra open date is open from 00:00 to 24:00, also where it is closed or its weekday is.
    """

    name: Name = Field(description="Unique in the workspace.")
    workspace: Short = Field("default", description="The workspace whose rules can name the calendar.")
    description: str = Field("", max_length=10_000, description="What the calendar is for.")
    closed: _DateList = Field((), description="Dates on which no window begins, like public holidays.")
    open: _DateList = Field((), description="Dates that are open the whole day; they win over closed.")

    @cached_property
    def timetable(self) -> Timetable:
        """The compiled windows."""
        return Timetable(self.timezone, self.days, self.hours, self.closed, self.open)

    def is_open(self, moment: datetime) -> bool:
        """Whether the calendar is open at an aware moment."""
        return self.timetable.contains(in_utc(moment))

    def next_opening(self, moment: datetime) -> datetime | None:
        """The moment itself if it is open, else the next opening, in UTC; none within 366 days is ``None``."""
        utc = in_utc(moment)
        return self.timetable.next_open(utc, utc + HORIZON)


class Hours(_Windowed):
    """When a rule is active: in its own windows and, where it names a calendar, only while that is open too.

    A moment is open if the zone's clocks show a time within a window. So, on days on which clocks are changed, a
    window that they jump over does not come, and one that they show twice comes twice.
    """

    calendar: Name | None = Field(None, description="A calendar that must be open as well.")
    outside: Literal["hold", "mute"] = Field(
        "hold", description="What comes outside waits until the next opening (hold) or is not sent (mute)."
    )

    @cached_property
    def timetable(self) -> Timetable:
        """The compiled windows, without the calendar."""
        return Timetable(self.timezone, self.days, self.hours)

    def is_open(self, moment: datetime, calendars: Mapping[str, Calendar]) -> bool:
        """Whether the hours and their calendar are open at an aware moment.

        :param calendars: the calendars of the rule's workspace, by name.
        :raises InvalidRule: if the calendar does not exist.
        :raises ValueError: if the moment has no time zone.
        """
        calendar = self._calendar(calendars)
        utc = in_utc(moment)
        return self.timetable.contains(utc) and (calendar is None or calendar.timetable.contains(utc))

    def next_opening(self, moment: datetime, calendars: Mapping[str, Calendar]) -> datetime | None:
        """The moment itself if it is open, else the next that is, in UTC.

        ``None`` if nothing opens within 366 days. Errors are those of :meth:`is_open`.
        """
        calendar = self._calendar(calendars)
        found: datetime | None = in_utc(moment)
        limit = in_utc(moment) + HORIZON
        while found is not None:
            own = self.timetable.next_open(found, limit)
            if own is None or calendar is None:
                return own
            found = calendar.timetable.next_open(own, limit)
            if found == own:
                return own
        return None

    def _calendar(self, calendars: Mapping[str, Calendar]) -> Calendar | None:
        if self.calendar is None:
            return None
        found = calendars.get(self.calendar)
        if found is None:
            near = get_close_matches(self.calendar, calendars, 1, 0.6)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            known = f"calendars are {', '.join(sorted(calendars)[:20])}" if calendars else "there are no calendars yet"
            raise InvalidRule(f"the hours name the calendar {self.calendar!r}, which does not exist{hint}; {known}")
        return found
