"""Durations, moments, opening hours, calendars and schedules, also on days on which clocks are changed."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, TypeAdapter, ValidationError

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.calendars import (
    MAX_DURATION,
    Calendar,
    CronSchedule,
    Duration,
    Hours,
    Moment,
    PositiveDuration,
    Recurrence,
    show_duration,
)
from ml_event_provider.rules.documents import read_yaml

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)
POSITIVE: TypeAdapter[timedelta] = TypeAdapter(PositiveDuration)
MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
MINUTE = timedelta(minutes=1)
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def utc(text: str) -> datetime:
    """A moment from ``2026-03-29 01:30`` in UTC, or with an offset."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


# --- durations


@pytest.mark.parametrize(
    ("given_", "seconds", "shown"),
    [
        ("90s", 90, "1m30s"),
        ("15m", 900, "15m"),
        ("1h30m", 5400, "1h30m"),
        ("1h 30m", 5400, "1h30m"),
        (" 5m ", 300, "5m"),
        ("24h", 86_400, "1d"),
        ("7d", 604_800, "7d"),
        ("2w", 1_209_600, "14d"),
        ("1.5h", 5400, "1h30m"),
        ("500ms", 0.5, "0.5s"),
        ("1m0.25s", 60.25, "1m0.25s"),
        ("0s", 0, "0s"),
        ("PT15M", 900, "15m"),
        ("P1D", 86_400, "1d"),
        ("P1DT2H3M4.5S", 93_784.5, "1d2h3m4.5s"),
        ("PT0,5S", 0.5, "0.5s"),
        ("P2W", 1_209_600, "14d"),
        (90, 90, "1m30s"),
        (0.1, 0.1, "0.1s"),
        (timedelta(minutes=3, microseconds=1), 180.000001, "3m0.000001s"),
        ("366d", 366 * 86_400, "366d"),
    ],
)
def test_a_duration_is_read_and_shown(given_: Any, seconds: float, shown: str) -> None:
    found = DURATION.validate_python(given_)
    assert found == timedelta(seconds=seconds)
    assert show_duration(found) == shown
    assert DURATION.dump_python(found, mode="json") == shown
    if not isinstance(given_, timedelta):
        Draft202012Validator(DURATION.json_schema()).validate(given_.strip() if isinstance(given_, str) else given_)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ("", "is no duration"),
        ("90", "the unit is missing, as in '90s'"),
        ("15min", "is no duration; write '90s'"),
        ("30m1h", "the largest first"),
        ("1m1m", "is no duration"),
        ("15M", "is no duration"),
        ("P1M", "years and months have no fixed length"),
        ("P1Y2D", "years and months have no fixed length"),
        ("P", "is no duration"),
        ("P1DT", "is no duration"),
        ("\u0661m", "is no duration"),
        ("9" * 5000 + "s", "is no duration"),
        ("-5m", "negative"),
        (-1, "negative"),
        (timedelta(seconds=-1), "negative"),
        ("367d", "too long; at most 366d"),
        (timedelta.max, "too long"),
        (10**400, "too long"),
        (1e300, "too long"),
        (float("nan"), "is no duration"),
        (float("inf"), "is no duration"),
        (True, "not bool"),
        (None, "not NoneType"),
        (["1m"], "not list"),
    ],
)
def test_what_is_no_duration_is_refused_with_the_reason(given_: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DURATION.validate_python(given_)


@pytest.mark.parametrize("given_", [0, "0s", "PT0S", timedelta(0), "0.0000001s"])
def test_a_positive_duration_is_not_zero(given_: Any) -> None:
    with pytest.raises(ValidationError, match="must be longer"):
        POSITIVE.validate_python(given_)


@given(st.timedeltas(min_value=timedelta(0), max_value=MAX_DURATION))
def test_a_duration_reads_back_from_its_text_exactly(duration: timedelta) -> None:
    text = show_duration(duration)
    assert DURATION.validate_python(text) == duration
    assert DURATION.validate_json(DURATION.dump_json(duration)) == duration
    Draft202012Validator(DURATION.json_schema()).validate(text)


def test_a_negative_timedelta_is_shown_with_its_sign() -> None:
    assert show_duration(timedelta(minutes=-90)) == "-1h30m"


@pytest.mark.parametrize("wrong", ["15min", "", "P", "P1DT", "5m 1h", -1, True, [], 366 * 86_400 + 1])
def test_the_schema_of_a_duration_refuses_what_the_model_refuses(wrong: Any) -> None:
    assert not Draft202012Validator(DURATION.json_schema()).is_valid(wrong)


def test_the_schema_of_a_positive_duration_excludes_zero() -> None:
    assert not Draft202012Validator(POSITIVE.json_schema()).is_valid(0)
    assert Draft202012Validator(POSITIVE.json_schema()).is_valid(0.5)


# --- moments


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("2026-01-01T10:00:00Z", "2026-01-01 10:00"),
        ("2026-01-01t10:00:00.5z", "2026-01-01 10:00:00.500000"),
        ("2026-01-01 10:00+02:00", "2026-01-01 08:00"),
        ("2026-01-01T10:00:00-05:30", "2026-01-01 15:30"),
        ("9900-12-31T23:59:59.999999Z", "9900-12-31 23:59:59.999999"),
        ("1900-01-01T00:00:00Z", "1900-01-01 00:00"),
        (datetime(2026, 1, 1, 10, tzinfo=UTC), "2026-01-01 10:00"),
        (datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")), "2026-10-25 01:30"),
    ],
)
def test_a_moment_is_kept_in_utc_and_reads_back(given_: Any, expected: str) -> None:
    found = MOMENT.validate_python(given_)
    assert found == utc(expected)
    assert found.utcoffset() == timedelta(0)
    assert MOMENT.validate_json(MOMENT.dump_json(found)) == found


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ("2026-01-01T10:00:00", "the time zone is missing"),
        ("2026-01-01 10:00", "the time zone is missing"),
        (datetime(2026, 1, 1), "the time zone is missing"),
        ("2026-01-01", "write date, time and offset"),
        ("tomorrow", "write date, time and offset"),
        ("1700000000", "write date, time and offset"),
        ("2026-13-01T10:00:00Z", "month must be in 1..12"),
        ("2026-02-29T10:00:00Z", "day is out of range"),
        (1_700_000_000, "not int"),
        (date(2026, 1, 1), "not date"),
        (None, "not NoneType"),
        ("9999-12-31T23:59:59-05:00", "not in the years 1900 to 9900"),
        ("9901-01-01T00:00:00Z", "not in the years 1900 to 9900"),
        ("9900-12-31T23:59:59-00:30", "not in the years 1900 to 9900"),
        ("1899-12-31T23:59:59Z", "not in the years 1900 to 9900"),
    ],
)
def test_what_is_no_moment_is_refused_with_the_reason(given_: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MOMENT.validate_python(given_)


# --- what hours, calendars and schedules read


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("mon", "mon"),
        ("Mon-Fri", "mon tue wed thu fri"),
        ("fri-mon", "mon fri sat sun"),
        ("weekdays", "mon tue wed thu fri"),
        ("weekend", "sat sun"),
        (["sun", "monday", "mon"], "mon sun"),
        (["weekend", "tuesday - wed"], "tue wed sat sun"),
        ("mon-sun", "mon tue wed thu fri sat sun"),
        ("tue-mon", "mon tue wed thu fri sat sun"),
    ],
)
def test_days_are_read(days: Any, expected: str) -> None:
    assert Hours(days=days).days == tuple(expected.split())


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ("08:00-18:00", ("08:00-18:00",)),
        ("8:00 - 18:30", ("08:00-18:30",)),
        (["08:00-12:00", "22:00-06:00"], ("08:00-12:00", "22:00-06:00")),
        ("00:00-24:00", ("00:00-24:00",)),
    ],
)
def test_windows_are_read(hours: Any, expected: tuple[str, ...]) -> None:
    assert Hours(hours=hours).hours == expected


