"""What an event may be, and how it becomes JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.events import Event
from ml_event_provider.events.model import MAX_LENGTH, is_json_type
from ml_event_provider.events.times import EARLIEST, LATEST, parse_time
from ml_event_provider.exceptions import InvalidEvent

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def event(**changes: Any) -> Event:
    return Event(**{"id": "1", "source": "/s", "type": "t", "time": NOON, **changes})


def document(**changes: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", **changes}


@pytest.mark.parametrize("name", ["id", "source", "type", "workspace"])
def test_an_identifying_attribute_is_never_empty(name: str) -> None:
    with pytest.raises(InvalidEvent, match=f"'{name}' is empty"):
        event(**{name: ""})


@pytest.mark.parametrize("name", sorted(MAX_LENGTH))
def test_text_attributes_are_texts_within_the_stores_columns(name: str) -> None:
    assert getattr(event(**{name: "é" * MAX_LENGTH[name]}), name)
    with pytest.raises(InvalidEvent, match=f"'{name}' has {MAX_LENGTH[name] + 1} characters"):
        event(**{name: "é" * (MAX_LENGTH[name] + 1)})
    with pytest.raises(InvalidEvent, match=f"'{name}' must be a text, not list"):
        event(**{name: ["x"]})


@pytest.mark.parametrize("character", ["\0", "\n", "\x1f", "\x7f", "\x9f", "\ud800", "\ufdd0", "\U0010ffff"])
@pytest.mark.parametrize("place", ["subject", "extension"])
def test_characters_that_cloudevents_forbids_are_refused(character: str, place: str) -> None:
    value = f"a{character}b"
    with pytest.raises(InvalidEvent, match="CloudEvents forbids"):
        event(**({"subject": value} if place == "subject" else {"extensions": {"team": value}}))


@pytest.mark.parametrize("character", [" ", '"', "%", "é", "中", "😀", "\u200d"])
def test_all_other_characters_are_taken(character: str) -> None:
    assert event(subject=character, extensions={"team": character}).subject == character


@pytest.mark.parametrize("value", [True, False, 0, -(2**31), 2**31 - 1, "", "x"])
def test_extensions_may_have_cloudevents_simple_types(value: object) -> None:
    assert event(extensions={"team7": value}).to_dict()["team7"] is value


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("Team", "x", "lower-case"),
        ("my_team", "x", "lower-case"),
        ("my-team", "x", "lower-case"),
        ("", "x", "lower-case"),
        ("é", "x", "lower-case"),
        ("a" * 65, "x", "lower-case"),
        (5, "x", "lower-case"),
        ("id", "x", "of its own"),
        ("time", "x", "of its own"),
        ("specversion", "2.0", "of its own"),
        ("data", "x", "of its own"),
        ("team", 2**31, "32 bits"),
        ("team", -(2**31) - 1, "32 bits"),
        ("team", 1.0, "not float"),
        ("team", None, "not NoneType"),
        ("team", ["x"], "not list"),
    ],
)
def test_other_extensions_are_refused(name: Any, value: object, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason):
        event(extensions={name: value})


def test_time_is_kept_in_utc() -> None:
    moment = datetime(2026, 11, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    assert event(time=moment).time == NOON
    assert event(time=moment).time.tzinfo is UTC


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (datetime(2026, 11, 1), "zone is missing"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "out of range"),
        (datetime.min.replace(tzinfo=UTC), "0001-01-01T00:00:00\\+00:00', out of range: 1970-01-01 to 2999-12-31"),
        (datetime.max.replace(tzinfo=UTC), "out of range"),
        (EARLIEST - timedelta(microseconds=1), "out of range"),
        (LATEST + timedelta(microseconds=1), "out of range"),
        ("2026-11-01T12:00:00Z", "must be a datetime"),
    ],
)
def test_a_time_that_is_no_moment_is_refused(time: Any, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason):
        event(time=time)


@pytest.mark.parametrize("origin", ["", "elsewhere", ["worker"], None])
def test_an_unknown_origin_is_refused(origin: Any) -> None:
    with pytest.raises(InvalidEvent, match="'origin' is"):
        event(origin=origin)


def test_json_and_back_is_the_same_event() -> None:
    whole = event(
        subject="a b",
        data={"x": [1, 2.5, None, "é😀"]},
        workspace="fraud",
        owner="ann",
        origin="worker",
        dataschema="/schemas/t",
        extensions={"team": "core", "attempt": 2, "urgent": True},
    )
    assert Event.from_json(whole.to_json()) == whole
    assert Event.from_json(whole.to_json().encode()) == whole


def test_half_a_surrogate_pair_in_data_becomes_the_replacement_character() -> None:
    text = event(data={"traceback": "bad name: \udcff"}).to_json()
    assert Event.from_json(text.encode()).data == {"traceback": "bad name: \ufffd"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), NOON, {1}, b"x"])
def test_data_that_json_does_not_have_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidEvent, match="event '1' of type 't' cannot be JSON"):
        event(data={"x": value}).to_json()


def test_only_defaults_may_be_missing() -> None:
    before = datetime.now(UTC)
    read = Event.from_dict(document())
    assert before <= read.time <= datetime.now(UTC)
    assert (read.origin, read.workspace, read.subject, read.data) == ("ingest", "default", "", {})


def test_null_is_the_same_as_absent() -> None:
    nulls = dict.fromkeys(["time", "subject", "datacontenttype", "dataschema", "origin", "team", "data"])
    assert Event.from_dict(document(**nulls)).extensions == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"specversion": "0.3"}, "specversion is '0.3'"),
        ({"specversion": None}, "specversion is None"),
        ({"id": None}, "'id' is missing"),
        ({"id": 5}, "'id' must be a text, not int"),
        ({"source": ""}, "'source' is empty"),
        ({"dataschema": 5}, "'dataschema' must be a text"),
        ({"data": [1]}, "data must be a JSON object, not list"),
        ({"data": "{}"}, "data must be a JSON object, not str"),
        ({"data_base64": "e30="}, "send JSON in 'data'"),
        ({"datacontenttype": "text/xml"}, "only JSON data"),
        ({"datacontenttype": 5}, "only JSON data"),
        ({"traceId": "x"}, "'traceId' is no CloudEvents attribute name"),
        ({"team": {"a": 1}}, "not dict"),
        ({"time": 5}, "must be an RFC 3339 text"),
        ({"specversion": "x" * 10_000}, "specversion is 'x{99}…"),
    ],
)
def test_a_document_that_is_no_event_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason) as caught:
        Event.from_dict(document(**changes))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01T12:00:00Z", NOON),
        ("2026-11-01t12:00:00z", NOON),
        ("2026-11-01T13:30:00+01:30", NOON),
        ("2026-11-01 12:00:00+00:00", NOON),
        ("2026-11-01T12:00:00.123Z", NOON.replace(microsecond=123_000)),
        ("2017-06-26T18:41:00.9584103Z", datetime(2017, 6, 26, 18, 41, 0, 958_410, tzinfo=UTC)),
        ("2026-11-01T12:00:00.123456789+00:00", NOON.replace(microsecond=123_456)),
        ("1970-01-01T00:00:00Z", EARLIEST),
        ("2999-12-31T23:59:59.999999Z", LATEST),
        # Leap seconds, which a zone may have at any hour.
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("2016-12-31t23:59:60.75z", datetime(2016, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("2017-01-01T05:29:60+05:30", datetime(2016, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("1990-12-31T15:59:60-08:00", datetime(1990, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_rfc_3339_times_are_read(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-01",
        "2026-11-01T12:00:00",
        "2026-13-01T12:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-14:00",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "3000-01-01T00:00:00Z",
        "2026-11-01T12:00:60Z",
        "2026-11-01T23:59:60+01:00",
        "2026-11-01T23:59:61Z",
        "2026-11-01T23:60:60Z",
    ],
)
def test_a_time_without_zone_or_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidEvent, match="event attribute 'time' is"):
        parse_time(text)


@given(st.one_of(st.text(), st.text("0123456789-:.TZ+ "), st.characters(categories=["Cs"])))
def test_a_time_is_utc_or_refused(text: str) -> None:
    try:
        moment = parse_time(text)
    except InvalidEvent:
        return
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    ("content_type", "is_json"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/vnd.acme.order+json", True),
        ("text/json;x", True),
        ("application/jsonlines", False),
        ("application/xml", False),
        ("json", False),
        ("", False),
        (None, False),
    ],
)
def test_json_media_types(content_type: object, is_json: bool) -> None:
    assert is_json_type(content_type) is is_json


HOSTILE = {"a\0b": ["c\0", {"d": "\ud800\0"}], "plain": "\\u0000", "n": 2**63}


def test_what_utf_8_cannot_carry_is_replaced_when_data_is_written_and_nothing_else_is() -> None:
    written = event(data=HOSTILE).to_json()
    assert json.loads(written)["data"] == {**HOSTILE, "a\0b": ["c\0", {"d": "\ufffd\0"}]}
    written.encode()


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_what_is_read_is_what_was_written(value: Any) -> None:
    assert Event.from_json(event(data={"value": value}).to_json()).data == {"value": value}


@pytest.mark.parametrize("name", ["id", "source", "type", "subject", "workspace", "owner", "dataschema", "team"])
@pytest.mark.parametrize("odd", ["\0", "\ud800", "\n", "\ufffe"])
def test_what_no_database_stores_is_refused_in_every_attribute(name: str, odd: str) -> None:
    with pytest.raises(InvalidEvent, match=name):
        Event.from_dict(document(**{name: f"a{odd}b"}))
