"""Rule files: what they may look like, and where their errors point."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules import Rule, load_rules

if TYPE_CHECKING:
    from pathlib import Path


def written(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def errors_of(path: Path) -> list[str]:
    with pytest.raises(InvalidRule) as caught:
        load_rules(path)
    return [line.removeprefix(f"{path.parent}/") for line in str(caught.value).splitlines()]


ONE = "name: a\non: task failed\ntargets: slack\n"


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("one.yaml", ONE, ["a"]),
        ("quoted.yml", '"name": a\n"on": [task failed]\n"targets": [slack]\n', ["a"]),
        (
            "list.yaml",
            "- {name: a, on: [task failed], targets: [s]}\n- {name: b, on: x.y, targets: [s]}\n",
            ["a", "b"],
        ),
        ("rules.yaml", "rules:\n  - {name: a, on: [task failed], targets: [s]}\n", ["a"]),
        ("documents.yaml", f"---\n{ONE}---\n---\n- {{name: b, on: x.y, targets: [s]}}\n...\n", ["a", "b"]),
        ("anchors.yaml", "- &a {name: a, on: x.y, targets: [s]}\n- {<<: *a, name: b}\n", ["a", "b"]),
        ("one.json", json.dumps({"name": "a", "on": "x.y", "targets": ["s"]}), ["a"]),
        ("tabs.json", '{\t"name":\t"\\ud83d\\ude00",\n\t"on": "x.y", "targets": ["s"]}', ["\U0001f600"]),
    ],
)
def test_a_file_holds_one_rule_or_many(tmp_path: Path, name: str, text: str, names: list[str]) -> None:
    assert [rule.name for rule in load_rules(written(tmp_path / name, text))] == names


def test_a_folder_is_read_in_order_of_paths(tmp_path: Path) -> None:
    written(tmp_path / "b.yaml", ONE.replace("name: a", "name: second"))
    written(tmp_path / "a" / "deep" / "x.json", '{"name": "first", "on": "x.y", "targets": ["s"]}')
    written(tmp_path / "notes.txt", "no rule")
    written(tmp_path / ".hidden" / "c.yaml", "no: rule")
    assert [rule.name for rule in load_rules(tmp_path)] == ["first", "second"]


def test_words_are_not_taken_as_booleans_or_dates(tmp_path: Path) -> None:
    text = (
        "name: no\non: x.y\ntargets: s\nworkspace: on\nowner: 2024-01-01\nenabled: false\n"
        "event_pattern:\n  on: [yes, off, 12:30:45, true, 1e3, 0x10, null, '1']\n"
    )
    (rule,) = load_rules(written(tmp_path / "a.yaml", text))
    assert (rule.name, rule.workspace, rule.owner, rule.enabled) == ("no", "on", "2024-01-01", False)
    assert rule.event_pattern == {"on": ["yes", "off", "12:30:45", True, 1000.0, 16, None, "1"]}


WRONG = """\
name: a
on: airflow.dagrun.failed
sevrity: high
event_pattern:
  data:
    $or:
      - state: [x]
      - model:
          name:
            - {prefx: a}
targets:
  - slack
  - {conn_id: ding, optoins: {}}