@pytest.mark.parametrize(
    ("model", "fields", "words"),
    [
        (Hours, {"timezone": "Europe/Berln"}, "did you mean 'Europe/Berlin'"),
        (Hours, {"timezone": "new york"}, "did you mean 'America/New_York'"),
        (Hours, {"timezone": "europe/berlin"}, "did you mean 'Europe/Berlin'"),
        (Hours, {"timezone": "Europe"}, "is no time zone"),
        (Hours, {"timezone": ""}, "is no time zone"),
        (Hours, {"timezone": "/etc/passwd"}, "is no time zone"),
        (Hours, {"timezone": "../UTC"}, "is no time zone"),
        (Hours, {"timezone": "localtime"}, "is no time zone"),
        (Hours, {"timezone": "right/Europe/Berlin"}, "did you mean 'Europe/Berlin'"),
        (Hours, {"days": "mom"}, "did you mean 'mon'"),
        (Hours, {"days": ["thirsday"]}, "did you mean 'thursday'"),
        (Hours, {"days": "weekday"}, "did you mean 'weekdays'"),
        (Hours, {"days": "mon-fry"}, "did you mean 'fri'"),
        (Hours, {"days": "mon-"}, "is no day; allowed are mon, tue"),
        (Hours, {"days": []}, "names no day"),
        (Hours, {"days": [1]}, "1 is no day"),
        (Hours, {"days": 5}, "not int"),
        (Hours, {"hours": "8-18"}, "write it like '08:00-18:00'"),
        (Hours, {"hours": "08:00"}, "write it like '08:00-18:00'"),
        (Hours, {"hours": "08:60-18:00"}, "write it like '08:00-18:00'"),
        (Hours, {"hours": "24:00-08:00"}, "24:00 is the latest end"),
        (Hours, {"hours": "08:00-24:30"}, "24:00 is the latest end"),
        (Hours, {"hours": "08:00-08:00"}, "the whole day is '00:00-24:00'"),
        (Hours, {"hours": []}, "at least 1 item"),
        (Hours, {"outside": "drop"}, "'hold' or 'mute'"),
        (Hours, {"day": "mon"}, "Extra inputs"),
        (Calendar, {"closed": ["25.12."]}, "write '2026-12-25'"),
        (Calendar, {"closed": ["2026-12-32"]}, "day is out of range|day must be in"),
        (Calendar, {"closed": ["02-30"]}, "day is out of range|day must be in"),
        (Calendar, {"closed": ["2026-02-29"]}, "day is out of range|day must be in"),
        (Calendar, {"closed": ["2027-01-02..2026-12-24"]}, "ends before it begins"),
        (Calendar, {"closed": ["2026-12-24..01-02"]}, "year at one end only"),
        (Calendar, {"open": [{"on": "12-25", "because": "x"}]}, "Extra inputs"),
        (Calendar, {"open": [{"why": "x"}]}, "Field required"),
        (Calendar, {"closed": [datetime(2026, 12, 25, tzinfo=UTC)]}, "valid dictionary or instance of Dates"),
        (CronSchedule, {"schedule": "* * * *"}, "has 4 fields; a schedule has 5"),
        (CronSchedule, {"schedule": "0 0 * * * *"}, "has 6 fields; a schedule has 5"),
        (CronSchedule, {"schedule": "61 * * * *"}, "is no cron expression"),
        (CronSchedule, {"schedule": "0 0 30 2 *"}, "never comes|can never occur"),
        (CronSchedule, {"schedule": "H * * * *"}, "drawn by lot"),
        (CronSchedule, {"schedule": "0 R(0-3) * * *"}, "drawn by lot"),
        (CronSchedule, {"schedule": "@dayly"}, "did you mean '@daily'"),
        (CronSchedule, {"schedule": "@reboot"}, "allowed are @hourly"),
        (Recurrence, {"schedule": "@daily", "duration": "32d"}, "lasts at most 31d"),
        (Recurrence, {"schedule": "@daily", "duration": 0}, "must be longer"),
        (Recurrence, {"schedule": "@daily"}, "Field required"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(model: type[BaseModel], fields: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        model.model_validate({**({"name": "c"} if model is Calendar else {}), **fields})


FULL: list[BaseModel] = [
    Hours(),
    Hours(timezone="Europe/Berlin", days=["weekdays"], hours=["22:00-06:00"], calendar="de", outside="mute"),
    Calendar(name="de"),
    Calendar(
        name="de",
        workspace="team",
        description="Germany",
        timezone="Europe/Berlin",
        days="mon-fri",
        hours="08:00-18:00",
        closed=["12-25", {"on": "2026-12-24..2027-01-02", "why": "Christmas"}, date(2026, 5, 1)],
        open="2026-12-28",
    ),
    CronSchedule(schedule="0  6 * * MON-fri", timezone="Europe/Berlin"),
    Recurrence(schedule="@Weekly", duration="1h30m0.5s"),
]


@pytest.mark.parametrize("model", FULL, ids=lambda model: type(model).__name__)
def test_models_read_back_from_json_and_fit_their_schema(model: BaseModel) -> None:
    assert type(model).model_validate_json(model.model_dump_json()) == model
    schema = type(model).model_json_schema()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(model.model_dump(mode="json"))
    assert all(field.description for field in type(model).model_fields.values())


def test_a_calendar_in_a_rule_file_needs_no_quotes() -> None:
    text = "{name: de, closed: [2026-12-25, 12-31, {on: 2026-12-24..2027-01-02, why: rest}], hours: 08:00-18:00}"
    (document,) = read_yaml(text)
    found = Calendar.model_validate(document.value)
    assert [dates.on for dates in found.closed] == ["2026-12-25", "12-31", "2026-12-24..2027-01-02"]
    Draft202012Validator(Calendar.model_json_schema()).validate(document.value)


def test_models_that_were_used_stay_equal_copyable_and_picklable() -> None:
    moment = utc("2026-06-01 12:00")
    hours = Hours(hours="08:00-18:00")
    assert hours.is_open(moment, {})
    assert hours == Hours(hours="08:00-18:00")
    assert hash(hours) == hash(Hours(hours="08:00-18:00"))
    assert not hours.model_copy(update={"hours": ("18:00-19:00",)}).is_open(moment, {})
    assert pickle.loads(pickle.dumps(hours)).is_open(moment, {})
    daily = Recurrence(schedule="0 12 * * *", duration="1h")
    assert daily.covers(moment)
    assert not daily.model_copy(update={"schedule": "0 13 * * *"}).covers(moment)
    assert pickle.loads(pickle.dumps(daily)).covers(moment)


# --- hours and calendars


@pytest.mark.parametrize(
    ("fields", "moment", "opening"),
    [
        # Within, at both ends, and before and after.
        ({"hours": "08:00-18:00"}, "2026-06-01 08:00", "2026-06-01 08:00"),
        ({"hours": "08:00-18:00"}, "2026-06-01 17:59:59.999999", "2026-06-01 17:59:59.999999"),
        ({"hours": "08:00-18:00"}, "2026-06-01 18:00", "2026-06-02 08:00"),
        ({"hours": "08:00-18:00"}, "2026-06-01 07:59:59.999999", "2026-06-01 08:00"),
        ({"hours": ["08:00-12:00", "13:00-18:00"]}, "2026-06-01 12:30", "2026-06-01 13:00"),
        # A window over midnight belongs to the day on which it begins: 2026-06-05 is a Friday.
        ({"days": "mon-fri", "hours": "22:00-06:00"}, "2026-06-06 05:59", "2026-06-06 05:59"),
        ({"days": "mon-fri", "hours": "22:00-06:00"}, "2026-06-06 06:00", "2026-06-08 22:00"),
        ({"days": "mon-fri", "hours": "22:00-06:00"}, "2026-06-08 03:00", "2026-06-08 22:00"),
        ({"days": "sat", "hours": "22:00-00:00"}, "2026-06-07 00:00", "2026-06-13 22:00"),
        ({"days": "weekend"}, "2026-06-05 23:59", "2026-06-06 00:00"),
        # The zone's own day.
        ({"days": "mon", "timezone": "Asia/Kathmandu"}, "2026-05-31 18:14", "2026-05-31 18:15"),
        # Clocks in Berlin go from 02:00 to 03:00 on 2026-03-29, at 01:00 UTC.
        ({"timezone": "Europe/Berlin", "hours": "02:15-02:45"}, "2026-03-29 00:00", "2026-03-30 00:15"),
        ({"timezone": "Europe/Berlin", "hours": "02:30-05:00"}, "2026-03-29 00:59", "2026-03-29 01:00"),
        ({"timezone": "Europe/Berlin", "hours": "22:00-03:00"}, "2026-03-29 01:00", "2026-03-29 20:00"),
        # They go from 03:00 back to 02:00 on 2026-10-25, at 01:00 UTC.
        ({"timezone": "Europe/Berlin", "hours": "02:15-02:45"}, "2026-10-25 00:00", "2026-10-25 00:15"),
        ({"timezone": "Europe/Berlin", "hours": "02:15-02:45"}, "2026-10-25 00:45", "2026-10-25 01:15"),
        ({"timezone": "Europe/Berlin", "hours": "02:15-02:45"}, "2026-10-25 01:45", "2026-10-26 01:15"),
        # On Lord Howe Island they go from 02:00 back to 01:30 on 2026-04-05, at 15:00 UTC of the day before.
        ({"timezone": "Australia/Lord_Howe", "hours": "01:15-01:45"}, "2026-04-04 14:45", "2026-04-04 15:00"),
        # In Samoa 2011-12-30 did not take place.
        ({"timezone": "Pacific/Apia", "days": "fri"}, "2011-12-30 10:00", "2012-01-05 10:00"),
        ({"timezone": "Pacific/Apia", "days": "fri", "hours": "20:00-03:00"}, "2011-12-30 10:00", "2011-12-30 10:00"),
    ],
)
def test_hours_open_by_the_clocks_of_their_zone(fields: Any, moment: str, opening: str) -> None:
    hours = Hours.model_validate(fields)
    assert hours.next_opening(utc(moment), {}) == utc(opening)
    assert hours.is_open(utc(moment), {}) is (moment == opening)
    assert hours.is_open(utc(opening), {})


CHRISTMAS = {"closed": ["2026-12-24..2027-01-02"], "hours": "08:00-18:00"}


@pytest.mark.parametrize(
    ("fields", "moment", "opening"),
    [
        ({}, "2026-12-25 03:00", "2026-12-25 03:00"),
        (CHRISTMAS, "2026-12-23 17:00", "2026-12-23 17:00"),
        (CHRISTMAS, "2026-12-24 09:00", "2027-01-03 08:00"),
        (CHRISTMAS, "2027-01-02 17:00", "2027-01-03 08:00"),
        ({**CHRISTMAS, "open": ["2026-12-28"]}, "2026-12-24 09:00", "2026-12-28 00:00"),
        ({**CHRISTMAS, "open": ["2026-12-28"]}, "2026-12-28 23:59", "2026-12-28 23:59"),
        ({**CHRISTMAS, "open": ["2026-12-28"]}, "2026-12-29 00:00", "2027-01-03 08:00"),
        # Every year, and over the turn of the year.
        ({"closed": ["12-25"]}, "2031-12-25 12:00", "2031-12-26 00:00"),
        ({"closed": ["12-24..01-02"]}, "2030-12-31 12:00", "2031-01-03 00:00"),
        ({"closed": ["12-24..01-02"]}, "2031-01-01 12:00", "2031-01-03 00:00"),
        ({"closed": ["02-29"]}, "2028-02-29 12:00", "2028-03-01 00:00"),
        ({"closed": ["02-29"]}, "2027-03-01 12:00", "2027-03-01 12:00"),
        # A night that began before a closed date goes on into it, and none begins on it.
        ({"closed": ["12-25"], "hours": "22:00-06:00"}, "2026-12-25 05:00", "2026-12-25 05:00"),
        ({"closed": ["12-25"], "hours": "22:00-06:00"}, "2026-12-25 22:00", "2026-12-26 22:00"),
        # An extra open day does not take its own night away.
        ({"open": ["2026-06-01"], "hours": "22:00-06:00"}, "2026-06-02 05:00", "2026-06-02 05:00"),
        ({"open": ["06-06"], "days": "mon-fri"}, "2026-06-06 12:00", "2026-06-06 12:00"),
        ({"open": ["06-06"], "closed": ["06-06"], "days": "mon-fri"}, "2026-06-06 12:00", "2026-06-06 12:00"),
        # A date is one of the calendar's own zone.
        ({"closed": ["12-25"], "timezone": "Asia/Kathmandu"}, "2026-12-24 18:15", "2026-12-25 18:15"),
        # Closed for more than 366 days.
        ({"closed": ["2020-01-01..2030-01-01"]}, "2026-06-01 12:00", None),
    ],
)
def test_a_calendar_opens_by_its_dates(fields: Any, moment: str, opening: str | None) -> None:
    calendar = Calendar.model_validate({"name": "c", **fields})
    expected = utc(opening) if opening else None
    assert calendar.next_opening(utc(moment)) == expected
    assert calendar.is_open(utc(moment)) is (moment == opening)
    hours = Hours(calendar="c")
    assert hours.next_opening(utc(moment), {"c": calendar}) == expected
    assert hours.is_open(utc(moment), {"c": calendar}) is (moment == opening)


def test_hours_with_a_calendar_are_open_where_both_are() -> None:
    hours = Hours(hours="08:00-12:00", calendar="c")
    calendars = {"c": Calendar(name="c", timezone="America/New_York", hours="07:00-12:00", days="weekdays")}
    assert not hours.is_open(utc("2026-06-01 10:59"), calendars)
    assert hours.next_opening(utc("2026-06-01 09:00"), calendars) == utc("2026-06-01 11:00")
    assert hours.next_opening(utc("2026-06-05 12:00"), calendars) == utc("2026-06-08 11:00")


def test_hours_and_a_calendar_that_never_meet_do_not_open() -> None:
    calendars = {"c": Calendar(name="c", hours="12:00-18:00")}
    assert Hours(hours="08:00-12:00", calendar="c").next_opening(utc("2026-06-01 09:00"), calendars) is None


@pytest.mark.parametrize(
    ("ahead", "found"), [(timedelta(days=366), True), (timedelta(days=366, microseconds=1), False)]
)
def test_an_opening_is_looked_for_366_days_ahead(ahead: timedelta, found: bool) -> None:
    opening = utc("2028-06-01 00:00")
    calendar = Calendar(name="c", closed=["2020-01-01..2028-05-31"])
    assert calendar.next_opening(opening - ahead) == (opening if found else None)


@pytest.mark.parametrize(
    ("calendars", "words"),
    [
        (["germany", "france"], "'germny'.*did you mean 'germany'.*calendars are france, germany"),
        ([], "there are no calendars"),
    ],
)
def test_an_unknown_calendar_is_named_with_the_nearest(calendars: list[str], words: str) -> None:
    hours = Hours(calendar="germny")
    known = {name: Calendar(name=name) for name in calendars}
    with pytest.raises(InvalidRule, match=words):
        hours.is_open(utc("2026-06-01 09:00"), known)
    with pytest.raises(InvalidRule, match=words):
        hours.next_opening(utc("2026-06-01 09:00"), known)


@pytest.mark.parametrize("moment", [datetime(2026, 6, 1), datetime.max.replace(tzinfo=UTC), datetime.min])
def test_moments_without_a_zone_or_far_away_are_refused(moment: datetime) -> None:
    daily = Recurrence(schedule="@daily", duration="1h")
    for ask in (
        lambda: Hours().is_open(moment, {}),
        lambda: Hours().next_opening(moment, {}),
        lambda: Calendar(name="c").is_open(moment),
        lambda: daily.covers(moment),
        lambda: daily.next(moment),
    ):
        with pytest.raises(ValueError, match=r"time zone is missing|not in the years"):
            ask()


def test_a_time_that_the_clocks_jump_over_is_the_moment_that_python_means() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    hours = Hours(timezone="Europe/Berlin", hours="02:15-02:45")
    assert not hours.is_open(datetime(2026, 3, 29, 2, 30, tzinfo=berlin), {})


# --- schedules


@pytest.mark.parametrize(
    ("schedule", "timezone", "moment", "previous", "following"),
    [
        ("0 6 * * *", "UTC", "2026-06-01 06:00", "2026-06-01 06:00", "2026-06-02 06:00"),
        ("0 6 * * *", "UTC", "2026-06-01 05:59:59.999999", "2026-05-31 06:00", "2026-06-01 06:00"),
        ("0 6 * * mon-fri", "Europe/Berlin", "2026-06-06 12:00", "2026-06-05 04:00", "2026-06-08 04:00"),
        ("@daily", "America/New_York", "2026-06-01 12:00", "2026-06-01 04:00", "2026-06-02 04:00"),
        ("0 0 29 2 *", "UTC", "2026-06-01 12:00", "2024-02-29 00:00", "2028-02-29 00:00"),
        ("0 0 L * *", "UTC", "2026-02-10 12:00", "2026-01-31 00:00", "2026-02-28 00:00"),
        # 02:30 does not exist in Berlin on 2026-03-29: it comes when clocks jump, at 01:00 UTC.
        ("30 2 * * *", "Europe/Berlin", "2026-03-29 00:59", "2026-03-28 01:30", "2026-03-29 01:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29 01:00", "2026-03-29 01:00", "2026-03-30 00:30"),
        ("0,20,40 2,3 * * *", "Europe/Berlin", "2026-03-29 01:00", "2026-03-29 01:00", "2026-03-29 01:20"),
        # It comes at the first of the two on 2026-10-25, and not at the second.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 00:00", "2026-10-24 00:30", "2026-10-25 00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 00:30", "2026-10-25 00:30", "2026-10-26 01:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 01:10", "2026-10-25 00:30", "2026-10-26 01:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 01:30", "2026-10-25 00:30", "2026-10-26 01:30"),
        # Every hour: nothing is made up in the gap, and both of a time shown twice.
        ("30 * * * *", "Europe/Berlin", "2026-03-29 00:30", "2026-03-29 00:30", "2026-03-29 01:30"),
        ("30 * * * *", "Europe/Berlin", "2026-10-25 00:30", "2026-10-25 00:30", "2026-10-25 01:30"),
        ("30 * * * *", "Europe/Berlin", "2026-10-25 01:30", "2026-10-25 01:30", "2026-10-25 02:30"),
        # The half hour of Lord Howe Island: 02:00 becomes 02:30 on 2026-10-04, at 15:30 UTC of the day before.
        ("15 * * * *", "Australia/Lord_Howe", "2026-10-03 15:00", "2026-10-03 14:45", "2026-10-03 16:15"),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03 15:00", "2026-10-02 15:45", "2026-10-03 15:30"),
        # In Chile a day ends with an hour shown twice; two changes of clocks lie between that and the question.
        ("30 * 4 4 *", "America/Santiago", "2026-12-01 12:00", "2026-04-05 03:30", "2027-04-04 04:30"),
        # A Friday that did not take place comes when the clocks jump over it.
        ("0 12 * * fri", "Pacific/Apia", "2011-12-30 09:00", "2011-12-23 22:00", "2011-12-30 10:00"),
        ("0 * * * fri", "Pacific/Apia", "2011-12-30 09:00", "2011-12-24 09:00", "2012-01-05 10:00"),
    ],
)
def test_a_schedule_comes_at_its_times(
    schedule: str, timezone: str, moment: str, previous: str, following: str
) -> None:
    found = CronSchedule(schedule=schedule, timezone=timezone)
    assert found.previous(utc(moment)) == utc(previous)
    assert found.next(utc(moment)) == utc(following)
    lasting = Recurrence(schedule=schedule, timezone=timezone, duration="1s")
    assert lasting.previous_start(utc(moment)) == utc(previous)
    assert lasting.next_start(utc(moment)) == utc(following)


@pytest.mark.parametrize(
    ("duration", "moment", "start"),
    [
        ("2h", "2026-06-01 22:00", "2026-06-01 22:00"),
        ("2h", "2026-06-01 23:59:59.999999", "2026-06-01 22:00"),
        ("2h", "2026-06-02 00:00", None),
        ("2h", "2026-06-01 21:59:59.999999", None),
        ("3d", "2026-06-02 12:00", "2026-06-01 22:00"),
    ],
)
def test_a_window_recurs(duration: str, moment: str, start: str | None) -> None:
    window = Recurrence(schedule="0 22 * * *", duration=duration)
    expected = (utc(start), utc(start) + window.duration) if start else None
    assert window.window_at(utc(moment)) == expected
    assert window.covers(utc(moment)) is (start is not None)


def test_a_window_lasts_elapsed_time() -> None:
    window = Recurrence(schedule="0 1 * * *", timezone="Europe/Berlin", duration="3h")
    assert window.window_at(utc("2026-10-25 00:00")) == (utc("2026-10-24 23:00"), utc("2026-10-25 02:00"))


def test_the_answer_does_not_depend_on_what_was_asked_before() -> None:
    window = Recurrence(schedule="0 22 * * *", duration="1h")
    moments = [utc("2026-06-01 00:00") + timedelta(minutes=37) * step for step in range(200)]
    forward = [window.covers(moment) for moment in moments]
    assert [window.covers(moment) for moment in reversed(moments)] == forward[::-1]
    assert forward == [moment.hour == 22 for moment in moments]


# --- against slow models that go minute by minute

CHANGES = {
    "Europe/Berlin": ["2026-03-29", "2026-10-25"],
    "America/New_York": ["2026-03-08", "2026-11-01"],
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04"],
    "Asia/Kathmandu": ["2026-03-29"],
    "Pacific/Apia": ["2011-12-30"],
}
PLACES = [(zone, day) for zone, days in CHANGES.items() for day in days]
#: Times that lie near changes of clocks are drawn more often.
hours_of_day = st.one_of(st.integers(0, 23), st.integers(0, 4))
times = st.builds(lambda hour, minute: f"{hour:02}:{minute:02}", hours_of_day, st.integers(0, 59))
windows = st.builds("{}-{}".format, times, st.one_of(times, st.just("24:00"))).filter(lambda text: text[:5] != text[6:])


@cache
def minutes_around(zone: str, day: str) -> list[tuple[datetime, datetime]]:
    """Each minute of 5 days around a day: the moment in UTC, and what clocks of the zone show."""
    begin = utc(day) - timedelta(days=2)
    moments = [begin + MINUTE * step for step in range(5 * 24 * 60)]
    return [(moment, moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for moment in moments]


def slowly_open(shown: datetime, days: list[str], hours: list[str], closed: set[date], opened: set[date]) -> bool:
    """Whether a time on the wall is in a window that begins on its day or the day before."""
    if shown.date() in opened:
        return True
    for back in (0, 1):
        begins_on = shown.date() - timedelta(days=back)
        if DAYS[begins_on.weekday()] not in days or begins_on in closed:
            continue
        minute = shown.hour * 60 + shown.minute + back * 1440
        for window in hours:
            start, end = (int(text[:2]) * 60 + int(text[3:]) for text in window.split("-"))
            if start <= minute < (end if end > start else end + 1440):
                return True
    return False


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(PLACES),
    st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
    st.lists(windows, min_size=1, max_size=3),
    st.sets(st.integers(0, 4), max_size=2),
    st.sets(st.integers(0, 4), max_size=1),
    st.lists(st.floats(0, 0.9), min_size=1, max_size=8),
)
def test_hours_agree_with_a_slow_model(
    place: tuple[str, str],
    days: list[str],
    hours: list[str],
    closed: set[int],
    opened: set[int],
    asked: list[float],
) -> None:
    zone, day = place
    begin = date.fromisoformat(day) - timedelta(days=2)
    closed_on, open_on = ({begin + timedelta(days=n) for n in each} for each in (closed, opened))
    own = Hours(timezone=zone, days=days, hours=hours)
    calendar = Calendar(name="c", timezone=zone, days=days, hours=hours, closed=closed_on, open=open_on)
    minutes = minutes_around(zone, day)
    expected = [slowly_open(shown, days, hours, set(), set()) for _, shown in minutes]
    by_date = [slowly_open(shown, days, hours, closed_on, open_on) for _, shown in minutes]
    assert [own.is_open(moment, {}) for moment, _ in minutes] == expected
    assert [calendar.is_open(moment) for moment, _ in minutes] == by_date
    both = Hours(timezone=zone, days=days, hours=hours, calendar="c")
    for part in asked:
        moment = minutes[0][0] + timedelta(minutes=int(part * len(minutes)), seconds=int(part * 1e6) % 60)
        for found, model in (
            (own.next_opening(moment, {}), expected),
            (calendar.next_opening(moment), by_date),
            (both.next_opening(moment, {"c": calendar}), [a and b for a, b in zip(expected, by_date, strict=True)]),
        ):
            opening = next(
                (
                    max(at, moment)
                    for (at, _), is_open in zip(minutes, model, strict=True)
                    if is_open and at + MINUTE > moment
                ),
                None,
            )
            assert found == opening or (opening is None and (found is None or found > minutes[-1][0]))


def slow_ticks(
    zone: str, day: str, at_minutes: set[int], at_hours: set[int] | None, on_days: set[int] | None
) -> list[datetime]:
    """The moments of a schedule: each time that is shown, or the first that follows where it has fixed hours."""
    minutes = minutes_around(zone, day)

    def matches(shown: datetime) -> bool:
        return (
            shown.minute in at_minutes
            and (at_hours is None or shown.hour in at_hours)
            and (on_days is None or shown.isoweekday() % 7 in on_days)
        )

    if at_hours is None:
        return [moment for moment, shown in minutes if matches(shown)]
    first_shown: dict[datetime, datetime] = {}
    for moment, shown in minutes:
        first_shown.setdefault(shown, moment)
    found = set()
    wanted = minutes[0][1]
    while wanted <= minutes[-1][1]:
        if matches(wanted):
            shown = wanted
            while shown not in first_shown:
                shown += MINUTE
            found.add(first_shown[shown])
        wanted += MINUTE
    return sorted(found)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(PLACES),
    st.sets(st.sampled_from([0, 1, 15, 29, 30, 31, 45, 59]), min_size=1, max_size=3),
    st.none() | st.sets(hours_of_day, min_size=1, max_size=4),
    st.none() | st.sets(st.integers(0, 6), min_size=1, max_size=6),
    st.integers(1, 3000),
    st.lists(st.floats(0.2, 0.9), min_size=1, max_size=10),
)
def test_schedules_agree_with_a_slow_model(
    place: tuple[str, str],
    at_minutes: set[int],
    at_hours: set[int] | None,
    on_days: set[int] | None,
    lasting: int,
    asked: list[float],
) -> None:
    zone, day = place
    fields = [",".join(map(str, sorted(each))) if each else "*" for each in (at_minutes, at_hours, on_days)]
    window = Recurrence(
        schedule=f"{fields[0]} {fields[1]} * * {fields[2]}", timezone=zone, duration=timedelta(minutes=lasting)
    )
    minutes = minutes_around(zone, day)
    ticks = slow_ticks(zone, day, at_minutes, at_hours, on_days)
    for part in asked:
        moment = minutes[0][0] + timedelta(minutes=int(part * len(minutes)), seconds=int(part * 1e6) % 60)
        before = [tick for tick in ticks if tick <= moment]
        after = [tick for tick in ticks if tick > moment]
        previous, following = window.previous(moment), window.next(moment)
        assert previous == before[-1] if before else previous < minutes[0][0]
        assert following == after[0] if after else following > minutes[-1][0]
        assert window.covers(moment) is (moment < previous + window.duration)
        # Asked afresh, from either side, it is the same.
        assert CronSchedule(schedule=window.schedule, timezone=zone).previous(following) == following
        assert CronSchedule(schedule=window.schedule, timezone=zone).next(previous) == following
