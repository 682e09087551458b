"""When an event happened: RFC 3339 texts as moments in UTC, within what every database and time zone can hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from ml_event_provider.events.strict_json import shown
from ml_event_provider.exceptions import InvalidEvent

#: No event is earlier or later. Zero times (Go's year 1, year 9999 for "never") are no moments, and a database session
#: in another time zone cannot read them back; MySQL's and SQLite's first year is 1970.
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)

_LEAP: Final = re.compile(r"(.*[T ]\d\d:\d\d:)60(?:\.\d+)?(.*)")
#: Python reads at most six fractional digits; some senders give nine.
_FRACTION: Final = re.compile(r"(\.\d{6})\d+")


def checked_time(moment: datetime, text: str) -> datetime:
    """The moment in UTC; ``text`` is how an error shows it.

    :raises InvalidEvent: if it has no time zone, or is not in the years 1970 to 2999.
    """
    if moment.tzinfo is not UTC:
        if moment.utcoffset() is None:
            raise InvalidEvent(f"event attribute 'time' is {shown(text)}: the time zone is missing")
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise _out_of_range(text) from None
    if not EARLIEST <= moment <= LATEST:
        raise _out_of_range(text)
    return moment


def parse_time(value: object) -> datetime:
    """An RFC 3339 time as an aware UTC datetime; a missing one is the present moment.

    A leap second, which Python's clock does not have, is the last moment before it.

    :raises InvalidEvent: if the value is no RFC 3339 time with a zone, or is not in the years 1970 to 2999.
    """
    if value is None:
        return datetime.now(UTC)
    if not isinstance(value, str):
        raise InvalidEvent(f"event attribute 'time' must be an RFC 3339 text, not {type(value).__name__}")
    text = _FRACTION.sub(r"\1", value.strip().upper())
    leap = _LEAP.fullmatch(text)
    try:
        moment = datetime.fromisoformat(f"{leap[1]}59{leap[2]}" if leap else text)
    except ValueError:
        raise InvalidEvent(f"event attribute 'time' is {shown(value)}, no RFC 3339 time") from None
    moment = checked_time(moment, value)
    if leap is None:
        return moment
    if (moment + timedelta(seconds=1)).time().replace(microsecond=0) != datetime.min.time():
        raise InvalidEvent(f"event attribute 'time' is {shown(value)}: a leap second is at 23:59:60 UTC")
    return moment.replace(microsecond=999_999)


def _out_of_range(text: str) -> InvalidEvent:
    return InvalidEvent(
        f"event attribute 'time' is {shown(text)}, out of range: {EARLIEST:%Y-%m-%d} to {LATEST:%Y-%m-%d} (UTC) are"
        " allowed; leave it out if the moment is not known"
    )
