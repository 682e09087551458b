"""The CloudEvents HTTP binding, with the ``cloudevents`` package as the peer, and with broken requests."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_http_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.events import Event
from ml_event_provider.events.wire import (
    BATCH,
    STRUCTURED,
    read_request,
    write_batch,
    write_binary,
    write_structured,
)
from ml_event_provider.exceptions import InvalidEvent

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text("abcxyz0189", min_size=1, max_size=20).map("x".__add__)
EVENTS = st.builds(
    Event,
    id=TEXT,
    source=TEXT,
    type=TEXT,
    time=st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    subject=st.just("") | TEXT,
    data=st.dictionaries(st.text(max_size=5), VALUES, max_size=4),
    workspace=TEXT,
    owner=st.just("") | TEXT,
    origin=st.sampled_from(["worker", "ingest"]),
    dataschema=st.just("") | TEXT,
    extensions=st.dictionaries(NAMES, TEXT | st.integers(-(2**31), 2**31 - 1) | st.booleans(), max_size=2),
)
MINIMAL = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
CE = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
JSON = {"Content-Type": "application/json"}


def batch(*documents: object) -> bytes:
    return json.dumps(documents).encode()


def in_words(value: object) -> str:
    """An attribute's value in its text form, which is all that a header carries."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def peer_attributes(event: Event) -> dict[str, Any]:
    document = event.to_dict()
    del document["data"]
    return {**document, "time": event.time}


@given(EVENTS)
def test_structured_is_read_alike_by_us_and_the_peer(event: Event) -> None:
    content_type, body = write_structured(event)
    assert read_request({"content-type": content_type}, body) == [event]
    peer = from_http_event(HTTPMessage({"content-type": content_type}, body))
    assert (peer.get_attributes(), peer.get_data()) == (peer_attributes(event), event.data)


@given(EVENTS)
def test_binary_is_read_alike_by_us_and_the_peer(event: Event) -> None:
    headers, body = write_binary(event)
    assert all(value.isascii() and value.isprintable() and " " not in value for value in headers.values())
    (read,) = read_request(headers, body)
    assert read.to_dict() == {
        **event.to_dict(),
        **{name: in_words(value) for name, value in event.extensions.items()},
    }
    peer = from_http_event(HTTPMessage(headers, body))
    expected = {name: in_words(value) for name, value in peer_attributes(event).items()} | {"time": event.time}
    assert (peer.get_attributes(), peer.get_data()) == (expected, event.data)


@given(st.lists(EVENTS, max_size=4, unique_by=lambda event: (event.source, event.id)))
def test_a_batch_is_read_back_in_its_order(events: list[Event]) -> None:
    content_type, body = write_batch(events)
    assert read_request({"content-type": content_type}, body) == events


@given(EVENTS)
def test_what_the_peer_writes_is_read(event: Event) -> None:
    peer = CloudEvent(peer_attributes(event), dict(event.data))
    structured = to_structured_event(peer)
    assert read_request(structured.headers, structured.body) == [event]
    binary = to_binary_event(peer)
    (read,) = read_request(binary.headers, binary.body)
    assert read.to_dict() == {
        **event.to_dict(),
        **{name: str(value) for name, value in event.extensions.items()},
    }


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("plain", "plain"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("lower%e2%82%ac", "lower€"),
        ("%2541", "%41"),
        ("a+b", "a+b"),
        ("100%", "100%"),
        ('"two words"', "two words"),
        (r'"a \"quoted\" \\ word"', r'a "quoted" \ word'),
        ('"%20"', " "),
        (" padded ", "padded"),
    ],
)
def test_header_values_lose_their_quotes_and_one_round_of_percent_signs(header: str, text: str) -> None:
    (event,) = read_request({**CE, "CE-Subject": header}, b"")
    assert event.subject == text


@pytest.mark.parametrize(
    ("text", "header"),
    [
        # The binding's own example.
        ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ('a%41 "b"', "a%2541%20%22b%22"),
        ("!#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    ],
)
def test_header_values_are_percent_encoded_where_the_binding_says(text: str, header: str) -> None:
    event = Event(id="1", source="/s", type="t", time=datetime(2026, 11, 1, tzinfo=UTC), subject=text)
    assert write_binary(event)[0]["ce-subject"] == header


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": STRUCTURED}, MINIMAL),
        ({"CONTENT-TYPE": "Application/CloudEvents+JSON; charset=UTF-8"}, MINIMAL),
        ({"content-type": 'application/cloudevents+json;charset="utf-8"'}, MINIMAL),
        ({"content-type": BATCH + "; charset=us-ascii"}, [MINIMAL]),
        ({"content-type": STRUCTURED, "ce-id": "ignored"}, MINIMAL),
        (JSON, MINIMAL),
        (JSON, [MINIMAL]),
        ({"content-type": "application/json", **CE}, {}),
        ({"content-type": "text/vnd.acme+json; x=y", **CE}, {}),
        ({"content-type": "application/json", **CE}, None),
    ],
)
def test_the_content_type_tells_the_mode(headers: dict[str, str], body: object) -> None:
    (event,) = read_request(headers, json.dumps(body).encode())
    assert (event.id, event.source, event.type, event.data) == ("1", "/s", "t", {})
    assert (event.origin, event.time.tzinfo) == ("ingest", UTC)


def test_binary_without_a_body_has_no_data_and_needs_no_content_type() -> None:
    assert read_request(CE, b"")[0].data == {}


def test_an_empty_batch_is_no_event() -> None:
    assert read_request({"content-type": BATCH}, b"[]") == []


