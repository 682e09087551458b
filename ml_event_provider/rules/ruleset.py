"""Many rules in one index, of all workspaces, with the resource groups, calendars and silences around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.patterns.index import PatternIndex

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ml_event_provider.events import Event
    from ml_event_provider.rules.calendars import Calendar
    from ml_event_provider.rules.model import Rule
    from ml_event_provider.rules.scope import ResourceGroup
    from ml_event_provider.rules.silences import Silence

#: Asked only whether the hours' calendar exists.
_ANY_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Found:
    """What an event is to the rules: for each that it concerns its roles there; and the silences that fit it."""

    roles: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    silences: list[Silence] = field(default_factory=list)
    #: The rules for which the event is too costly to match: whether it concerns them is not known.
    too_costly: set[tuple[str, str]] = field(default_factory=set)


class RuleSet:
    """The enabled ones of some rules.

    A rule or silence that cannot be used does not stop the others: ``broken`` tells why, by the rule's name or
    ``"silence …"``.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        groups: Iterable[ResourceGroup] = (),
        calendars: Iterable[Calendar] = (),
        silences: Iterable[Silence] = (),
    ) -> None:
        self.broken: dict[str, str] = {}
        self._rules: dict[tuple[str, str], Rule] = {}
        #: What each name of the index stands for: a rule's place and a role, or a silence.
        self._meaning: dict[str, tuple[tuple[str, str], str] | Silence] = {}
        self._groups = _by_workspace(groups)
        self._calendars = _by_workspace(calendars)
        self._silences: dict[str, dict[str, Silence]] = {}
        patterns: dict[str, Mapping[str, Any]] = {}
        for rule in rules:
            if rule.enabled:
                patterns.update(self._patterns_of(rule))
        for silence in silences:
            patterns.update(self._pattern_of(silence))
        self._patterns = patterns
        self._index = PatternIndex(patterns)

    def _patterns_of(self, rule: Rule) -> dict[str, Mapping[str, Any]]:
        place = rule.workspace, rule.name
        if place in self._rules:
            self.broken[rule.name] = (
                f"workspace {rule.workspace!r} has two rules named {rule.name!r}; the first is used"
            )
            return {}
        try:
            patterns = rule.patterns(self._groups.get(rule.workspace, {}))
            for pattern in patterns.values():
                PatternIndex.check(pattern)
            targets = [*rule.targets, *(target for step in rule.escalate for target in step.targets)]
            for hours in [rule.active, *(target.active for target in targets)]:
                if hours is not None:
                    hours.is_open(_ANY_MOMENT, self.calendars(rule.workspace))
        except InvalidRule as error:
            self.broken[rule.name] = str(error)
            return {}
        self._rules[place] = rule
        named: dict[str, Mapping[str, Any]] = {}
        for role, pattern in patterns.items():
            key = f"{rule.workspace}\n{rule.name}\n{role}"
            self._meaning[key] = place, role
            named[key] = pattern
        return named

    def _pattern_of(self, silence: Silence) -> dict[str, Mapping[str, Any]]:
        pattern = silence.pattern()
        try:
            PatternIndex.check(pattern)
        except InvalidRule as error:
            self.broken[f"silence {silence.name}"] = str(error)
            return {}
        self._silences.setdefault(silence.workspace, {})[silence.name] = silence
        key = f"{silence.workspace}\n{silence.name}\n\nsilence"
        self._meaning[key] = silence
        return {key: pattern}

    def __len__(self) -> int:
        return len(self._rules)

    def get(self, workspace: str, name: str) -> Rule | None:
        """The rule of that name, if it is enabled and can be used."""
        return self._rules.get((workspace, name))

    def rules(self) -> list[Rule]:
        """All rules that can be used."""
        return list(self._rules.values())

    def patterns(self) -> list[Mapping[str, Any]]:
        """The event patterns of all events that rules look at."""
        return [pattern for name, pattern in self._patterns.items() if isinstance(self._meaning[name], tuple)]

    def groups(self, workspace: str) -> Mapping[str, ResourceGroup]:
        """The resource groups of a workspace by name."""
        return self._groups.get(workspace, {})

    def calendars(self, workspace: str) -> Mapping[str, Calendar]:
        """The calendars of a workspace by name."""
        return self._calendars.get(workspace, {})

    def has_silences(self, workspace: str) -> bool:
        """Whether a workspace has any silence."""
        return workspace in self._silences

    def silence(self, workspace: str, name: str) -> Silence | None:
        """The silence of that name, if there is one."""
        return self._silences.get(workspace, {}).get(name)

    def find(self, document: Mapping[str, Any]) -> Found:
        """What an event (``Event.to_dict()``) is to the rules."""
        found = Found()
        costly: set[str] = set()
        matched = self._index.match(document, costly)
        for meaning in map(self._meaning.__getitem__, costly):
            if isinstance(meaning, tuple):
                found.too_costly.add(meaning[0])
        for name in matched:
            meaning = self._meaning[name]
            if isinstance(meaning, tuple) and meaning[0] not in found.too_costly:
                found.roles.setdefault(meaning[0], set()).add(meaning[1])
            elif not isinstance(meaning, tuple):
                found.silences.append(meaning)
        return found

    def match(self, event: Event) -> list[Rule]:
        """The rules whose own events include this one, sorted by name."""
        found = self.find(event.to_dict()).roles
        rules = [self._rules[place] for place, roles in found.items() if "hit" in roles]
        return sorted(rules, key=lambda rule: (rule.name, rule.workspace))


def _by_workspace(things: Iterable[Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for thing in things:
        found.setdefault(thing.workspace, {})[thing.name] = thing
    return found
