"""What the analysis claims about CloudEvents of the catalogue's types holds for such events."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from ml_event_provider.events.catalogue import EVENT_TYPES
from ml_event_provider.rules import PatternIndex
from ml_event_provider.rules.analysis import (
    allowed_types,
    always_matches,
    never_matches,
    relation,
    unknown_names,
    witness,
)
from tests.unit.rules.analysis.catalogue_strategies import events, patterns

PROFILE = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def matches(pattern: dict[str, Any], document: dict[str, Any]) -> bool:
    return bool(PatternIndex({"pattern": pattern}).match(document))


@PROFILE
@given(st.data())
def test_claims_about_one_pattern_hold(data: st.DataObject) -> None:
    document = data.draw(events())
    pattern = data.draw(patterns(document))
    never = never_matches(pattern)
    always = always_matches(pattern, ignoring=())
    types = allowed_types(pattern)
    others = data.draw(st.lists(events(), min_size=2, max_size=2))
    event(f"never {never is not None}, always {always}, types {types and len(types)}")
    for each in (document, *others):
        held = matches(pattern, each)
        event(f"matches {held}")
        assert not (held and never), never
        assert held or not always
        assert not held or each["type"] not in EVENT_TYPES or types is None or each["type"] in types
    assert never is None or witness(pattern) is None


@PROFILE
@given(st.data())
def test_relations_hold(data: st.DataObject) -> None:
    document = data.draw(events())
    one, other = data.draw(patterns(document)), data.draw(patterns(document))
    if data.draw(st.booleans()):
        other = {"$and": [one, other]}
    found = relation(one, other)
    event(found)
    for each in (document, data.draw(events())):
        left, right = matches(one, each), matches(other, each)
        if found == "disjoint":
            assert not (left and right)
        if found in ("equal", "a_in_b"):
            assert right or not left
        if found in ("equal", "b_in_a"):
            assert left or not right


@PROFILE
@given(st.data())
def test_a_value_that_is_certainly_wrong_never_matches(data: st.DataObject) -> None:
    """Without what is reported as certainly wrong, a pattern matches the same events."""
    document = data.draw(events())
    path = data.draw(st.sampled_from(["type", "origin", "data.state", "data.status", "data.try_number", "data.tags"]))
    element = data.draw(st.sampled_from(["approved", "aproved", "failed", 1, True, None, {"prefix": "ap"}]))
    pattern = {"$and": [{"type": [document["type"]]}, {path: [element]}]}
    if any(problem.certain for problem in unknown_names(pattern)):
        event("certain")
        assert not matches(pattern, document)
