"""The reference names every operator, field, condition and preset, and its examples are right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ml_event_provider.events.catalogue import EVENT_TYPES
from ml_event_provider.rules import PRESETS, PatternIndex, Rule, load_rules
from ml_event_provider.rules.conditions import Condition
from ml_event_provider.rules.engine import Kind
from ml_event_provider.rules.lifecycle import Action, Cooldown
from ml_event_provider.rules.patterns.operators import OPERATORS
from ml_event_provider.rules.reference import DOCUMENTS, fields_markdown, parts
from ml_event_provider.rules.resources import natural_paths, opposite
from ml_event_provider.rules.scope import Scope

if TYPE_CHECKING:
    from pydantic import BaseModel

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
PATTERNS = (REFERENCE / "patterns.md").read_text("utf-8")
RULES = (REFERENCE / "rules.md").read_text("utf-8")
FIELDS = (REFERENCE / "rules-fields.md").read_text("utf-8")


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_every_operator_is_documented(operator: str) -> None:
    assert f'{{"{operator}": ' in PATTERNS


@pytest.mark.parametrize("name", sorted(Rule.model_fields))
def test_every_field_of_a_rule_has_its_part(name: str) -> None:
    table = RULES.split("\n## Fields\n")[1].split("\n## ")[0]
    assert f"`{name}`" in table


def test_the_page_of_fields_is_that_of_the_models() -> None:
    assert fields_markdown() == FIELDS, (
        "run python -m ml_event_provider.rules.reference > docs/reference/rules-fields.md"
    )


MODELS = [(title, path, model) for title, _, document in DOCUMENTS for path, model in parts(document).items()]


@pytest.mark.parametrize(("title", "path", "model"), MODELS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_field_of_every_part_is_documented(title: str, path: str, model: type[BaseModel]) -> None:
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", FIELDS, re.MULTILINE | re.DOTALL)
    if path:
        section = section.split(f"\n### `{path}`\n")[1]
    rows = re.findall(r"^\| \**`(\w+)`\** \| (.+?) \| .*? \| (.+?) \|$", section.split("\n### ")[0], re.MULTILINE)
    assert [name for name, _, _ in rows] == [field.alias or name for name, field in model.model_fields.items()]
    assert all(kind != "any" and meaning != "None" for _, kind, meaning in rows)


@pytest.mark.parametrize("model", [Rule, Scope, Condition, Cooldown, Action], ids=lambda model: model.__name__)
def test_parts_are_found(model: type[BaseModel]) -> None:
    assert model in [one for _, _, one in MODELS]


def test_kinds_are_told_in_words() -> None:
    assert "| **`count`** | whole number (at least 1, at most 1,000) |  | How many events. |" in FIELDS
    assert "| `cooldown` | duration or [object](#cooldown) |" in FIELDS
    assert "| `targets` | text (up to 250) or [object](#targets); or a list (up to 100) |" in FIELDS
    assert "| `resolve` | `true` or `false` or [object](#resolve) |" in FIELDS
    assert "| `interval` | duration | `5m` |" in FIELDS
    assert "| `closed` | text or [object](#closed); or a list (up to 1,000) |" in FIELDS


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_what_an_event_is_about_and_what_undoes_it_is_documented(name: str) -> None:
    family = f"{name.rpartition('.')[0]}.*"
    (row,) = (line for line in FIELDS.splitlines() if f"`{family}`" in line)
    assert row.endswith(f"| {', '.join(f'`{path}`' for path in natural_paths(name))} |")
    undone = [f"| `{name}` | {', '.join(f'`{kind}`' for kind in one['type'])} |" for one in opposite([name]) or ()]
    assert [line for line in FIELDS.splitlines() if line.startswith(f"| `{name}` |")] == undone


@pytest.mark.parametrize("name", Condition.model_fields)
def test_every_condition_is_explained(name: str) -> None:
    table = RULES.split("\n## Conditions\n")[1].split("\n## ")[0]
    assert re.search(rf"^\|[^|]*`{name}`[^|]*\|", table, re.MULTILINE)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_notification_is_explained(kind: Kind) -> None:
    assert f"| `{kind}` |" in RULES


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
