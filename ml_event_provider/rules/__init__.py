"""Rules: event patterns in one index, rule files, and why a pattern matched an event or did not.

The index needs the standard library only; the rule model, which needs pydantic, is imported when it is
asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ml_event_provider.rules.patterns.errors import InvalidPattern
from ml_event_provider.rules.patterns.index import PatternIndex

if TYPE_CHECKING:
    from ml_event_provider.rules.files import load_rules
    from ml_event_provider.rules.model import Rule, RuleTarget, rule_json_schema
    from ml_event_provider.rules.patterns.explanation import Explained, Finding, explain
    from ml_event_provider.rules.presets import PRESETS
    from ml_event_provider.rules.ruleset import RuleSet

__all__ = [
    "PRESETS",
    "Explained",
    "Finding",
    "InvalidPattern",
    "PatternIndex",
    "Rule",
    "RuleSet",
    "RuleTarget",
    "explain",
    "load_rules",
    "rule_json_schema",
]

# The names that are imported when they are first used. A function is not named as its module.
_LATER = {
    "PRESETS": "presets",
    "Explained": "patterns.explanation",
    "Finding": "patterns.explanation",
    "Rule": "model",
    "RuleSet": "ruleset",
    "RuleTarget": "model",
    "explain": "patterns.explanation",
    "load_rules": "files",
    "rule_json_schema": "model",
}


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
