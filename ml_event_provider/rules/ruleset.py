"""Many rules in one index, of all workspaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.patterns.index import PatternIndex

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ml_event_provider.events import Event
    from ml_event_provider.rules.model import Rule


class RuleSet:
    """The enabled ones of some rules.

    A rule that cannot be used does not stop the others: ``broken`` tells why, by the rule's name.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.broken: dict[str, str] = {}
        self._rules: dict[str, Rule] = {}
        patterns = {}
        for rule in rules:
            if not rule.enabled:
                continue
            key = f"{rule.workspace}\n{rule.name}"
            if key in self._rules:
                self.broken[rule.name] = (
                    f"workspace {rule.workspace!r} has two rules named {rule.name!r}; the first is used"
                )
                continue
            try:
                pattern = rule.pattern()
                PatternIndex.check(pattern)
            except InvalidRule as error:
                self.broken[rule.name] = str(error)
                continue
            self._rules[key] = rule
            patterns[key] = pattern
        self._index = PatternIndex(patterns)

    def __len__(self) -> int:
        return len(self._rules)

    def match(self, event: Event) -> list[Rule]:
        """The rules that the event matches, sorted by name."""
        found = [self._rules[key] for key in self._index.match(event.to_dict())]
        return sorted(found, key=lambda rule: (rule.name, rule.workspace))
