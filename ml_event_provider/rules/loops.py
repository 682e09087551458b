"""Rules whose actions cause the events that they fire on, so that they would act for ever."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from ml_event_provider.rules.linting.causes import Cause, Followers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from ml_event_provider.rules.linting.causes import Edge
    from ml_event_provider.rules.model import Rule
    from ml_event_provider.rules.scope import ResourceGroup

#: How many loops are reported, and how many steps of a loop are told.
MAX_LOOPS: Final = 20
MAX_STEPS: Final = 10


class Loop(NamedTuple):
    """Rules, as workspace and name, each of which causes what the next fires on, the last for the first."""

    rules: tuple[tuple[str, str], ...]
    text: str


def find_loops(
    rules: Sequence[Rule],
    *,
    groups: Iterable[ResourceGroup] = (),
    asset_consumers: Mapping[str, Collection[str]] | None = None,
) -> list[Loop]:
    """The loops that can be seen, at most ``MAX_LOOPS``; each elementary one once, the shortest first.

    A rule follows if its own pattern may match an event that an action causes, and either asks which DAG or asset
    it is about or matches all such events. Where it may merely happen to match, say by the owner, nothing is seen.
    A rule that waits for the absence of events does not follow by them. Only rules of one workspace follow each other.

    :param groups: the resource groups that scopes name; a rule that cannot be used is left out.
    :param asset_consumers: by an asset's URI or name, the DAGs that an update of this asset alone starts.
    """
    graph = _Graph(rules, groups, asset_consumers or {})
    return [graph.loop(path) for path in sorted(islice(graph.cycles(), MAX_LOOPS), key=len)]


class _Graph:
    """Which rule causes events of which."""

    def __init__(
        self, rules: Sequence[Rule], groups: Iterable[ResourceGroup], consumers: Mapping[str, Collection[str]]
    ) -> None:
        self.rules = [rule for rule in rules if rule.enabled and rule.actions]
        self.followers = Followers(self.rules, groups)
        self.consumers = consumers
        self.edges = [self._edges(rule) for rule in self.rules]

    def _edges(self, rule: Rule) -> dict[int, Edge]:
        """The rules that follow, each with how it comes first."""
        found: dict[int, Edge] = {}
        for cause in self._causes(rule):
            found = {**self.followers.of(cause), **found}
        return found

    def _causes(self, rule: Rule) -> Iterator[Cause]:
        for action in rule.actions:
            if action.trigger_dag is not None:
                yield Cause(rule.workspace, "dag_id", action.trigger_dag.dag_id)
            elif action.asset_event is not None:
                asset = action.asset_event
                field, value = ("uri", asset.uri) if asset.uri is not None else ("name", str(asset.name))
                yield Cause(rule.workspace, field, value)
                for dag_id in sorted(self.consumers.get(value, ())):
                    yield Cause(rule.workspace, "dag_id", dag_id, by_asset=True)

    def cycles(self) -> Iterator[tuple[int, ...]]:
        """The elementary cycles, those of one rule first; each begins with its first rule."""
        for rule, edges in enumerate(self.edges):
            if rule in edges:
                yield (rule,)
        left = self._entangled(frozenset(range(len(self.rules))))
        while left:
            start = min(left)
            left -= {start}
            yield from self._back(start, left)
            left = self._entangled(left)

    def _entangled(self, among: frozenset[int]) -> frozenset[int]:
        """Those from which the others can be followed without end."""
        before: dict[int, list[int]] = {rule: [] for rule in among}
        degrees: dict[int, int] = {}
        for rule in among:
            nexts = (self.edges[rule].keys() & among) - {rule}
            degrees[rule] = len(nexts)
            for following in nexts:
                before[following].append(rule)
        ends = [rule for rule, degree in degrees.items() if not degree]
        for rule in ends:
            for one in before[rule]:
                degrees[one] -= 1
                if not degrees[one]:
                    ends.append(one)
        return among.difference(ends)

    def _back(self, start: int, allowed: frozenset[int]) -> Iterator[tuple[int, ...]]:
        """The ways from a rule over others back to it."""
        # Where there is but one way on, it leads back if the one before it did.
        todo: list[tuple[tuple[int, ...], bool]] = [((start,), False)]
        while todo:
            path, sure = todo.pop()
            free = allowed.difference(path)
            if not sure and not self._leads(path[-1], start, free):
                continue
            if len(path) > 1 and start in self.edges[path[-1]]:
                yield path
            following = sorted(free & self.edges[path[-1]].keys(), reverse=True)
            todo += [((*path, one), len(following) == 1) for one in following]

    def _leads(self, rule: int, start: int, free: frozenset[int]) -> bool:
        """Whether the start can be reached over free rules."""
        todo, seen = [rule], {rule}
        while todo:
            edges = self.edges[todo.pop()]
            if start in edges:
                return True
            new = (edges.keys() & free) - seen
            seen |= new
            todo.extend(new)
        return False

    def loop(self, path: Sequence[int]) -> Loop:
        """What is to be said about a cycle."""
        names = tuple((self.rules[one].workspace, self.rules[one].name) for one in path)
        steps = list(zip(path, (*path[1:], path[0]), strict=True))
        said = [
            f"rule {self.rules[one].name!r} {self.edges[one][other].words()} fits rule {self.rules[other].name!r}"
            for one, other in steps[:MAX_STEPS]
        ]
        if len(steps) > MAX_STEPS:
            said.append(f"and so on over {len(steps)} rules, until the last fits rule {names[0][1]!r}")
        last = self.edges[path[-1]][path[0]]
        advice = f"leave that out of rule {names[0][1]!r} by event_pattern: {json.dumps(last.excluded())}"
        return Loop(names, f"{'; '.join(said)} again, and so for ever; {advice}")