"""


def test_each_error_names_file_line_field_and_what_is_allowed(tmp_path: Path) -> None:
    found = errors_of(written(tmp_path / "a.yaml", WRONG))
    assert len(found) == 4
    assert found[0].startswith("a.yaml:2: on: 'airflow.dagrun.failed' is no event type")
    assert "did you mean 'airflow.dag_run.failed'?" in found[0]
    pattern = "a.yaml:9: event_pattern.data.$or[1].model.name: 'prefx' is no operator; did you mean 'prefix'?"
    assert found[1].startswith(pattern)
    assert found[2].startswith("a.yaml:13: targets[1].optoins: is no field of a target; did you mean 'options'?")
    assert found[3].startswith("a.yaml:3: sevrity: is no field of a rule; did you mean 'severity'?")


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("a.yaml", "", "a.yaml:1: the file is empty"),
        ("a.yaml", "# only words\n", "a.yaml:1: the file holds no rule"),
        ("a.yaml", "rules: []\n", "a.yaml:1: the file holds no rule"),
        ("a.yaml", "name: a\n\ton: x\n", "a.yaml:2: not valid YAML"),
        ("a.yaml", "\tname: a\n", "a.yaml:1: not valid YAML"),
        ("a.yaml", "name: a\nname: b\n", "a.yaml:2: the key 'name' stands twice; it is also on line 1"),
        ("a.yaml", "on: a\n'on': b\n", "a.yaml:2: the key 'on' stands twice"),
        ("a.yaml", b"\xef\xbb\xbf" + ONE.encode(), "a.yaml:1: begins with a byte order mark"),
        ("a.yaml", ONE.encode("utf-16"), "a.yaml:1: begins with a byte order mark"),
        ("a.yaml", b"name: a\nowner: \xe9\n", "a.yaml:2: the byte 0xe9 is not UTF-8"),
        ("a.yaml", "name: a\nowner: \x00\n", "a.yaml:2: not valid YAML: control characters"),
        ("a.yaml", "name: !!python/name:os.system\n", "a.yaml:1: the tag"),
        ("a.yaml", "a: &a [*a]\n", "a.yaml:1: nested more than"),
        ("a.yaml", "[" * 300_000, "a.yaml:1: nested more than 100 deep"),
        ("a.json", "[" * 300_000, "a.json:1: nested more than 100 deep"),
        ("a.yaml", "? [a]\n: b\n", "a.yaml:1: a key must be a string"),
        ("a.yaml", "just words\n", "a.yaml:1: a rule is a mapping"),
        ("a.yaml", "rules: {}\n", "a.yaml:1: 'rules' must be a list"),
        ("a.yaml", "rules: []\nversion: 1\n", "a.yaml:2: 'version' cannot stand beside 'rules'"),
        ("a.yaml", "- {<<: 5, name: a}\n", "a.yaml:1: << takes a mapping"),
        ("a.json", '{"name": "a",\n "on": x}', "a.json:2: not valid JSON"),
        ("a.json", '{"name": "a",\n "name": "b"}', "a.json:2: the key 'name' stands twice"),
        ("a.json", '{"name": NaN}', "a.json:1: not valid JSON"),
        ("a.json", '{"name": "a",\n "description": "\\u0000"}', "a.json:2: '\\x00' holds the character NUL"),
        ("a.json", '{"name": "a",\n "a\\u0000": 1}', "a.json:2: 'a\\x00' holds the character NUL"),
        (
            "a.json",
            '{"a": [1,\n {"b": "x\\ud800"}],\n "c": "\\udfff"}',
            "a.json:2: 'x\\ud800' holds half a surrogate pair",
        ),
        ("a.json", '{"a":\n {"\\udc00": 1}}', "a.json:2: '\\udc00' holds half a surrogate pair"),
        ("a.json", '{"a": [\n1, 1e400]}', "a.json:2: the number is beyond"),
        ("a.json", '{"a": [\n1,\n-1' + "0" * 309 + "]}", "a.json:3: the number is beyond"),
        ("a.yaml", 'name: a\nowner: "x\\0"\n', "a.yaml:2: 'x\\x00' holds the character NUL"),
        ("a.yaml", 'name: a\n"\\0": x\n', "a.yaml:2: '\\x00' holds the character NUL"),
        ("a.yaml", "a: &a\n  - 1.0e+400\nb: *a\n", "a.yaml:2: the number is beyond"),
        ("a.json", '[\n {"name": "a", "on": "x.y",\n  "targets": []}]', "a.json:3: targets: is empty"),
        (
            "a.json",
            '{"name": "a", "on":\n "x.y",\n "targets": [{"a": 1,\n "conn_id": 5}]}',
            "a.json:4: targets[0].conn_id",
        ),
    ],
)
def test_a_bad_file_says_where_and_what(tmp_path: Path, name: str, text: str | bytes, error: str) -> None:
    assert errors_of(written(tmp_path / name, text))[0].startswith(error)


def test_an_alias_bomb_is_stopped(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "aliases counted each time" in errors_of(written(tmp_path / "a.yaml", "\n".join(lines)))[0]


def test_two_rules_of_one_name_are_named_with_both_places(tmp_path: Path) -> None:
    written(tmp_path / "a.yaml", ONE)
    written(tmp_path / "b.yaml", f"# second\n{ONE}")
    written(tmp_path / "c.yaml", f"{ONE}workspace: other\n")
    with pytest.raises(InvalidRule) as caught:
        load_rules(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/b.yaml:2: name: workspace 'default' has a rule named 'a' already, at {tmp_path}/a.yaml:1"
    )


def test_problems_of_all_files_are_told_together(tmp_path: Path) -> None:
    written(tmp_path / "a.yaml", "")
    written(tmp_path / "b.json", "{")
    written(tmp_path / "c.yaml", ONE.replace("slack", "[]"))
    with pytest.raises(InvalidRule) as caught:
        load_rules(tmp_path)
    assert [line.rpartition("/")[2][:6] for line in str(caught.value).splitlines()] == [
        "a.yaml",
        "b.json",
        "c.yaml",
    ]


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_missing_or_empty_folder_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRule, match=name):
        load_rules(tmp_path / name)


def test_a_rule_survives_writing_and_reading(tmp_path: Path) -> None:
    rule = Rule.model_validate(
        {
            "name": "a",
            "on": ["task failed"],
            "event_pattern": {"data": {"dag_id": ["x"]}},
            "targets": ["s"],
            "tags": ["t"],
        }
    )
    path = written(tmp_path / "a.json", rule.model_dump_json())
    assert load_rules(path) == [rule]


@pytest.mark.parametrize(
    ("field", "where"),
    [
        ("condition: {consecutive: {count: VALUE}}", "condition.consecutive.count"),
        ("condition: {threshold: {count: VALUE, within: 1h}}", "condition.threshold.count"),
        ("condition: {metric_threshold: {comparison: '>', threshold: VALUE}}", "condition.metric_threshold.threshold"),
        ("group: {max: VALUE}", "group.max"),
        ("flapping: {changes: VALUE}", "flapping.changes"),
    ],
)
@pytest.mark.parametrize(("value", "shown"), [("true", "true"), ('"3"', "'3'")])
def test_a_number_is_neither_true_nor_a_text(tmp_path: Path, field: str, where: str, value: str, shown: str) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text(f"name: r\non: task failed\ntargets: ops\n{field.replace('VALUE', value)}\n", "utf-8")
    with pytest.raises(InvalidRule) as raised:
        load_rules(path)
    assert str(raised.value).startswith(f"{path}:4: {where}: must be a number, not {shown}")


def test_an_operator_without_its_list_is_told_how_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text('name: r\nevent_pattern: {data: {value: {numeric: [">", 1]}}}\ntargets: ops\n', "utf-8")
    with pytest.raises(InvalidRule) as raised:
        load_rules(path)
    assert 'event_pattern.data.value: \'numeric\' stands outside a list; write [{"numeric": [">", 1]}]' in str(
        raised.value
    )
