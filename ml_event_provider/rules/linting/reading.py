"""A rule with its patterns, and which events of the catalogue these allow."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.analysis import unknown_names
from ml_event_provider.rules.analysis.contradiction import conflict
from ml_event_provider.rules.analysis.demands import alternatives
from ml_event_provider.rules.analysis.fields import World, worlds
from ml_event_provider.rules.lifecycle import Resolve
from ml_event_provider.rules.linting.remarks import Level, Remark

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ml_event_provider.rules.matcher import Matcher
    from ml_event_provider.rules.model import Rule, RuleTarget
    from ml_event_provider.rules.scope import ResourceGroup

#: Where the rule says which events have that role.
_PLACES: Final = {
    "break": "condition.consecutive.broken_by",
    "other": "condition.last.others",
    "then": "condition.sequence.then",
    "resolve": "resolve",
}


class Reading:
    """A rule as the checks read it."""

    def __init__(self, rule: Rule, groups: Mapping[str, ResourceGroup]) -> None:
        self.rule: Final = rule
        #: The groups of the scope that do not exist.
        self.missing: Final = [name for name in rule.scope.groups if name not in groups]
        self.groups: Final = groups
        #: By role, why no index can take the pattern.
        self.broken: Final[dict[str, str]] = {}
        self._worlds: dict[str, frozenset[World]] = {}

    def remark(self, level: Level, code: str, field: str, text: str) -> Remark:
        """A remark about the rule."""
        return Remark(level, self.rule.workspace, self.rule.name, field, text, code)

    @cached_property
    def patterns(self) -> dict[str, dict[str, Any]]:
        """By role, the event patterns that can be used. Groups that do not exist narrow nothing."""
        found = self.ungrouped if self.missing else self.rule.patterns(self.groups)
        usable = {}
        for role, pattern in found.items():
            try:
                alternatives(pattern)
            except InvalidRule as error:
                self.broken[role] = str(error)
            else:
                usable[role] = pattern
        return usable

    @cached_property
    def ungrouped(self) -> dict[str, dict[str, Any]]:
        """By role, the event patterns without the scope's groups."""
        if not self.rule.scope.groups:
            return self.patterns
        scope = self.rule.scope.model_copy(update={"groups": ()})
        return self.rule.model_copy(update={"scope": scope}).patterns({})

    def worlds(self, role: str = "hit") -> frozenset[World]:
        """The event types that a role's pattern allows, those of users as one; none if no event can match."""
        found = self._worlds.get(role)
        if found is None:
            pattern = self.patterns.get(role)
            found = self._worlds[role] = frozenset() if pattern is None else _possible(pattern)
        return found

    def ours(self, role: str = "hit") -> bool:
        """Whether a role's events are as the catalogue says: only this package makes those of Airflow."""
        return all(world.type is not None and world.type.startswith("airflow.") for world in self.worlds(role))

    def lacks(self, path: str, role: str = "hit") -> str:
        """Why no event of a role has the field, with the nearest name; empty if one may have it."""
        return _lacking(self.worlds(role), path)

    def matcher(self, role: str) -> Matcher | None:
        """Where the rule says itself which events have the role."""
        if role == "hit":
            return self.rule
        if role.startswith("inhibit"):
            return self.rule.inhibit[int(role.removeprefix("inhibit"))]
        if role == "resolve":
            return self.rule.resolve if isinstance(self.rule.resolve, Resolve) else None
        return None if self.rule.condition is None else self.rule.condition.others.get(role)

    def place(self, role: str) -> str:
        """The field that says which events have the role."""
        if role == "hit":
            return "event_pattern" if self.rule.event_pattern is not None else "on"
        return f"inhibit[{role.removeprefix('inhibit')}]" if role.startswith("inhibit") else _PLACES[role]

    def targets(self) -> Iterator[tuple[str, RuleTarget]]:
        """All targets with their places, those of the escalation too."""
        for number, target in enumerate(self.rule.targets):
            yield f"targets[{number}]", target
        for step, escalation in enumerate(self.rule.escalate):
            for number, target in enumerate(escalation.targets):
                yield f"escalate[{step}].targets[{number}]", target


def _possible(pattern: Mapping[str, Any]) -> frozenset[World]:
    found: set[World] = set()
    for alternative in alternatives(pattern):
        found |= {
            world
            for world in worlds(alternative, schemas=True)
            if world not in found and conflict(alternative, world) is None
        }
    return frozenset(found)


@lru_cache(4096)
def _lacking(possible: frozenset[World], path: str) -> str:
    types = sorted(world.type for world in possible if world.type)
    # A dollar begins the pattern language's own words.
    if not possible or any(name.startswith("$") for name in path.split(".")):
        return ""
    asked: dict[str, Any] = {path: [{"exists": False}]}
    if len(types) == len(possible) and path != "type":
        asked["type"] = types
    found = [problem.text for problem in unknown_names(asked) if problem.path == path]
    if found:
        return found[0]
    names = path.split(".")
    above = {".".join(names[:count]) for count in range(1, len(names))}
    if len(types) == len(possible) and all(world.field(path).arrays & above for world in possible):
        return f"{path} leads through a list, of which no single value can be taken"
    return ""
