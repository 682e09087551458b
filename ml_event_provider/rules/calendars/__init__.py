"""Time windows: durations, moments, opening hours, calendars and schedules that recur.

Everything is a pure function of the aware datetimes that it is given; nothing here looks at a clock.
"""

from __future__ import annotations

from ml_event_provider.rules.calendars.durations import MAX_DURATION, Duration, PositiveDuration, show_duration
from ml_event_provider.rules.calendars.hours import Calendar, Hours
from ml_event_provider.rules.calendars.moments import Moment, TimeZone
from ml_event_provider.rules.calendars.schedules import CronSchedule, Recurrence

__all__ = [
    "MAX_DURATION",
    "Calendar",
    "CronSchedule",
    "Duration",
    "Hours",
    "Moment",
    "PositiveDuration",
    "Recurrence",
    "TimeZone",
    "show_duration",
]
