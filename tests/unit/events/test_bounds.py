"""Large events are cut to the limit, and say so."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.events import Event
from ml_event_provider.events.bounds import MAX_EVENT_BYTES, SHORTEST_CUT, bounded, cut, cut_mark, size_of
from ml_event_provider.exceptions import InvalidEvent

LIMIT = 4000
TEXTS = st.builds(str.__mul__, st.sampled_from(["a", "é", "中", "😀", '"', "\0", "a\u0301"]), st.integers(0, 4000))


def event(**data: Any) -> Event:
    return Event(id="1", source="/s", type="t", time=datetime(2026, 11, 1, tzinfo=UTC), data=data)


@given(st.dictionaries(st.sampled_from("abc"), TEXTS | st.lists(TEXTS, max_size=1), max_size=2))
def test_the_result_is_within_the_limit(data: dict[str, Any]) -> None:
    original = event(**data)
    result = bounded(original, LIMIT)
    assert size_of(result) == len(result.to_json().encode()) <= LIMIT
    if size_of(original) <= LIMIT:
        assert result is original
    else:
        assert "… [cut " in result.to_json()
        assert result.data.keys() == original.data.keys()
        assert result.id == original.id


@pytest.mark.parametrize("character", ["a", "é", "中", "😀", '"', "\n", "\0", "\udcff"])
def test_the_limit_counts_bytes_as_they_are_sent(character: str) -> None:
    result = bounded(event(text=character * 400_000, state="failed"))
    assert SHORTEST_CUT * 4 < size_of(result) <= MAX_EVENT_BYTES
    assert result.data["state"] == "failed"
    kept, _, mark = result.data["text"].partition("…")
    assert "…" + mark == cut_mark(400_000 - len(kept))


def test_only_the_largest_texts_are_cut() -> None:
    result = bounded(event(traceback="x" * 5000, nested={"message": ["y" * 250]}), LIMIT)
    assert result.data["nested"] == {"message": ["y" * 250]}
    assert result.data["traceback"].startswith("x" * SHORTEST_CUT)


def test_the_original_keeps_its_texts() -> None:
    original = event(exception={"traceback": "x" * 5000})
    bounded(original, LIMIT)
    assert original.data == {"exception": {"traceback": "x" * 5000}}


def test_many_small_values_are_refused_with_the_size() -> None:
    many = event(values=list(range(2000)))
    with pytest.raises(InvalidEvent, match=rf"event '1' of type 't' has {size_of(many)} bytes .* {LIMIT} are allowed"):
        bounded(many, LIMIT)


def test_data_that_is_no_json_is_refused_as_such() -> None:
    with pytest.raises(InvalidEvent, match="cannot be JSON"):
        bounded(event(value=float("nan")))


@given(st.text(max_size=400), st.integers(0, 400))
def test_a_cut_never_lengthens_and_keeps_the_beginning(text: str, limit: int) -> None:
    result = cut(text, limit)
    assert len(result) <= len(text)
    assert len(result) <= limit + len(cut_mark(len(text)))
    if result != text:
        assert result == text[:limit] + cut_mark(len(text) - limit)


def test_the_largest_event_fits_the_json_of_the_limit() -> None:
    empty = size_of(event(text=""))
    exact = event(text="x" * (LIMIT - empty))
    assert bounded(exact, LIMIT) is exact
    assert bounded(event(text="x" * (LIMIT - empty + 1)), LIMIT).data["text"].endswith("characters]")
    assert json.loads(exact.to_json())["data"] == exact.data
