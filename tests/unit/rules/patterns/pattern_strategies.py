"""Hypothesis strategies of events and of patterns that have good chances to match them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.unit.rules.patterns import naive_matcher

TEXTS = [
    *("", "a", "A", "ab", "aB", "abc", "b", "ba", "a-b", "x/ab-c/y", "ab-c", "AB-C", "true", "5", "a*b"),
    *("10.0.0.1", "010.0.0.1", "10.0.1.9", "::1", "0:0::1"),
    *("straße", "STRASSE", "\u017f", "\u212a", "é", "É", "\U00010400", "\U00010428"),
]
NUMBERS = [0, 1, -1, 2, 5, 5.0, 0.5, -0.5, 1e-7, 1e300, 300, 3.0e2, -1e300, 2.5, 2**53]
NAMES = ["a", "b", "c", "d"]

texts = st.sampled_from(TEXTS)
numbers = st.sampled_from(NUMBERS)
plain = st.one_of(texts, texts, numbers, st.booleans(), st.none())
#: Some fields at two levels, also written with dots.
field_names = st.sampled_from([*NAMES, *NAMES, "a.b", "b.c", "a.a.b", ""])

values: st.SearchStrategy[Any] = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(field_names, inner, max_size=3), st.just([]), st.just({})
    ),
    max_leaves=8,
)
events = st.dictionaries(field_names, values, max_size=4)


@st.composite
def numeric(draw: st.DrawFn) -> list[Any]:
    low, high = sorted([draw(numbers), draw(numbers)])
    if low < high and draw(st.booleans()):
        return [draw(st.sampled_from([">", ">="])), low, draw(st.sampled_from(["<", "<="])), high]
    return [draw(st.sampled_from(["=", "<", "<=", ">", ">="])), low]


@st.composite
def wildcards(draw: st.DrawFn) -> str:
    parts = draw(
        st.lists(st.sampled_from(["a", "b", "ab", "-", "B", "c/", "\\*", "/ab-c/", "1", "straße", "SS"]), max_size=3)
    )
    stars = [draw(st.sampled_from(["*", ""])) for _ in range(len(parts) + 1)]
    return "".join(star + part for star, part in zip(stars, [*parts, ""], strict=True))


some = st.lists(texts, min_size=1, max_size=3)
filled = texts.filter(bool)
blocks = st.sampled_from(["10.0.0.0/8", "10.0.0.0/24", "10.0.0.1/32", "0.0.0.0/0", "::/0", "::1/128", "::/64"])
paths = st.sampled_from(["a", "b", "a.b", "b.c", "c.d", "a.a.b"])
operators: st.SearchStrategy[Any] = st.one_of(
    plain,
    plain,
    st.builds(lambda text: {"prefix": text}, texts),
    st.builds(lambda text: {"suffix": text}, texts),
    st.builds(lambda text: {"prefix": {"equals-ignore-case": text}}, texts),
    st.builds(lambda text: {"suffix": {"equals-ignore-case": text}}, texts),
    st.builds(lambda text: {"equals-ignore-case": text}, texts),
    st.builds(lambda text: {"wildcard": text}, wildcards()),
    st.builds(lambda text: {"wildcard": {"equals-ignore-case": text}}, wildcards()),
    st.builds(lambda found: {"numeric": found}, numeric()),
    st.builds(lambda found: {"exists": found}, st.booleans()),
    st.builds(lambda found: {"cidr": found}, blocks),
    st.builds(lambda found: {"anything-but": found}, st.one_of(texts, some, numbers, st.lists(numbers, min_size=1))),
    st.builds(lambda found: {"anything-but": {"prefix": found}}, st.one_of(filled, st.lists(filled, min_size=1))),
    st.builds(lambda found: {"anything-but": {"suffix": found}}, filled),
    st.builds(lambda found: {"anything-but": {"equals-ignore-case": found}}, st.one_of(texts, some)),
    st.builds(lambda found: {"anything-but": {"wildcard": found}}, wildcards()),
    st.builds(
        lambda sign, path: {"compare-field": [sign, path]},
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        paths,
    ),
)
leaves = st.lists(operators, min_size=1, max_size=3)


def fields(inner: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(field_names, inner, min_size=1, max_size=most)


nested = st.recursive(leaves, lambda inner: fields(inner), max_leaves=5)


@st.composite
def patterns(draw: st.DrawFn) -> dict[str, Any]:
    pattern = draw(fields(nested))
    extra = draw(st.integers(0, 9))
    if extra == 0:
        pattern["$or"] = draw(st.lists(fields(nested), min_size=2, max_size=3))
    if extra == 1:
        pattern["$and"] = draw(st.lists(fields(nested), min_size=1, max_size=2))
    if extra == 2:
        pattern["d"] = {"$and": draw(st.lists(operators, min_size=1, max_size=2))}
    if extra == 3:
        pattern["c"] = {
            "$or": draw(st.lists(fields(leaves), min_size=2, max_size=3)),
            **draw(fields(leaves, 1)),
        }
    return pattern


ALL: list[Any] = [*TEXTS, *NUMBERS, True, False, None]


@st.composite
def matching_events(draw: st.DrawFn, chosen: dict[str, Any]) -> dict[str, Any]:
    """An event that may well match the pattern: good values at its paths, in arrays, among others."""
    event: dict[str, Any] = {}
    for group in draw(st.sampled_from(naive_matcher.alternatives(chosen, ""))):
        for path, elements in group:
            good = [value for value in ALL if any(naive_matcher.holds(each, value) for each in elements)]
            if {"exists": False} in elements:
                # It may be there, but in another element of an array.
                good = [*good, *ALL] if draw(st.booleans()) else []
            if not good:
                continue
            value: Any = draw(st.sampled_from(good))
            if draw(st.integers(0, 3)) == 0:
                value = draw(st.permutations([value, draw(plain)]))
            place = event
            names = path.split(".")
            while len(names) > 1 and isinstance(place.setdefault(names[0], {}), dict):
                place = place[names.pop(0)]
            place[".".join(names)] = value
    return draw(in_arrays(event)) if draw(st.booleans()) else event


@st.composite
def in_arrays(draw: st.DrawFn, event: dict[str, Any]) -> dict[str, Any]:
    """The event with some of its objects as one of several elements of an array, or split over them."""
    found = {}
    for name, value in event.items():
        if isinstance(value, dict):
            value = draw(in_arrays(value))
            how = draw(st.integers(0, 3))
            if how == 1:
                value = draw(st.permutations([value, draw(values)]))
            elif how == 2:
                value = [{key: item} for key, item in value.items()]
            elif how == 3:
                value = [[value], draw(plain)]
        found[name] = value
    return found
