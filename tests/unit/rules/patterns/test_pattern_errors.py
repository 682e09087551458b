"""What a wrong pattern's error names, and the extensions to the language."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from ml_event_provider.rules import InvalidPattern, PatternIndex
from ml_event_provider.rules.patterns import operators as operators_module
from ml_event_provider.rules.patterns.compiler import MAX_DEPTH, parse_json


@pytest.mark.parametrize(
    ("pattern", "path", "operator", "words"),
    [
        ({"data": {"state": [{"prefx": "a"}]}}, "data.state", "prefx", ["did you mean 'prefix'?", "suffix"]),
        ({"data": {"state": [{"Equals_Ignore_Case": "a"}]}}, "data.state", None, ["'equals-ignore-case'?"]),
        ({"data": {"a.b": [{"numeric": ["=>", 5]}]}}, "data.a.b", "numeric", ['"=>"', ">="]),
        ({"a": [{"anything-but": {"sufix": "x"}}]}, "a", "anything-but", ["did you mean 'suffix'?"]),
        ({"a": [{"anything-but": {"wildcard": ["a", "**"]}}]}, "a", "anything-but.wildcard", ["**"]),
        ({"a": "x"}, "a", "", ['write ["x"]']),
        ({"a": {"b": []}}, "a.b", "", ["empty list"]),
        ({"$or": [{"a": ["x"]}]}, "", "$or", ["two objects"]),
        ({"a": [{"cidr": "10.0.0.0/33"}]}, "a", "cidr", ["0 to 32"]),
        ({"a": [{"compare-field": ["~", "b"]}]}, "a", "compare-field", ["!="]),
        ({"a": [1], 5: ["x"]}, "", "", ["5", "string"]),
        ({"a": [object()]}, "a", "", ["object"]),
        ({"a": [float("nan")]}, "a", "", ["NaN"]),
        ([], "", "", ["JSON object"]),
        ({f"k{number}": ["x"] for number in range(257)}, "k256", "", ["256"]),
        ({"$and": ["x"]}, "", "$and", ["objects of fields"]),
        ({"a": {"$and": []}}, "a", "$and", ["not empty"]),
        ({"." * 200: ["x"]}, "." * 60, "", ["dots"]),
    ],
)
def test_an_error_names_path_operator_and_what_is_allowed(
    pattern: Any, path: str, operator: str | None, words: list[str]
) -> None:
    with pytest.raises(InvalidPattern) as caught:
        PatternIndex.check(pattern)
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.path == path
    assert operator is None or error.operator == operator
    for word in [*words, path]:
        assert word in str(error)


def test_a_pattern_of_too_many_alternatives_is_refused() -> None:
    ten = [{f"a{number}": ["x"]} for number in range(10)]
    others = [{"b": {"$or": ten}}, {"c": {"$or": ten}}, {"d": {"$or": ten}}, {"e": {"$or": ten[:2]}}]
    PatternIndex.check({"$and": others[:3]})
    with pytest.raises(InvalidPattern, match="over 1000 alternatives"):
        PatternIndex.check({"$and": others})


def test_a_pattern_nested_too_deep_is_refused() -> None:
    pattern: dict[str, Any] = {"a": ["x"]}
    for _ in range(MAX_DEPTH + 1):
        pattern = {"a": pattern}
    with pytest.raises(InvalidPattern, match=r"deep|dots"):
        PatternIndex.check(pattern)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": ["x"], "a": ["y"]}', "'a' stands twice"),
        ('{"a": ["x"]} {}', "Extra data"),
        ('{"a": [-Infinity]}', "-Infinity"),
        ("[]", "JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a": [' + "9" * 5000 + "]}", "not valid JSON"),
    ],
)
def test_a_pattern_as_text_is_read_strictly(text: str, words: str) -> None:
    with pytest.raises(InvalidPattern, match=words):
        parse_json(text)


def test_regex_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators_module, "find_spec", lambda name: None)
    with pytest.raises(InvalidPattern, match=r"exponential time.*google-re2"):
        PatternIndex.check({"a": [{"regex": "^a+$"}]})


@pytest.mark.parametrize(
    ("pattern", "event", "matches"),
    [
        ({"t": {"$and": ["a", "b"]}}, {"t": ["a", "c", "b"]}, True),
        ({"t": {"$and": ["a", "b"]}}, {"t": ["a", "c"]}, False),
        ({"t": {"$and": ["a", {"prefix": "b"}]}}, {"t": ["bc", "a"]}, True),
        ({"f": {"name": {"$and": ["age", "zip"]}}}, {"f": [{"name": "age"}, {"name": "zip"}]}, True),
        ({"$and": [{"a": ["x"]}, {"a": [{"prefix": "x"}]}]}, {"a": "x"}, True),
        ({"$and": [{"a": ["x"]}, {"a": ["y"]}]}, {"a": "x"}, False),
        ({"a": ["x"], "$and": [{"b": ["y"]}]}, {"a": "x", "b": "z"}, False),
        (
            {"f": {"$and": [{"n": ["age"], "s": [1]}, {"n": ["zip"], "s": [2]}]}},
            {"f": [{"n": "age", "s": 1}, {"n": "zip", "s": 2}]},
            True,
        ),
        (
            {"f": {"$and": [{"n": ["age"], "s": [1]}, {"n": ["zip"], "s": [2]}]}},
            {"f": [{"n": "age", "s": 2}, {"n": "zip", "s": 2}]},
            False,
        ),
        ({"v": [{"wildcard": {"equals-ignore-case": "A*z"}}]}, {"v": "aBCZ"}, True),
        ({"v": [{"wildcard": {"equals-ignore-case": "STRASSE*"}}]}, {"v": "straße 1"}, True),
        ({"v": [{"wildcard": {"equals-ignore-case": "a*z"}}]}, {"v": "ab"}, False),
        ({"n": [{"compare-field": [">=", "m"]}]}, {"n": 3, "m": 3}, True),
        ({"n": [{"compare-field": [">", "m"]}]}, {"n": 3, "m": 3}, False),
        ({"n": [{"compare-field": ["=", "m"]}]}, {"n": "x", "m": "x"}, True),
        ({"n": [{"compare-field": ["!=", "m"]}]}, {"n": "x"}, False),
        ({"n": [{"compare-field": ["=", "m"]}]}, {"n": True, "m": 1}, False),
        (
            {"f": {"v": [{"compare-field": [">", "f.max"]}]}},
            {"f": [{"v": 1, "max": 2}, {"v": 9, "max": 8}]},
            True,
        ),
        (
            {"f": {"v": [{"compare-field": [">", "f.max"]}]}},
            {"f": [{"v": 9, "max": 10}, {"v": 1, "max": 8}]},
            False,
        ),
        ({"d": {"a": [{"exists": False}], "b": ["x"]}}, {"d": [{"a": 1}, {"b": "x"}]}, True),
    ],
)
def test_extensions(pattern: dict[str, Any], event: dict[str, Any], matches: bool) -> None:
    assert (PatternIndex({"rule": pattern}).match(event) == {"rule"}) == matches


def test_caseless_comparison_works_outside_the_basic_plane() -> None:
    index = PatternIndex({"rule": {"a": [{"equals-ignore-case": "\U00010400"}]}})
    assert index.match({"a": "\U00010428"}) == {"rule"}


@pytest.mark.parametrize("wanted", ["10.0.0.1/32", "::1/128", "0.0.0.0/0", "::/0"])
def test_a_block_of_one_ip_version_has_no_address_of_the_other(wanted: str) -> None:
    index = PatternIndex({"rule": {"a": [{"cidr": wanted}]}})
    mine, other = ("::1", "10.0.0.1") if ":" in wanted else ("10.0.0.1", "::1")
    assert index.match({"a": mine}) == {"rule"}
    for value in (other, 10, "::ffff:10.0.0.1", "10.0.0.1/32", "10.0.0.1 "):
        assert index.match({"a": value}) == set()


def test_the_index_is_imported_without_pydantic_airflow_and_yaml() -> None:
    code = (
        "import sys; from ml_event_provider.rules import PatternIndex as P; P({'r': {'a': ['x']}}).match({});"
        "heavy = {'pydantic', 'airflow', 'yaml', 'sqlalchemy'}; print(sorted(heavy & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
