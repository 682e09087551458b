"""The index agrees with the naive matcher, whatever rules come and go."""

from __future__ import annotations

import contextlib
import gc
import random
import sys
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_event_provider.rules import InvalidPattern, PatternIndex, explain
from ml_event_provider.rules.patterns import index as index_module
from ml_event_provider.rules.patterns import settled as settled_module
from tests.unit.rules.patterns import naive_matcher
from tests.unit.rules.patterns.pattern_strategies import events, matching_events, patterns

PROFILE = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def usable(pattern: dict[str, Any]) -> bool:
    """A path may be drawn twice, or too many alternatives; the index refuses these."""
    try:
        PatternIndex.check(pattern)
    except InvalidPattern as error:
        if "twice" in str(error) or "alternatives" in str(error):
            return False
        raise
    return True


def expected(rules: dict[str, dict[str, Any]], event: dict[str, Any]) -> set[str]:
    return {name for name, pattern in rules.items() if naive_matcher.matches(pattern, event)}


@pytest.fixture(autouse=True, params=["at first", "settled", "shared"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How events are read: as after a change, or by functions written for the rules, split as far as can be or with
    maps that all of them share."""
    monkeypatch.setattr(index_module, "SETTLES_AFTER", 1 << 40 if request.param == "at first" else -1)
    monkeypatch.setattr(settled_module, "MAX_GROWTH", 1000)
    monkeypatch.setattr(settled_module, "MAX_COPIES", 1000 if request.param == "settled" else -1)
    monkeypatch.setattr(settled_module, "MIN_GAIN", 0)
    monkeypatch.setattr(settled_module, "MANY", 1)
    return str(request.param)


def matches(index: PatternIndex, event: dict[str, Any]) -> set[str]:
    """The match, after one that may let the index settle."""
    first = index.match(event)
    assert index.match(event) == first
    return first


@PROFILE
@given(st.data())
def test_one_pattern_matches_as_the_naive_matcher_does(data: st.DataObject) -> None:
    pattern = data.draw(patterns().filter(usable))
    event = data.draw(st.one_of(matching_events(pattern), matching_events(pattern), events))
    index = PatternIndex({"rule": pattern})
    assert matches(index, event) == expected({"rule": pattern}, event)


@PROFILE
@given(data=st.data())
def test_rules_that_come_and_go_match_as_the_naive_matcher_does(data: st.DataObject) -> None:
    drawn = data.draw(st.lists(patterns().filter(usable), min_size=2, max_size=6))
    seen = [data.draw(matching_events(pattern)) for pattern in drawn[:3]]
    changes = data.draw(
        st.lists(st.tuples(st.integers(0, 4), st.sampled_from([None, *drawn])), min_size=1, max_size=10)
    )
    index = PatternIndex()
    rules: dict[str, dict[str, Any]] = {}
    for number, pattern in changes:
        name = f"rule-{number}"
        if pattern is not None:
            index.add(name, pattern)
            rules[name] = pattern
        elif name in rules:
            index.remove(name)
            del rules[name]
        for event in seen:
            assert matches(index, event) == expected(rules, event), (event, rules)
    index.discard(list(rules))
    state = index._registry
    assert not state.rules
    assert not state.slots
    assert not any(usage.conditions or usage.values or usage.keys or usage.registered for usage in state.usages)
    assert not any(table.maps or table.any or table.low or table.high for table in index._snapshot.tables)
    assert all(not index.match(event) for event in seen)


@PROFILE
@given(data=st.data())
def test_rules_told_apart_by_a_type_match_as_the_naive_matcher_does(data: st.DataObject) -> None:
    """Most rules name one of few types, some ask for it otherwise; an event may have another, none, several, or no
    text."""
    kind = st.sampled_from(["x", "y", "z"])
    asked = st.one_of(
        kind,
        kind,
        st.sampled_from([{"anything-but": ["x"]}, {"prefix": "x"}, {"wildcard": "*y*"}, {"equals-ignore-case": "Z"}]),
    )
    rules: dict[str, dict[str, Any]] = {}
    drawn = data.draw(st.lists(patterns().filter(usable), min_size=4, max_size=8))
    for number, pattern in enumerate(drawn):
        types = data.draw(st.one_of(st.lists(asked, min_size=1, max_size=2), st.none()))
        rules[f"rule-{number}"] = pattern if types is None else {**pattern, "type": types}
    index = PatternIndex(rules)
    for pattern in drawn[:4]:
        event = data.draw(matching_events(pattern))
        value = data.draw(st.one_of(kind, kind, st.sampled_from(["w", None, 1, ["x", "y"], {"x": "y"}])))
        event |= {"type": value} if data.draw(st.booleans()) else {}
        assert matches(index, event) == expected(rules, event), (event, rules)


@PROFILE
@given(st.data())
def test_an_explanation_agrees_with_the_match(data: st.DataObject) -> None:
    pattern = data.draw(patterns().filter(usable))
    event = data.draw(matching_events(pattern))
    explained = explain(pattern, event)
    assert explained.matches is bool(PatternIndex({"rule": pattern}).match(event))
    if explained.matches:
        assert "(same array element)" not in [finding.path for finding in explained.findings]
    else:
        assert explained.causes


def test_a_rule_is_replaced_as_a_whole() -> None:
    index = PatternIndex({"rule": {"a": ["x"]}})
    index.add("rule", {"b": ["y"]})
    assert index.match({"a": "x"}) == set()
    assert index.match({"b": "y"}) == {"rule"}
    assert len(index) == 1


def test_a_wrong_pattern_leaves_the_index_as_it_was() -> None:
    index = PatternIndex({"rule": {"a": ["x"]}})
    with pytest.raises(InvalidPattern):
        index.update({"other": {"a": ["x"]}, "rule": {"a": "y"}})
    assert index.names() == ["rule"]
    assert index.match({"a": "x"}) == {"rule"}


def test_removing_an_unknown_rule_is_an_error_and_changes_nothing() -> None:
    index = PatternIndex({"rule": {"a": ["x"]}})
    with pytest.raises(KeyError, match="other"):
        index.remove("other")
    index.discard(["other"])
    assert "rule" in index
    assert "other" not in index


def test_the_result_is_the_callers_own() -> None:
    index = PatternIndex({"rule": {"a": ["x"]}})
    index.match({"a": "x"}).add("mine")
    assert index.match({"a": "x"}) == {"rule"}


def test_a_match_sees_a_change_whole_or_not_at_all() -> None:
    """Two rules that are swapped together are never seen both, and one of them always."""
    index = PatternIndex({"left": {"a": ["x"]}, "kept": {"b": ["y"]}})
    wrong: list[set[str]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            found = index.match({"a": "x", "b": "y"})
            if found not in ({"kept", "left"}, {"kept", "edited"}):
                wrong.append(found)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    readers = [threading.Thread(target=look) for _ in range(3)]
    try:
        for reader in readers:
            reader.start()
        for number in range(300):
            # "left" and "edited" change their patterns in one step: exactly one of them asks for x.
            first = number % 2 == 0
            index.update({"left": {"a": ["z" if first else "x"]}, "edited": {"a": ["x" if first else {"prefix": "z"}]}})
    finally:
        stop.set()
        for reader in readers:
            reader.join()
        sys.setswitchinterval(interval)
    assert wrong == []


@pytest.mark.parametrize("size", [50, 700])
def test_many_rules_of_one_field_match_as_the_naive_matcher_does(size: int) -> None:
    """Enough rules that maps are split, ranges lie in several chunks, and values are classes of their own."""
    rng = random.Random(size)

    def pattern() -> dict[str, Any]:
        low = rng.uniform(-100, 100)
        text = f"{rng.randrange(40)}-{rng.randrange(40)}"
        return rng.choice(
            [
                {"n": [{"numeric": [">", low]}]},
                {"n": [{"numeric": ["<=", low]}]},
                {"n": [{"numeric": [">=", low, "<", low + rng.choice([1e-9, 0.1, 1, 50, 1e9])]}]},
                {"t": [text]},
                {"t": [{"wildcard": f"*{text}*"}]},
                {"t": [{"wildcard": f"*/{text}/*"}]},
                {"t": [{"prefix": text}, {"suffix": text}]},
                {"t": [{"anything-but": [text, "x"]}], "n": [{"exists": False}]},
                {"t": [{"equals-ignore-case": f"X-{text}"}], "n": [{"numeric": [">", low]}]},
                {"t": [{"cidr": f"10.{rng.randrange(4)}.0.0/{rng.choice([8, 16, 24, 30])}"}]},
            ]
        )

    rules = {f"rule-{number}": pattern() for number in range(size)}
    index = PatternIndex(rules)
    for name in rng.sample(sorted(rules), size // 3):
        index.remove(name)
        del rules[name]
    for _ in range(60):
        text = f"{rng.randrange(40)}-{rng.randrange(40)}"
        event = rng.choice(
            [
                {"n": rng.uniform(-120, 120)},
                {"n": rng.randrange(-100, 100), "t": f"x/{text}/y"},
                {"t": [text, f"x-{text}"]},
                {"t": f"10.{rng.randrange(4)}.0.{rng.randrange(9)}"},
                {"n": [rng.uniform(-120, 120), 3], "t": text},
            ]
        )
        assert index.match(event) == expected(rules, event), event


@pytest.mark.parametrize(
    "event",
    [
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 10**400},
        {"a": -(10**400)},
        {"a": [[[[[[]]]]]]},
        {"a": {"b": {}}},
        {"a": object()},
        {"": {"": ""}},
        {},
    ],
    ids=["nan", "infinite", "huge", "huge and negative", "deep", "object", "no value of JSON", "no name", "empty"],
)
def test_odd_values_break_nothing(event: dict[str, Any]) -> None:
    index = PatternIndex(
        {
            "range": {"a": [{"numeric": [">", 5]}]},
            "narrow": {"a": [{"numeric": [">", 5, "<", 6]}]},
            "text": {"a": [{"wildcard": "*a*"}]},
            "equal": {"a": [1, "x", None, True]},
        }
    )
    assert index.match(event) == set()


def test_a_large_number_equals_its_own_text_only() -> None:
    index = PatternIndex({"exact": {"a": [12345678901234567890]}, "but": {"a": [{"anything-but": 5}]}})
    assert index.match({"a": 12345678901234567890}) == {"exact", "but"}
    assert index.match({"a": 12345678901234567891}) == {"but"}
    assert index.match({"a": 12345678901234567890.0}) == {"but"}


def test_deeply_nested_arrays_are_read() -> None:
    value: Any = "x"
    for _ in range(5000):
        value = [value]
    assert PatternIndex({"rule": {"a": ["x"], "a.b": [{"exists": False}]}}).match({"a": value}) == {"rule"}


def test_arrays_of_many_elements_are_joined_in_time() -> None:
    """Three fields that each hold in 400 elements; trying all combinations would take 64 million steps."""
    items = [{"a": "x", "b": "y", "n": number} for number in range(400)]
    items[399]["c"] = "z"
    index = PatternIndex({"rule": {"i": {"a": ["x"], "b": ["y"], "c": ["z"]}}})
    assert index.match({"i": items}) == {"rule"}
    del items[399]["b"]
    assert index.match({"i": items}) == set()


@pytest.mark.parametrize("asked", ["STRASSE", "straße", "STRASSE*", "*aße", "stras\u017fe"])
@pytest.mark.parametrize("value", ["straße", "STRASSE", "Strasse"])
def test_a_wildcard_in_any_case_folds_with_a_star_or_without(asked: str, value: str) -> None:
    index = PatternIndex({"rule": {"a": [{"wildcard": {"equals-ignore-case": asked}}]}})
    assert matches(index, {"a": value}) == {"rule"}
    assert matches(index, {"a": f"x{value}e"}) == set()


@pytest.mark.parametrize("kind", ["<", ">"])
def test_bounds_come_and_go(kind: str) -> None:
    """More than one chunk of bounds, several rules at one of them, added and removed one by one and at once."""
    rules = {f"rule-{number}": {"a": [{"numeric": [kind, number // 2]}]} for number in range(1500)}
    index = PatternIndex(rules)
    rng = random.Random(1)
    for name in rng.sample(sorted(rules), 200):
        index.remove(name)
        rules[name] = {"a": [{"numeric": [kind, rng.randrange(750)]}]}
        index.add(name, rules[name])
    gone = rng.sample(sorted(rules), 700)
    index.discard(gone)
    for name in gone:
        del rules[name]
    for value in (-1, 0, 3, 255.5, 400, 749, 1000):
        assert matches(index, {"a": value}) == expected(rules, {"a": value})


def test_one_update_finds_rules_by_their_rarest_key_whatever_their_order() -> None:
    """The keys are chosen when all are counted; the rule that was there before is moved if it must be."""
    index = PatternIndex({"old": {"type": ["x"], "name": ["old"]}})
    index.update({f"rule-{number}": {"type": ["x"], "name": [f"n{number}"]} for number in range(300)})
    tables, slots = index._snapshot.tables, index._registry.slots
    assert not tables[slots["type"]].of_text("x")
    assert index.match({"type": "x", "name": "n7"}) == {"rule-7"}
    assert index.match({"type": "x", "name": "old"}) == {"old"}


def test_a_field_compared_with_itself_comes_and_goes() -> None:
    index = PatternIndex({"rule": {"a": [{"compare-field": ["=", "a"]}]}})
    assert matches(index, {"a": 1}) == {"rule"}
    index.remove("rule")
    index.add("other", {"b": [{"compare-field": ["!=", "a"]}]})
    assert matches(index, {"a": 1, "b": 2}) == {"other"}


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("pattern", [{"a": ["x"]}, {"a": "wrong"}])
def test_a_large_update_leaves_the_search_for_garbage_as_it_was(enabled: bool, pattern: dict[str, Any]) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with contextlib.suppress(InvalidPattern):
            PatternIndex({f"rule-{number}": pattern for number in range(1000)})
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


@pytest.mark.parametrize("frozen", [True, False])
def test_what_the_process_keeps_from_the_search_for_garbage_stays_so(frozen: bool) -> None:
    """As a process does that forks others, so that they share its memory."""
    gc.unfreeze()
    if frozen:
        gc.freeze()
    kept = gc.get_freeze_count()
    try:
        PatternIndex({f"rule-{number}": {"a": [str(number)]} for number in range(600)})
        # Some of it may end meanwhile.
        assert gc.get_freeze_count() > kept * 0.9 if frozen else gc.get_freeze_count() == 0
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("count", [3, 200])
def test_an_index_that_settled_sees_later_changes(count: int) -> None:
    """It settles anew, also with more fields than functions are written for."""
    index = PatternIndex({f"rule-{number}": {f"f{number}": ["x"], "type": ["t"]} for number in range(count)})
    event = {f"f{number}": "x" for number in range(count)} | {"type": "t"}
    assert len(matches(index, event)) == count
    index.add("rule-0", {"f0": ["y"]})
    index.remove("rule-1")
    assert len(matches(index, event)) == count - 2
    assert matches(index, {"f0": "y"}) == {"rule-0"}


@pytest.mark.parametrize("depth", [10, 17, 90])
def test_deep_fields_are_read(depth: int) -> None:
    event: Any = "x"
    for _ in range(depth):
        event = {"a": event}
    index = PatternIndex({"rule": {".".join("a" * depth): ["x"]}, "other": {".".join("a" * depth): ["y"]}})
    assert matches(index, event) == {"rule"}


def test_names_from_rules_are_no_code() -> None:
    names = ["a'b", 'a"b', "a\\", "a\nimport os", "{0}", "#"]
    index = PatternIndex({name: {name: [name], f"{name}.{name}": [{"prefix": name}]} for name in names})
    for name in names:
        assert matches(index, {name: name, f"{name}.{name}": name}) == {name}


def test_an_event_is_verified_against_few_of_many_rules() -> None:
    """Of 5,000 rules, those with another model are not even looked at."""
    index = PatternIndex()
    for number in range(5000):
        index.add(f"rule-{number}", {"type": ["approved"], "data": {"model": [f"model-{number}"]}})
    snapshot = index._snapshot
    slot = index._registry.slots
    candidates = [
        *snapshot.tables[slot["type"]].of_text("approved"),
        *snapshot.tables[slot["data.model"]].of_text("model-17"),
    ]
    assert len(candidates) <= 3
    assert index.match({"type": "approved", "data": {"model": "model-17"}}) == {"rule-17"}
