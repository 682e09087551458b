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

#: How many loops are reported.
MAX_LOOPS: Final = 20


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
        left = self._entangled()
        for start in sorted(left):
            left.discard(start)
            yield from self._back(start, (start,), frozenset(left))

    def _entangled(self) -> set[int]:
        """The rules that are not on their way out of all cycles."""
        out = [edges.keys() - {rule} for rule, edges in enumerate(self.edges)]
        before: list[list[int]] = [[] for _ in out]
        for rule, nexts in enumerate(out):
            for following in nexts:
                before[following].append(rule)
        degrees = [len(nexts) for nexts in out]
        ends = [rule for rule, degree in enumerate(degrees) if not degree]
        for rule in ends:
            for one in before[rule]:
                degrees[one] -= 1
                if not degrees[one]:
                    ends.append(one)
        return set(range(len(out))).difference(ends)

    def _back(self, start: int, path: tuple[int, ...], free: frozenset[int]) -> Iterator[tuple[int, ...]]:
        """The paths from the end of ``path`` back to its start over free rules."""
        if len(path) > 1 and start in self.edges[path[-1]]:
            yield path
        for following in sorted(free & self.edges[path[-1]].keys()):
            rest = free - {following}
            if self._leads(following, start, rest):
                yield from self._back(start, (*path, following), rest)

    def _leads(self, rule: int, start: int, free: frozenset[int]) -> bool:
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
            for one, other in steps
        ]
        last = self.edges[path[-1]][path[0]]
        advice = f"leave that out of rule {names[0][1]!r} by event_pattern: {json.dumps(last.excluded())}"
        return Loop(names, f"{'; '.join(said)} again, and so for ever; {advice}")
