"""JSON that readers could understand differently is refused, and by one exception only."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.events.strict_json import MAX_DEPTH, parse_json, shown
from ml_event_provider.exceptions import InvalidEvent

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_python_writes_is_read_back(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"{} {}", "Extra data"),
        (b"{'a': 1}", "Expecting property name"),
        (b"[1,]", "Expecting value"),
        (b'"a\nb"', "control character"),
        (b"[NaN]", "'NaN' is no number"),
        (b"[Infinity]", "'Infinity' is no number"),
        (b"[-Infinity]", "'-Infinity' is no number"),
        (b"[1e999]", "'1e999' is no number"),
        (b"[-1e999]", "'-1e999' is no number"),
        (b"[" + b"9" * 400 + b"]", "is no number"),
        (b"[" + b"9" * 5000 + b"]", "is no number"),
        (b'{"a": 1, "b": 2, "a": 3}', "key 'a' twice"),
        (b'[{"a": {"b": 1, "\\u0062": 2}}]', "key 'b' twice"),
        (b'["\\ud800"]', "half a surrogate pair"),
        (b'["\\udc00\\ud800"]', "half a surrogate pair"),
        (b'{"\\udfff": 1}', "half a surrogate pair"),
        (b'"\xff"', "can't decode byte 0xff"),
        (b'"\xed\xa0\x80"', "can't decode byte 0xed"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("\ufeff{}", "byte order mark"),
        ("{}".encode("utf-16"), "can't decode"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "deeper than 64"),
        (b"[" * 200_000, "deeper than 64"),
        (b'{"a":' * 200_000, "deeper than 64"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_ambiguous_or_broken_json_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_the_depth_allowed_is_read(opening: str, closing: str) -> None:
    assert parse_json(opening * MAX_DEPTH + "1" + closing * MAX_DEPTH)
    with pytest.raises(InvalidEvent, match="deeper than 64"):
        parse_json(opening * (MAX_DEPTH + 1) + "1" + closing * (MAX_DEPTH + 1))


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert parse_json(rb'"\ud83d\ude00"') == "😀"


@given(st.binary(max_size=60) | st.text('[]{}",:\\u0dD8 1e9.-NaInfity\ufeff', max_size=60).map(str.encode))
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        value = parse_json(body)
    except InvalidEvent:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    assert not (isinstance(value, float) and math.isnan(value))


def test_shown_is_short() -> None:
    assert shown("a") == "'a'"
    assert len(shown("a" * 10_000)) == 101
