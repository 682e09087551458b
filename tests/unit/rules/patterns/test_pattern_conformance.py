"""The pattern language's cases, as Amazon's reference implementation answered them."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules import InvalidPattern, PatternIndex
from ml_event_provider.rules.patterns.compiler import parse_json
from tests.unit.rules.patterns import naive_matcher

DATA = Path(__file__).parents[3] / "data" / "rules"


def cases(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]


#: A path written twice is refused, where the reference lets one of the two win by their order.
PATH_TWICE = {"or-038", "or-040", "or-043", "or-044", "or-045", "duplicate-key-007"}
PATH_TWICE_ACCEPTED = {"duplicate-path-002", "duplicate-path-003", "duplicate-path-004"}
#: All 128 bits of an IPv6 address may be asked for.
FULL_LENGTH = {"cidr-020"}
#: Text behind the pattern's end is refused: the reference drops it silently.
TEXT_BEHIND = {"json-015"}

BY_OPERATOR: dict[str, list[dict[str, Any]]] = defaultdict(list)
for _case in cases("matches"):
    BY_OPERATOR[_case["operator"]].append(_case)
INVALID: dict[str, list[dict[str, Any]]] = defaultdict(list)
for _case in cases("invalid"):
    INVALID[_case["id"].rsplit("-", 1)[0]].append(_case)


def pattern_of(case: dict[str, Any]) -> Any:
    return parse_json(case["pattern_text"]) if "pattern_text" in case else case["pattern"]


@pytest.mark.parametrize("operator", sorted(BY_OPERATOR))
def test_matches_as_the_reference_does(operator: str) -> None:
    wrong = []
    for case in BY_OPERATOR[operator]:
        if case["id"] in PATH_TWICE:
            with pytest.raises(InvalidPattern, match="stands twice"):
                PatternIndex({"rule": case["pattern"]})
            continue
        index = PatternIndex({"rule": case["pattern"]})
        if (index.match(case["event"]) == {"rule"}) != case["matches"]:
            wrong.append(case["id"])
    assert wrong == []


def test_rules_do_not_change_each_others_results() -> None:
    usable = [case for rows in BY_OPERATOR.values() for case in rows if case["id"] not in PATH_TWICE]
    index = PatternIndex()
    for case in usable:
        index.add(case["id"], case["pattern"])
    assert [case["id"] for case in usable if (case["id"] in index.match(case["event"])) != case["matches"]] == []
    for case in usable[::2]:
        index.remove(case["id"])
    left = usable[1::2]
    assert [case["id"] for case in left if (case["id"] in index.match(case["event"])) != case["matches"]] == []
    assert index.names() == sorted(case["id"] for case in left)


@pytest.mark.parametrize("kind", sorted(BY_OPERATOR))
def test_the_naive_matcher_is_right(kind: str) -> None:
    wrong = [
        case["id"]
        for case in BY_OPERATOR[kind]
        if case["id"] not in PATH_TWICE
        # These ask for a field of that name, which the naive matcher does not know.
        and not (isinstance(case["pattern"].get("$or"), dict) or "x" in case["pattern"].get("$or", ()))
        and {"prefix": "x"} not in case["pattern"].get("$or", ())
        and case["pattern"] != {"a": {"exists": {"numeric": [5]}}}
        and "12345678901234567890" not in json.dumps(case["event"])
        and naive_matcher.matches(case["pattern"], case["event"]) != case["matches"]
    ]
    assert wrong == []


@pytest.mark.parametrize("kind", sorted(INVALID))
def test_refuses_what_the_reference_refuses(kind: str) -> None:
    for case in INVALID[kind]:
        if case["id"] in FULL_LENGTH:
            PatternIndex.check(pattern_of(case))
            continue
        with pytest.raises(InvalidPattern) as caught:
            PatternIndex.check(pattern_of(case))
        error = caught.value
        assert isinstance(error, InvalidRule | ValueError)
        assert len(str(error)) > 20, case["id"]
        if "detail" in str(case["pattern"]):
            assert str(error).startswith("detail.v: "), case["id"]


@pytest.mark.parametrize("case", cases("accepted"), ids=lambda case: case["id"])
def test_accepts_what_the_reference_accepts(case: dict[str, Any]) -> None:
    if case["id"] in TEXT_BEHIND:
        with pytest.raises(InvalidPattern, match="Extra data"):
            pattern_of(case)
    elif case["id"] in PATH_TWICE_ACCEPTED:
        with pytest.raises(InvalidPattern, match="stands twice"):
            PatternIndex.check(pattern_of(case))
    else:
        PatternIndex.check(pattern_of(case))
