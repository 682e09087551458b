"""What the index must know to change: who uses which field, condition and key. A match never reads this."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.alternatives import Alternative, Condition
from ml_event_provider.rules.patterns.keys import Key, Route, is_sure, routes
from ml_event_provider.rules.patterns.predicates import SameEvent
from ml_event_provider.rules.patterns.table import Table
from ml_event_provider.rules.patterns.tree import Field
from ml_event_provider.rules.patterns.usage import Usage

if TYPE_CHECKING:
    from ml_event_provider.rules.patterns import compiler

#: An alternative, the slot of its keys and the keys that it is registered under.
Registration = tuple[Alternative, int, tuple[Key, ...]]
#: What conditions are compared by.
Measure = Callable[[Condition], tuple[int, int]]
#: What a condition costs that has no key.
NEVER: Final = 1 << 62
#: The slot of an alternative that no value leads to.
EVERYWHERE = -1


class Registry:
    """All rules by name, with what they use."""

    def __init__(self) -> None:
        self.rules: dict[str, tuple[Registration, ...]] = {}
        self.slots: dict[str, int] = {}
        self.usages: list[Usage] = []
        self.free: list[int] = []

    def edit(self, tables: list[Table], everywhere: tuple[Alternative, ...]) -> Edit:
        """Begin a change of the index that has these tables."""
        return Edit(self, tables.copy(), everywhere)


class Edit:
    """One change: rules are removed and added, then ``finish`` gives what a snapshot reads."""

    def __init__(self, registry: Registry, tables: list[Table], everywhere: tuple[Alternative, ...]) -> None:
        self.registry = registry
        self.tables = tables
        #: The alternatives to look at for each event.
        self.everywhere = [*everywhere]
        self.ways_changed = False
        #: What is registered otherwise than in the tables: by slot, kind and size, and what.
        self._buckets: dict[int, dict[tuple[str, int], dict[Any, list[Alternative]]]] = {}
        self._added: list[tuple[str, list[tuple[tuple[Condition, ...], ...]]]] = []
        #: How many rules use a condition since, which is yet to be counted.
        self._uses: dict[Condition, int] = {}
        #: The routes of conditions, which are asked for twice.
        self._known: dict[Condition, list[list[Route]]] = {}

    def add(self, name: str, alternatives: list[compiler.Alternative]) -> None:
        """Add a rule that is not there."""
        condition = self._condition
        self._added.append(
            (
                name,
                [
                    tuple([tuple([condition(path, leaf) for path, leaf in group.items()]) for group in groups])
                    for groups in alternatives
                ],
            )
        )

    def remove(self, name: str) -> bool:
        """Remove a rule, if it is there."""
        registrations = self.registry.rules.pop(name, None)
        if registrations is None:
            return False
        for registration in registrations:
            self._unregister(registration)
            for condition in registration[0].conditions:
                self._release(condition)
        return True

    def finish(self) -> None:
        """Count and then register what was added, and write the tables."""
        crowded: dict[tuple[int, Key], None] = {}
        # Rules share many conditions.
        for condition, uses in self._uses.items():
            slot = condition.field.slot
            keys = self.registry.usages[slot].count(condition.leaf, self._routes(condition), uses)
            crowded.update([((slot, key), None) for key in keys])
        cost, rank = cache(self._cost), cache(self._rank)
        for slot, key in crowded:
            for alternative in [*self._bucket(slot, key)]:
                self._move(alternative, cost, rank)
        rules, register = self.registry.rules, self._register
        for name, alternatives in self._added:
            rules[name] = tuple([register(name, groups, cost, rank) for groups in alternatives])
        for slot, buckets in self._buckets.items():
            self.tables[slot] = self.tables[slot].changed(buckets)

    def _move(self, alternative: Alternative, cost: Measure, rank: Measure) -> None:
        """Register an alternative anew if other keys are rarer since then."""
        rules = self.registry.rules
        found = [*rules[alternative.name]]
        number = next(at for at, each in enumerate(found) if each[0] is alternative)
        rarest = min(alternative.conditions, key=cost)
        if (rarest.field.slot, self._keys(rarest)) != found[number][1:]:
            self._unregister(found[number])
            found[number] = self._register(alternative.name, alternative.groups, cost, rank)
            rules[alternative.name] = tuple(found)

    def _cost(self, condition: Condition) -> tuple[int, int]:
        """How many rules are found by a condition's keys; if equal, the field of more values is better."""
        usage = self.registry.usages[condition.field.slot]
        values, predicates = condition.leaf
        if condition.absent:
            # A missing field has no key.
            cost = NEVER
        elif len(values) == 1 and not predicates:
            cost = usage.values[values[0]]
        else:
            cost = usage.cost(condition.leaf, self._routes(condition))
        return cost, -len(usage.values) - len(usage.keys)

    def _rank(self, condition: Condition) -> tuple[int, int]:
        """When to ask a condition: the cheap first, and of these the ones that fail most."""
        return len(condition.leaf.predicates), -len(self.registry.usages[condition.field.slot].values)

    def _routes(self, condition: Condition) -> list[list[Route]]:
        """The routes of each predicate of a condition."""
        if not condition.leaf.predicates:
            return []
        found = self._known.get(condition)
        if found is None:
            found = self._known[condition] = [routes(predicate) for predicate in condition.leaf.predicates]
        return found

    def _keys(self, condition: Condition) -> tuple[Key, ...]:
        return self.registry.usages[condition.field.slot].best(condition.leaf, self._routes(condition))

    def _register(
        self, name: str, groups: tuple[tuple[Condition, ...], ...], cost: Measure, rank: Measure
    ) -> Registration:
        """Make an alternative and let the keys lead to it by which the fewest other rules are found."""
        conditions = groups[0] if len(groups) == 1 else tuple([item for group in groups for item in group])
        rarest = min(conditions, key=cost) if len(conditions) > 1 else conditions[0]
        if rarest.absent:
            alternative = Alternative(name, groups, conditions)
            self.everywhere.append(alternative)
            return alternative, EVERYWHERE, ()
        asked = [item for item in conditions if item is not rarest] if is_sure(rarest.leaf) else [*conditions]
        if len(asked) > 1:
            asked.sort(key=rank)
        alternative = Alternative(name, groups, asked)
        slot, keys = rarest.field.slot, self._keys(rarest)
        for key in keys:
            self._bucket(slot, key).append(alternative)
        usage = self.registry.usages[slot]
        if not usage.registered:
            self.ways_changed = True
        usage.registered += len(keys)
        return alternative, slot, keys

    def _unregister(self, registration: Registration) -> None:
        alternative, slot, keys = registration
        if slot == EVERYWHERE:
            self.everywhere.remove(alternative)
            return
        for key in keys:
            self._bucket(slot, key).remove(alternative)
        usage = self.registry.usages[slot]
        usage.registered -= len(keys)
        self.ways_changed = self.ways_changed or not usage.registered

    def _bucket(self, slot: int, key: Key) -> list[Alternative]:
        """The alternatives under a key, to be changed."""
        kind, size, what = key
        places = self._buckets.get(slot)
        if places is None:
            places = self._buckets[slot] = {}
        lists = places.get((kind, size))
        if lists is None:
            lists = places[kind, size] = {}
        bucket = lists.get(what)
        if bucket is None:
            bucket = lists[what] = [*self.tables[slot].bucket(kind, size, what)]
        return bucket

    def _condition(self, path: str, leaf: compiler.Leaf) -> Condition:
        """The condition of a leaf, used once more."""
        slot = self.registry.slots.get(path)
        usage = self._usage(path) if slot is None else self.registry.usages[slot]
        condition = usage.conditions.get(leaf)
        if condition is None:
            other = None
            if leaf.predicates and isinstance(leaf.predicates[0], SameEvent):
                compared = self._usage(leaf.predicates[0].path)
                compared.compared += 1
                other = compared.field
            condition = usage.conditions[leaf] = Condition(usage.field, leaf, other)
        condition.uses += 1
        self._uses[condition] = self._uses.get(condition, 0) + 1
        return condition

    def _release(self, condition: Condition) -> None:
        usage = self.registry.usages[condition.field.slot]
        usage.count(condition.leaf, self._routes(condition), -1)
        condition.uses -= 1
        if condition.uses:
            return
        del usage.conditions[condition.leaf]
        # A field may be compared with itself.
        looked_at = {usage}
        if condition.other is not None:
            compared = self.registry.usages[condition.other.slot]
            compared.compared -= 1
            looked_at.add(compared)
        for usage in looked_at:
            if not usage.conditions and not usage.compared:
                del self.registry.slots[usage.field.path]
                self.registry.free.append(usage.field.slot)

    def _usage(self, path: str) -> Usage:
        """The usage of a path, new if it is."""
        registry = self.registry
        slot = registry.slots.get(path)
        if slot is not None:
            return registry.usages[slot]
        if registry.free:
            slot = registry.free.pop()
            registry.usages[slot] = Usage(Field(path, slot))
        else:
            slot = len(registry.usages)
            registry.usages.append(Usage(Field(path, slot)))
            self.tables.append(Table())
        registry.slots[path] = slot
        return registry.usages[slot]