def test_an_event_twice_in_a_batch_is_one_event() -> None:
    body = batch(MINIMAL, {**MINIMAL, "source": "/other"}, {**MINIMAL, "data": {"again": True}})
    read = read_request({"content-type": BATCH}, body)
    assert [(event.source, event.data) for event in read] == [("/s", {}), ("/other", {})]


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({}, b"{}", "Content-Type is ''.*cloudevents.json.*cloudevents-batch.json.*ce-id"),
        ({"content-type": "application/x-www-form-urlencoded"}, b"a=b", "send one event as"),
        (JSON, b"{}", "the request is no event"),
        (JSON, b"5", "the request is no event"),
        (JSON, batch(MINIMAL, {}), "event 2 of 2: specversion is None"),
        ({"content-type": STRUCTURED}, b"", "not valid JSON"),
        ({"content-type": STRUCTURED}, b"[]", "an event is a JSON object, not list"),
        ({"content-type": STRUCTURED}, b'{"specversion": "0.3"}', "specversion is '0.3'"),
        ({"content-type": STRUCTURED + "; charset=latin-1"}, b"{}", "charset 'latin-1'; send UTF-8"),
        ({"content-type": "application/cloudevents+avro"}, b"", "only JSON is understood"),
        ({"content-type": "application/cloudevents"}, b"", "only JSON is understood"),
        ({"content-type": BATCH}, b"{}", "a batch is a JSON array of events, not dict"),
        (
            {"content-type": BATCH},
            batch(*[MINIMAL] * 2, 5),
            "event 3 of 3: an event is a JSON object, not int",
        ),
        ({"content-type": BATCH}, batch(MINIMAL, {**MINIMAL, "id": ""}), "event 2 of 2: .*'id' is empty"),
        (
            {"content-type": BATCH},
            batch({**MINIMAL, "data": {"x": "a" * 999}}),
            "event 1 of 1: the event has 1",
        ),
        ({"content-type": STRUCTURED}, batch({})[1:-1], "specversion is None"),
        ({**CE, "content-type": "text/xml"}, b"<a/>", "only JSON data"),
        (CE, b"{}", "Content-Type is ''; only JSON data"),
        ({**CE, **JSON}, b"[1]", "data must be a JSON object, not list"),
        ({**CE, **JSON}, b"{", "not valid JSON"),
        ({**CE, **JSON}, b'{"x": "' + b"a" * 999 + b'"}', "1000 are allowed"),
        ({**CE, "ce-subject": "a" * 900}, b"", "1000 are allowed"),
        ({**CE, "ce-subject": "é"}, b"", "'ce-subject' holds characters that are not ASCII"),
        ({**CE, "ce-subject": "%FF"}, b"", "'ce-subject' is not percent-encoded UTF-8"),
        ({**CE, "ce-subject": "%0A"}, b"", "CloudEvents forbids"),
        ({**CE, "ce-subject": "%ED%A0%80"}, b"", "not percent-encoded UTF-8"),
        ({**CE, "CE-ID": "2"}, b"", "'ce-id' occurs twice"),
        ({**CE, "ce-data": "x"}, b"", "'ce-data' has no meaning"),
        ({**CE, "ce-datacontenttype": "text/xml"}, b"", "'ce-datacontenttype' has no meaning"),
        ({**CE, "ce-my-team": "x"}, b"", "'my-team' is no CloudEvents attribute name"),
        ({**CE, "ce-": "x"}, b"", "'' is no CloudEvents attribute name"),
        ({**CE, "ce-time": "today"}, b"", "no RFC 3339 time"),
        ({"ce-id": "1"}, b"", "specversion is None"),
    ],
)
def test_a_broken_request_is_refused_with_the_reason(headers: dict[str, str], body: bytes, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason):
        read_request(headers, body, max_event_bytes=1000)


def test_the_size_is_that_of_the_events_json_in_every_mode() -> None:
    event = Event(id="1", source="/s", type="t", time=datetime(2026, 11, 1, tzinfo=UTC), data={"x": "é" * 99})
    size = len(event.to_json().encode())
    structured_type, structured = write_structured(event)
    batch_type, many = write_batch([event, event])
    spaced = json.dumps(event.to_dict(), indent=8).encode()
    for headers, body in [
        ({"content-type": structured_type}, structured),
        ({"content-type": structured_type}, spaced),
        ({"content-type": batch_type}, many),
        write_binary(event),
    ]:
        assert read_request(headers, body, max_event_bytes=size) == [event]
        with pytest.raises(InvalidEvent, match=f"the event has {size} bytes; {size - 1} are allowed"):
            read_request(headers, body, max_event_bytes=size - 1)


MODES = st.sampled_from([STRUCTURED, BATCH, "application/json", "application/json; charset=x", "text/plain", ""])
BODIES = (
    st.binary(max_size=40)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda base, changes, wrap: json.dumps([{**base, **changes}] if wrap else {**base, **changes}).encode(),
        st.just(MINIMAL),
        st.dictionaries(st.sampled_from([*MINIMAL, "time", "data", "origin", "dataschema"]) | TEXT, VALUES),
        st.booleans(),
    )
)
HEADERS = st.dictionaries(
    st.sampled_from([*CE, "CE-id", "ce-time", "ce-x", "accept"]), st.text(max_size=10), max_size=5
)


@given(MODES, HEADERS, st.booleans(), BODIES, st.integers(0, 40), st.binary(max_size=2))
def test_any_request_is_events_or_refused(
    mode: str, headers: dict[str, str], minimal: bool, body: bytes, at: int, noise: bytes
) -> None:
    body = body[:at] + noise + body[at:]
    try:
        events = read_request({"content-type": mode, **(CE if minimal else {}), **headers}, body)
    except InvalidEvent as error:
        assert str(error)  # noqa: PT017 - whether it is raised depends on the example
        return
    assert read_request({"content-type": BATCH}, write_batch(events)[1]) == events
