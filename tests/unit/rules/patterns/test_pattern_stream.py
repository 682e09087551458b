"""A stream of events through many rules, so long that the index settles by itself: as the naive matcher says."""

from __future__ import annotations

import random
from typing import Any

import pytest

from benchmarks.rule_events import KINDS, event
from ml_event_provider.rules import PatternIndex
from tests.unit.rules.patterns import naive_matcher

#: Other ways to ask for a field of which most rules name a value.
OTHERWISE: list[list[Any]] = [
    [{"anything-but": ["model_version.created"]}],
    [{"anything-but": {"prefix": "model_version.d"}}],
    ["model_version.created", {"suffix": ".failed"}],
    [{"wildcard": "model_version.*ed"}],
    [{"equals-ignore-case": "MODEL_VERSION.METRICS"}],
    [{"prefix": "model_version."}],
    [{"exists": True}],
]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_many_rules_match_as_each_by_itself_does(kind: str) -> None:
    chance = random.Random(kind)
    rules: dict[str, dict[str, Any]] = {}
    for number in range(160):
        rules[f"rule-{number}"] = pattern = KINDS[kind](chance, number % 4)
        if chance.random() < 0.1:
            pattern["type"] = chance.choice(OTHERWISE)
    index = PatternIndex(rules)
    for number in range(260):
        one = event(chance, 4)
        if number % 20 == 0:
            one["type"] = chance.choice([["model_version.created", "other"], "other", None])
        if number % 5 == 0 or number > 150:
            by_itself = {name for name, pattern in rules.items() if naive_matcher.matches(pattern, one)}
            assert index.match(one) == by_itself, one
        else:
            index.match(one)
    assert index._snapshot.read is not None
