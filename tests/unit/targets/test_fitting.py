from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.targets.fitting import ELLIPSIS, fitted, pieces


def within(limit: int, text: str) -> str:
    """The text within so many bytes of UTF-8."""
    return fitted(text, lambda part: len(part.encode()) <= limit)


def test_what_fits_is_left_alone() -> None:
    text = "größer 大"
    assert within(len(text.encode()), text) == text


@pytest.mark.parametrize("limit", range(4, 60))
def test_a_cut_in_a_multi_byte_character_gives_whole_characters(limit: int) -> None:
    cut = within(limit, "大" * 30)
    assert len(cut.encode()) <= limit
    assert cut == "大" * ((limit - 3) // 3) + ELLIPSIS


def test_a_cut_is_made_between_words() -> None:
    assert within(20, "alpha beta gamma delta") == "alpha beta gamma…"


@pytest.mark.parametrize("text", ["e\u0301" * 30, "\U0001f468\u200d\U0001f469" * 10, "\u2764\ufe0f" * 20])
@pytest.mark.parametrize("limit", range(12, 60))
def test_composed_characters_stay_whole(text: str, limit: int) -> None:
    cut = within(limit, text)
    rest = text[len(cut) - 1 :]
    assert cut.endswith(ELLIPSIS)
    assert not unicodedata.combining(rest[0])
    assert rest[0] not in "\u200d\ufe0f"
    assert cut[-2:-1] != "\u200d"


@given(st.text(max_size=300), st.integers(min_value=3, max_value=400))
def test_a_cut_text_always_fits_and_is_a_beginning(text: str, limit: int) -> None:
    cut = within(limit, text)
    assert len(cut.encode()) <= limit
    assert cut == text or text.startswith(cut.removesuffix(ELLIPSIS))


@given(st.text(alphabet="ab \n大", max_size=400), st.integers(min_value=4, max_value=50))
def test_pieces_hold_the_limit_and_every_word(text: str, limit: int) -> None:
    parts = pieces(text, limit)
    assert all(0 < len(part) <= limit for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_pieces_are_cut_between_lines() -> None:
    assert pieces("one two\nthree four\nfive", 12) == ["one two", "three four", "five"]
