"""The reference names every operator, field and preset, and its examples are right."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ml_event_provider.rules import PRESETS, PatternIndex, Rule, load_rules
from ml_event_provider.rules.patterns.operators import OPERATORS

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
PATTERNS = (REFERENCE / "patterns.md").read_text("utf-8")
RULES = (REFERENCE / "rules.md").read_text("utf-8")


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_every_operator_is_documented(operator: str) -> None:
    assert f'{{"{operator}": ' in PATTERNS


@pytest.mark.parametrize("name", sorted(Rule.model_fields))
def test_every_field_is_documented(name: str) -> None:
    assert f"`{name}`" in RULES


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_is_documented_with_its_type(preset: str) -> None:
    (row,) = re.findall(rf"\| `{preset}` \| (.*) \|", RULES)
    (kind,) = PRESETS[preset]["type"]
    assert f"`{kind}`" in row or "the same with" in row


@pytest.mark.parametrize("block", re.findall(r"```json\n(.*?)```", PATTERNS, re.DOTALL))
def test_the_patterns_shown_can_be_used(block: str) -> None:
    PatternIndex.check(json.loads(block))


def test_the_rule_shown_can_be_used(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", RULES, re.DOTALL)
    path = tmp_path / "rule.yaml"
    path.write_text(block, "utf-8")
    (rule,) = load_rules(path)
    PatternIndex.check(rule.pattern())
