"""EventBridge's rules become rules of ours, and what has no counterpart is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider.cli.rules_imported import LEFT_OUT, import_rules
from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules import InvalidPattern, PatternIndex
from ml_event_provider.rules.files import load_rules
from ml_event_provider.rules.importing.eventbridge import converted
from ml_event_provider.rules.importing.files import as_yaml, imported, said

if TYPE_CHECKING:
    from ml_event_provider.rules.importing.model import Imported

ROOT = Path(__file__).parents[4]
DATA = ROOT / "tests/data/importing/eventbridge"
CASES = [json.loads(line) for line in (ROOT / "tests/data/rules/matches.jsonl").read_text("utf-8").splitlines()]


def of(tmp_path: Path, value: Any) -> list[Imported]:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(value))
    return imported("eventbridge", [file], ["slack"])[file]


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    return bool(PatternIndex({"it": pattern}).match(event))


def test_the_sample_of_the_how_to_is_what_comes_of_it(tmp_path: Path) -> None:
    page = (ROOT / "docs/howto/import-rules.md").read_text("utf-8")
    (given,), (made,) = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("json", "yaml"))
    file = tmp_path / "rules.json"
    file.write_text(given)
    found = imported("eventbridge", [file], ["my_slack"])[file]
    assert as_yaml(found) == made
    written = tmp_path / "rules.yaml"
    written.write_text(made)
    assert [rule.name for rule in load_rules(written)] == ["training-failed"]


def test_amazons_documented_pattern_is_carried_over_whole() -> None:
    (one,) = imported("eventbridge", [DATA / "sagemaker-model.json"], ["slack"])[DATA / "sagemaker-model.json"]
    assert one.left == ()
    assert one.rule == {
        "name": "sagemaker-model",
        "event_pattern": {
            "source": ["aws.sagemaker"],
            "type": ["SageMaker Model State Change"],
            "subject": ["arn:aws:sagemaker:us-east-1:123456789012:model/model-name"],
        },
        "targets": ["slack"],
    }


def test_each_part_of_a_listing_is_mapped_or_named(tmp_path: Path) -> None:
    found = imported("eventbridge", [DATA / "rules.json"], ["slack"])[DATA / "rules.json"]
    paths = {left.path for one in found for left in one.left}
    assert paths == {
        "Rules[0].Arn",
        "Rules[0].EventBusName",
        "Rules[0].EventPattern.region",
        "Rules[1].ScheduleExpression",
        "Rules[1].EventPattern",
        "Rules[3].EventPattern",
        "NextToken",
    }
    file = tmp_path / "out.yaml"
    file.write_text(as_yaml(found), "utf-8")
    rules = {rule.name: rule for rule in load_rules(file)}
    assert set(rules) == {"training-failed", "either"}
    assert not rules["either"].enabled
    assert rules["training-failed"].description == "A training job failed"
    assert all(f"# {line}" in file.read_text("utf-8") for one in found for line in said(one))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["id"]))
def test_a_pattern_below_detail_answers_below_data_as_it_did(case: dict[str, Any]) -> None:
    before, after = {"detail": case["pattern"]}, {"data": case["pattern"]}
    pattern, left = converted(before)
    assert (pattern, left) == (after, [])
    try:
        wanted = matches(before, {"detail": case["event"]})
    except InvalidPattern:
        with pytest.raises(InvalidPattern):
            PatternIndex.check(pattern)
        return
    assert matches(pattern, {"data": case["event"]}) == wanted


def test_an_alternative_that_would_match_everything_makes_no_rule(tmp_path: Path) -> None:
    (one,) = of(tmp_path, {"$or": [{"region": ["eu-west-1"]}, {"source": ["aws.s3"]}]})
    assert one.rule is None
    assert "would match everything" in one.left[0].why


def test_templates_of_cloudformation_and_terraform_give_their_rules(tmp_path: Path) -> None:
    pattern = {"source": ["aws.sagemaker"]}
    (rule, bucket) = of(
        tmp_path,
        {
            "Resources": {
                "Mine": {"Type": "AWS::Events::Rule", "DependsOn": "B", "Properties": {"EventPattern": pattern}},
                "B": {"Type": "AWS::S3::Bucket"},
            }
        },
    )
    assert rule.rule is not None
    assert [left.path for left in (*rule.left, *bucket.left)] == ["Resources.Mine.DependsOn", "Resources.B"]
    terraform = {"name": "tf", "event_pattern": json.dumps(pattern), "is_enabled": False}
    (one,) = of(tmp_path, {"resource": {"aws_cloudwatch_event_rule": {"x": terraform}}})
    assert one.rule == {"name": "tf", "enabled": False, "event_pattern": pattern, "targets": ["slack"]}


def test_a_name_that_breaks_lines_stays_in_its_comment(tmp_path: Path) -> None:
    found = of(tmp_path, {"source": ["a"], "x\nrules: [": ["b"]})
    file = tmp_path / "out.yaml"
    file.write_text(as_yaml(found), "utf-8")
    assert [rule.name for rule in load_rules(file)] == ["mine"]


def test_a_pattern_that_is_wrong_makes_no_rule_and_says_why(tmp_path: Path) -> None:
    (one,) = of(tmp_path, {"detail": {"a": [{"prefx": "b"}]}})
    assert one.rule is None
    assert "prefx" in one.left[0].why


def test_rules_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    each = {"Name": "same", "EventPattern": '{"source": ["a"]}'}
    assert [one.name for one in of(tmp_path, {"Rules": [each, each]})] == ["same", "same-2"]


def test_what_is_no_rule_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidRule, match=r"mine\.json: nothing that eventbridge writes"):
        of(tmp_path, [1])


def test_the_command_writes_files_and_its_exit_code_says_that_something_was_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = SimpleNamespace(file=[str(DATA / "rules.json")], target=[], output=str(tmp_path / "out"))
    vars(args)["from"] = "eventbridge"
    with pytest.raises(SystemExit) as ended:
        import_rules(args)
    assert ended.value.code == LEFT_OUT
    assert "2 rules imported, 7 parts left out" in capsys.readouterr().err
    assert len(load_rules(tmp_path / "out")) == 2
    with pytest.raises(SystemExit) as ended:
        import_rules(args)
    assert ended.value.code == 1
    assert "is there already" in capsys.readouterr().err
    args.file, args.output = [str(DATA / "sagemaker-model.json")], ""
    import_rules(args)
    assert capsys.readouterr().out.startswith("rules:\n- name: sagemaker-model")
