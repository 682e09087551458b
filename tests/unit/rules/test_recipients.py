"""Addresses are read as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.rules.recipients import addresses, split_name


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, []),
        ("", []),
        ("a@x.example", ["a@x.example"]),
        ("a@x.example;b@x.example\nc@x.example", ["a@x.example", "b@x.example", "c@x.example"]),
        ("a@x\uff0cb@x\uff1bc@x", ["a@x", "b@x", "c@x"]),
        (("a@x.example", "A <a@x.example>"), ["a@x.example"]),
        ("Lee, Ann <a@x>, b@x", ["a@x", "b@x"]),
        ('"Lee, Ann; b@y" <a@x>; c@x', ["a@x", "c@x"]),
        ("a@x (Lee, Ann), b@x", ["a@x", "b@x"]),
        # What is broken is kept, to be told, and does no harm to the others.
        ("nobody, a@x", ["nobody", "a@x"]),
        ('O"Brien <a@x>, b@x', ["a@x", "b@x"]),
        ("x <a@x> y, b@x", ["x <a@x> y", "b@x"]),
        (["a@x", "b x"], ["a@x", "b x"]),
    ],
)
def test_addresses_are_read_from_lists_and_texts(value: Any, found: list[str]) -> None:
    assert addresses(value) == found


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("Öps (ML) <a@x>", ("Öps (ML)", "a@x")),
        ('"a\\"b, c" <a@x>', ('a"b, c', "a@x")),
        ("Öps, ML <a@x>", ("Öps, ML", "a@x")),
        ("a@x (Ann)", ("Ann", "a@x")),
        (" a@x ", ("", "a@x")),
        ("<a@x>", ("", "a@x")),
    ],
)
def test_a_name_is_told_from_its_address(text: str, pair: tuple[str, str]) -> None:
    assert split_name(text) == pair


@given(st.text(st.sampled_from('"<>(),;\\ @a\n\0'), max_size=30))
def test_no_address_is_lost_or_made_up(text: str) -> None:
    for address in addresses(text):
        assert address in text
