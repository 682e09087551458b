"""Where periods begin: by the clock on the wall of a zone, whatever is done to that clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.rules.conditions.periods import Periods

HOUR, DAY = 3600, 86_400
MONDAY = datetime(1970, 1, 5)
moments = st.integers(0, 4_000_000_000)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("hours", [3, 8, 24, 48, 168])
@given(moments)
def test_the_number_of_a_period_is_what_the_clock_on_the_wall_says(zone: str, hours: int, moment: int) -> None:
    wall = datetime.fromtimestamp(moment, ZoneInfo(zone)).replace(tzinfo=None)
    assert Periods(hours * HOUR, zone).at(moment) == (wall - MONDAY) // timedelta(hours=hours)


@pytest.mark.parametrize(
    "zone", [None, "Europe/Berlin", "Asia/Beirut", "America/Havana", "Pacific/Apia", "America/St_Johns"]
)
@pytest.mark.parametrize("length", [3 * HOUR, DAY, 7 * DAY])
@given(moments)
def test_each_moment_lies_between_its_period_s_start_and_the_next(zone: str | None, length: int, moment: int) -> None:
    periods = Periods(length, zone)
    number = periods.at(moment)
    assert periods.start(number) <= moment < periods.start(number + 1)


def test_a_day_is_as_long_as_it_is_there() -> None:
    periods = Periods(DAY, "Europe/Berlin")
    lengths = []
    for day in (
        datetime(2026, 3, 28, 12, tzinfo=UTC),
        datetime(2026, 3, 29, 12, tzinfo=UTC),
        datetime(2026, 10, 25, 12, tzinfo=UTC),
    ):
        number = periods.at(day.timestamp())
        lengths.append((periods.start(number + 1) - periods.start(number)) / HOUR)
    assert lengths == [24, 23, 25]


def test_weeks_begin_on_monday() -> None:
    periods = Periods(7 * DAY, "Europe/Berlin")
    start = periods.start(periods.at(datetime(2026, 1, 8, tzinfo=UTC).timestamp()))
    assert datetime.fromtimestamp(start, UTC) == datetime(2026, 1, 4, 23, tzinfo=UTC)


@pytest.mark.parametrize("hours", [1, 5, 9, 36])
def test_a_period_of_a_zone_divides_days_or_is_made_of_them(hours: int) -> None:
    with pytest.raises(ValueError, match="with 'timezone' a period is whole days"):
        Periods(hours * HOUR, "Europe/Berlin")
