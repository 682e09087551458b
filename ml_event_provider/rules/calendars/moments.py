"""Moments, time zones, and what a clock on the wall of a zone shows.

The zones are those of the IANA database, through :mod:`zoneinfo`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
#: With a year's margin for zones, windows and schedules before Python's dates end.
_YEARS: Final = range(1900, 9901)
#: What zone directories hold besides zones: this machine's own, and copies that count leap seconds or do not.
_NO_ZONES: Final = frozenset({"localtime", "posixrules", "Factory", "posix", "right"})
_RFC_3339: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
_WITHOUT_ZONE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?")


def _known_zone(name: str) -> str:
    if name.partition("/")[0] not in _NO_ZONES:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            pass
        else:
            return name
    names = {zone.lower(): zone for zone in sorted(available_timezones()) if zone not in _NO_ZONES}
    wanted = name.strip().lower().replace(" ", "_")
    near = [wanted] if wanted in names else [zone for zone in names if zone.rpartition("/")[2] == wanted]
    near = near or get_close_matches(wanted, names, 1, 0.6)
    hint = f"; did you mean {names[near[0]]!r}?" if near else ""
    raise ValueError(f"{name!r} is no time zone{hint}; write an IANA name like 'UTC' or 'Europe/Berlin'")


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        value = _read(value.strip())
    elif not isinstance(value, datetime):
        raise ValueError(
            f"a moment is a text like '2026-03-29T02:30:00+01:00', not {type(value).__name__} ({str(value)[:100]})"
        )
    elif value.utcoffset() is None:
        raise _no_zone(value.isoformat())
    try:
        found: datetime = value.astimezone(UTC)
    except OverflowError:
        raise _out_of_range(value) from None
    if found.year not in _YEARS:
        raise _out_of_range(value)
    return found


def _read(text: str) -> datetime:
    if _WITHOUT_ZONE.fullmatch(text):
        raise _no_zone(text)
    if re.match(_RFC_3339, text) is None:
        raise ValueError(
            f"{text[:100]!r} is no moment; write date, time and offset as RFC 3339 has them, like"
            " '2026-03-29T02:30:00+01:00' or '2026-03-29T01:30:00Z'"
        )
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"{text[:100]!r} is no moment: {error}") from None


def _out_of_range(moment: datetime) -> ValueError:
    return ValueError(f"{moment.isoformat()} is not in the years {_YEARS[0]} to {_YEARS[-1]} in UTC; choose one within")


def _no_zone(text: str) -> ValueError:
    return ValueError(f"the time zone is missing in {text!r}; add 'Z' for UTC or an offset like '+02:00'")


#: The IANA name of a time zone, spelt as there.
TimeZone = Annotated[
    str, AfterValidator(_known_zone), Field(max_length=100, examples=["UTC", "Europe/Berlin", "America/New_York"])
]

#: A moment of the years 1900 to 9900, from RFC 3339 text or an aware datetime; kept in UTC. Without a time zone it is
#: refused.
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": _RFC_3339,
            "examples": ["2026-03-29T02:30:00+01:00", "2026-03-29T01:30:00Z"],
        }
    ),
]


def in_utc(moment: datetime) -> datetime:
    """The moment in UTC.

    :raises ValueError: if it has no time zone, or is not in the years 1900 to 9900.
    """
    if moment.year not in _YEARS:
        raise _out_of_range(moment)
    if moment.utcoffset() is None:
        raise _no_zone(moment.isoformat())
    return moment.astimezone(UTC)


def offset_at(zone: ZoneInfo, moment: datetime) -> timedelta:
    """How far the zone's clocks are ahead of UTC at a moment in UTC."""
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def first_change(zone: ZoneInfo, start: datetime, end: datetime) -> datetime | None:
    """The first moment later than ``start``, at most ``end``, at which the zone's offset is another.

    All are in UTC. Changes that come within a day of each other are not told apart; the IANA database,
    release 2026, has none within three days.
    """
    offset = offset_at(zone, start)
    low = start
    while low < end:
        high = min(low + _DAY, end)
        if offset_at(zone, high) != offset:
            return _bisected(zone, offset, low.replace(microsecond=0), high.replace(microsecond=0))
        low = high
    return None


def _bisected(zone: ZoneInfo, offset: timedelta, low: datetime, high: datetime) -> datetime:
    """The first whole second at which the offset is not ``offset`` as it is at ``low``; at ``high`` it is not."""
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if offset_at(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return high
