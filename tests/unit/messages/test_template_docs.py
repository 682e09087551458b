"""The page about templates names everything that a template may use, and its examples are true."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ml_event_provider.messages import limits
from ml_event_provider.messages.about import About
from ml_event_provider.messages.blocks import BLOCKS
from ml_event_provider.messages.dialects import DIALECTS, Dialect
from ml_event_provider.messages.filters import FILTERS
from ml_event_provider.messages.preview import sample_events
from ml_event_provider.messages.renderer import MAX_OUTPUT_BYTES
from tests.unit.messages.conftest import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml_event_provider.events.model import Event
    from ml_event_provider.messages import Renderer

PAGE = (Path(__file__).parents[3] / "docs/reference/templates.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)}


def _names(section: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)[`(]", SECTIONS[section]))


def test_every_filter_is_documented(built_in: Renderer) -> None:
    usable = {name for name in built_in._sandboxes["text"].filters if not name.startswith("_")}
    assert usable >= set(FILTERS)
    assert usable - _names("Filters") == set()


def test_every_function_is_documented(built_in: Renderer) -> None:
    usable = set(built_in._sandboxes["text"].globals)
    assert usable >= set(Dialect.functions)
    assert usable - _names("Values are data") - _names("Filters") == set()


def test_every_block_and_dialect_is_documented() -> None:
    assert set(BLOCKS) <= _names("Blocks")
    assert set(DIALECTS) - {"text"} <= set(re.findall(r"`(\w+)`", SECTIONS["Which template is used"]))


def test_every_variable_is_documented(with_template: Callable[..., Renderer], failed_task: Event) -> None:
    for name in ("event", "data", "state", "rule", "severity", "options", "alert", "channel", "icon", "tone"):
        assert name in _names("Variables")
        assert render(with_template(f"{{{{ {name} is defined }}}}"), failed_task).body == "true"


@pytest.mark.parametrize("name", [*(one.name for one in fields(About)), "ordinary", "lines", "unnamed"])
def test_all_of_the_alert_is_documented(with_template: Callable[..., Renderer], failed_task: Event, name: str) -> None:
    assert f"| `alert.{name}` |" in SECTIONS["Variables"]
    assert render(with_template(f"{{{{ alert.{name} is defined }}}}"), failed_task).body == "true"


@pytest.mark.parametrize("event_type", sample_events())
def test_every_built_in_type_is_documented_with_its_template(built_in: Renderer, event_type: str) -> None:
    template = render(built_in, sample_events()[event_type]).template
    assert f"| `{event_type}` | `{template}` |" in SECTIONS["Built-in templates"]


@pytest.mark.parametrize(
    ("expression", "result"),
    re.findall(r"^\| `\w+` \| `([\d.\"][^`]*)` \| `([^`]*)` \|$", SECTIONS["Filters"], flags=re.MULTILINE),
)
def test_examples_of_filters_are_true(
    with_template: Callable[..., Renderer], failed_task: Event, expression: str, result: str
) -> None:
    source = "{{ " + expression.replace("\\|", "|") + " }}"
    assert render(with_template(source), failed_task).body == result


def test_examples_of_templates_work(with_template: Callable[..., Renderer], failed_task: Event) -> None:
    extended, body = re.findall(r"```jinja\n(.*?)```", PAGE, flags=re.DOTALL)
    renderer = with_template(extended)
    assert "> On call this week: see the rota" in render(renderer, failed_task).body
    assert '"seconds": 1122.4' in renderer.render_json(body, failed_task, title="x")


@pytest.mark.parametrize(
    "limit",
    [
        f"{limits.MAX_STEPS:,}",
        f"{limits.MAX_RANGE:,} numbers",
        f"{limits.MAX_SIZE:,} characters",
        f"{limits.MAX_INTEGER_BITS} bits",
        f"{limits.MAX_SOURCE:,} characters",
        f"{MAX_OUTPUT_BYTES // 1024} KiB",
    ],
)
def test_limits_are_documented(limit: str) -> None:
    assert limit in SECTIONS["Limits"]
