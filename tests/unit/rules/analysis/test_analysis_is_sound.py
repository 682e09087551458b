"""What the analysis claims holds for every event that is made up: patterns and events at random."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st

from ml_event_provider.rules import InvalidPattern, PatternIndex
from ml_event_provider.rules.analysis import (
    UNKNOWN,
    always_matches,
    may_match,
    never_matches,
    relation,
    witness,
)
from tests.unit.rules.patterns.pattern_strategies import events, leaves, matching_events, patterns

PROFILE = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def usable(pattern: dict[str, Any]) -> bool:
    """A path may be drawn twice, or too many alternatives; the index refuses these."""
    try:
        PatternIndex.check(pattern)
    except InvalidPattern as error:
        if "twice" in str(error) or "alternatives" in str(error):
            return False
        raise
    return True


def matches(pattern: dict[str, Any], document: dict[str, Any]) -> bool:
    return bool(PatternIndex({"pattern": pattern}).match(document))


#: Few fields, asked about more than once: these contradict each other often.
fields = st.dictionaries(st.sampled_from(["a", "a.b", "b"]), leaves, min_size=1, max_size=2)
crowded = st.lists(fields, min_size=2, max_size=3).map(lambda parts: {"$and": parts})
asked = st.one_of(patterns(), crowded, crowded).filter(usable)


def drawn(data: st.DataObject, *found: dict[str, Any]) -> dict[str, Any]:
    """An event that may well match one of the patterns."""
    return data.draw(st.one_of(*(matching_events(pattern) for pattern in found for _ in range(2)), events))


@PROFILE
@given(st.data())
def test_what_never_matches_does_not_match(data: st.DataObject) -> None:
    pattern = data.draw(asked)
    if never_matches(pattern, schemas=False) is not None:
        event("never")
        for _ in range(5):
            assert not matches(pattern, drawn(data, pattern))


@PROFILE
@given(st.data())
def test_what_always_matches_matches(data: st.DataObject) -> None:
    names = st.sampled_from(["a", "b"])
    either = st.lists(
        st.one_of(leaves.map(lambda found: [*found, {"exists": True}, {"exists": False}]), leaves), min_size=1
    )
    branch = st.dictionaries(names, either.map(lambda found: [item for each in found for item in each]), min_size=1)
    pattern = data.draw(st.one_of(branch, st.lists(branch, min_size=2, max_size=3).map(lambda found: {"$or": found})))
    assume(usable(pattern))
    if always_matches(pattern, schemas=False):
        event("always")
        for _ in range(5):
            assert matches(pattern, drawn(data, pattern))


@PROFILE
@given(st.data())
def test_an_event_with_unknown_parts_may_match_what_the_whole_event_matches(data: st.DataObject) -> None:
    pattern = data.draw(asked)
    whole = nested(drawn(data, pattern))
    if matches(pattern, whole):
        event("matches")
        assert may_match(pattern, whole)
        assert may_match(pattern, data.draw(with_unknown_parts(whole)))


@PROFILE
@given(st.data())
def test_a_whole_event_that_does_not_match_may_match_only_by_what_it_lacks(data: st.DataObject) -> None:
    pattern = data.draw(asked)
    partial = nested(drawn(data, pattern))
    if not may_match(pattern, partial):
        assert not matches(pattern, partial)


def nested(document: Any) -> Any:
    """The same with objects in place of names with dots, as far as these are no contradiction."""
    if isinstance(document, list):
        return [nested(item) for item in document]
    if not isinstance(document, dict):
        return document
    result: dict[str, Any] = {}
    for name, value in document.items():
        *above, last = name.split(".")
        place = result
        for part in above:
            place = place.setdefault(part, {})
            assume(isinstance(place, dict))
        assume(last not in place)
        place[last] = nested(value)
    return result


@st.composite
def with_unknown_parts(draw: st.DrawFn, document: Any) -> Any:
    if isinstance(document, list):
        return [draw(with_unknown_parts(item)) for item in document]
    if not isinstance(document, dict):
        return document
    result = {}
    for name, value in document.items():
        how = draw(st.integers(0, 3))
        if how == 0:
            result[name] = UNKNOWN
        elif how > 1:
            result[name] = draw(with_unknown_parts(value))
    return result


@PROFILE
@given(st.data())
def test_a_relation_holds_for_every_event(data: st.DataObject) -> None:
    one = data.draw(asked)
    other = data.draw(st.one_of(asked, variants(one)).filter(usable))
    found = relation(one, other, schemas=False)
    event(found)
    for _ in range(4):
        document = drawn(data, one, other)
        left, right = matches(one, document), matches(other, document)
        if found == "disjoint":
            assert not (left and right)
        if found in ("equal", "a_in_b"):
            assert right or not left
        if found in ("equal", "b_in_a"):
            assert left or not right


@st.composite
def variants(draw: st.DrawFn, pattern: dict[str, Any]) -> dict[str, Any]:
    """The same pattern with more or fewer values or fields, or written otherwise."""
    how = draw(st.integers(0, 4))
    if how == 0:
        return {"$and": [pattern]}
    if how == 1:
        return {"$and": [pattern, draw(asked)]}
    if how == 2:
        return {"$or": [pattern, draw(asked)]}
    changed = dict(pattern)
    name = draw(st.sampled_from([*pattern]))
    if how == 3 and len(pattern) > 1:
        del changed[name]
    elif isinstance(changed[name], list) and not name.startswith("$"):
        changed[name] = [*changed[name], *draw(leaves)]
    return changed


@PROFILE
@given(asked)
@example({"a": [{"compare-field": ["<", "b"]}], "b": [{"compare-field": ["<", "c.d"]}]})
def test_a_witness_matches(pattern: dict[str, Any]) -> None:
    found = witness(pattern, schemas=False)
    event("found" if found else "none")
    if found is not None:
        assert matches(pattern, found)
        assert never_matches(pattern, schemas=False) is None
        assert may_match(pattern, found)
