"""Whether a value fulfils several demands is answered as trying values answers it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_event_provider.rules.analysis.demands import Demand
from ml_event_provider.rules.analysis.texts import TooLarge, find
from ml_event_provider.rules.analysis.values import INTEGER, NUMBER, STRING, kind_fits, search
from tests.unit.rules.patterns.pattern_strategies import ALL, leaves

POOL = [
    *ALL,
    "abab",
    "xaby",
    "ab-c/y",
    "x/ab-cab",
    "SS",
    "ss",
    "B",
    "Bb",
    "-",
    "/ab-c/",
    "10.0.0.9",
    3,
    4.5,
    1e308,
    -7,
    299.5,
]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(leaves, min_size=1, max_size=3), st.lists(leaves, max_size=2))
def test_no_value_is_missed_and_none_made_up(wanted: list[Any], avoided: list[Any]) -> None:
    required = [Demand(found) for found in wanted]
    excluded = [Demand(found) for found in avoided]

    def fits(value: Any) -> bool:
        return all(demand.accepts(value) for demand in required) and not any(each.accepts(value) for each in excluded)

    found = search(required, excluded)
    assert all(fits(value) for value in found.values)
    if not found.possible:
        assert not [value for value in POOL if fits(value)]
    texts = search(required, excluded, frozenset({STRING}))
    if not texts.possible:
        assert not [value for value in POOL if isinstance(value, str) and fits(value)]
    for kinds in (frozenset({INTEGER}), frozenset({NUMBER})):
        numbers = search(required, excluded, kinds)
        assert all(kind_fits(value, kinds) for value in numbers.values)
        if not numbers.possible:
            assert not [value for value in POOL if kind_fits(value, kinds) and fits(value)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([[{"prefix": "ab"}], [{"suffix": "bc"}]], "abc"),
        ([[{"prefix": "ab"}], [{"suffix": "bc"}], [{"anything-but": "abc"}]], "abbc"),
        ([[{"wildcard": "a*b*c"}], [{"anything-but": {"prefix": ["ab", "ac"]}}]], "aabc"),
        ([[{"wildcard": "*b*"}], [{"anything-but": {"wildcard": "*b*"}}]], None),
        ([[{"prefix": "a"}], [{"prefix": {"equals-ignore-case": "AB"}}], [{"suffix": "B"}]], "aB"),
        ([[{"prefix": "b"}], [{"prefix": "a"}, {"suffix": "a"}]], "ba"),
        ([[{"wildcard": "\\*a\\\\*"}], [{"suffix": "z"}]], "*a\\z"),
        ([[{"wildcard": {"equals-ignore-case": "s*s"}}], [{"suffix": "\u00df"}]], "\u00df"),
        ([[{"wildcard": {"equals-ignore-case": "k*"}}], [{"anything-but": {"prefix": ["k", "K"]}}]], "\u212a"),
        ([[{"equals-ignore-case": "k"}], [{"anything-but": ["k", "K"]}]], None),
        ([[{"cidr": "10.0.0.0/8"}], [{"prefix": "192."}]], None),
        ([[{"cidr": "10.0.0.0/8"}], [{"prefix": "x"}]], None),
        ([[{"cidr": "2001:db8::/32"}], [{"anything-but": {"wildcard": "*:*"}}]], None),
    ],
)
def test_the_shortest_text_is_found(wanted: list[Any], expected: str | None) -> None:
    demands = [Demand(elements) for elements in wanted]
    found = find(demands)
    assert found == expected
    if found is not None:
        assert all(demand.accepts(found) for demand in demands)


@pytest.mark.parametrize(
    ("wanted", "kinds", "possible"),
    [
        ([[{"numeric": [">", 2]}], [{"numeric": ["<", 3]}]], {INTEGER}, False),
        ([[{"numeric": [">", 2]}], [{"numeric": ["<", 3]}]], {NUMBER}, True),
        ([[{"numeric": [">=", 3]}], [{"numeric": ["<=", 3]}], [{"anything-but": 3}]], {NUMBER}, False),
        ([[{"numeric": [">", 2**53]}]], {INTEGER}, True),
        ([[{"numeric": [">", 0]}], [{"numeric": ["<", 5e-324]}]], {NUMBER}, False),
        ([[{"prefix": "a"}, -1e300]], {NUMBER}, True),
        ([[{"prefix": "a"}, 1e300]], {INTEGER}, True),
        ([[{"cidr": "10.0.0.0/8"}], [{"cidr": "10.1.0.0/16"}]], {STRING}, True),
        ([[{"cidr": "10.0.0.0/16"}], ["10.1.0.0"]], {STRING}, False),
        ([["010.0.0.1"], ["10.0.0.1"]], {STRING}, True),
        ([[{"cidr": "::/1"}], [{"cidr": "8000::/1"}]], {STRING}, False),
        ([[{"prefix": ""}], [{"numeric": ["<", 0]}]], {STRING, NUMBER}, False),
        ([[1.0], [1]], {NUMBER}, True),
        ([[True], [1]], {NUMBER, "boolean"}, False),
        ([["300"], [300]], {NUMBER, STRING}, False),
    ],
)
def test_values_are_possible_or_not(wanted: list[Any], kinds: set[str], possible: bool) -> None:
    assert search([Demand(elements) for elements in wanted], kinds=frozenset(kinds)).possible is possible


def test_every_number_that_no_range_holds_is_thought_of() -> None:
    """12345678901234567891 is a number, and is neither below 0 nor at least 0 to a rule."""
    ranges = Demand([{"numeric": ["<", 0]}, {"numeric": [">=", 0]}])
    assert search([Demand([{"exists": True}])], [ranges], frozenset({NUMBER})).values


def test_nothing_is_claimed_of_a_wildcard_in_any_case_that_has_no_star() -> None:
    """Whether ``STRASSE`` is the same as ``straße`` to it, is not for this search to say."""
    wanted = [Demand([{"equals-ignore-case": "stra\u00dfe"}]), Demand([{"prefix": "STRA"}])]
    assert search(wanted, [Demand([{"wildcard": {"equals-ignore-case": "STRASSE"}}])]).possible


def test_too_large_a_question_is_given_up() -> None:
    words = [Demand([{"wildcard": "*" + "*".join("abcdefghij"[start:] + "klmnop") + "*"}]) for start in range(8)]
    endless = [*words, Demand([{"anything-but": {"wildcard": "*p*"}}])]
    with pytest.raises(TooLarge):
        find(endless)
    assert search(endless) == ([], False)
