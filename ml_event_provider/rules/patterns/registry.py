"""What the index must know to change: who uses which field, condition and key. A match never reads this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_event_provider.rules.patterns.alternatives import Alternative, Condition
from ml_event_provider.rules.patterns.keys import Key, is_sure
from ml_event_provider.rules.patterns.predicates import SameEvent
from ml_event_provider.rules.patterns.table import Table
from ml_event_provider.rules.patterns.tree import Field
from ml_event_provider.rules.patterns.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_event_provider.rules.patterns import compiler

#: An alternative, the slot of its keys and the keys that it is registered under.
Registration = tuple[Alternative, int, tuple[Key, ...]]
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
    """One change: rules are removed and added, then ``tables`` and ``everywhere`` are what a snapshot reads."""

    def __init__(self, registry: Registry, tables: list[Table], everywhere: tuple[Alternative, ...]) -> None:
        self.registry = registry
        self.tables = tables
        #: The alternatives to look at for each event.
        self.everywhere = everywhere
        self.ways_changed = False
        self._touched: set[int] = set()
        self._crowded: list[tuple[int, Key]] = []

    def add(self, name: str, alternatives: list[compiler.Alternative]) -> None:
        """Add a rule that is not there."""
        condition = self._condition
        self.registry.rules[name] = tuple(
            [
                self._register(
                    name, tuple([tuple([condition(path, leaf) for path, leaf in group.items()]) for group in groups])
                )
                for groups in alternatives
            ]
        )
        if self._crowded:
            for slot, key in self._crowded:
                for alternative in self.tables[slot].bucket(key):
                    self._move(alternative)
            self._crowded.clear()

    def remove(self, name: str) -> bool:
        """Remove a rule, if it is there."""
        registrations = self.registry.rules.pop(name, None)
        if registrations is None:
            return False
        for alternative, slot, keys in registrations:
            self._unregister(alternative, slot, keys)
            for condition in alternative.conditions:
                self._release(condition)
        return True

    def _move(self, alternative: Alternative) -> None:
        """Register an alternative anew if other keys are rarer since then."""
        rules = self.registry.rules
        found = [*rules[alternative.name]]
        number = next(at for at, each in enumerate(found) if each[0] is alternative)
        rarest, keys = self._rarest([*alternative.conditions])
        if rarest is not None and (rarest.field.slot, keys) != found[number][1:]:
            self._unregister(*found[number])
            found[number] = self._register(alternative.name, alternative.groups)
            rules[alternative.name] = tuple(found)

    def _rarest(self, conditions: Sequence[Condition]) -> tuple[Condition | None, tuple[Key, ...]]:
        """The condition and its keys by which the fewest other rules are found."""
        usages = self.registry.usages
        least: tuple[int, int] | None = None
        rarest = None
        keys: tuple[Key, ...] = ()
        for condition in conditions:
            # A missing field has no key.
            if not condition.absent:
                cost, found = usages[condition.field.slot].best(condition.leaf)
                if least is None or cost < least:
                    least, rarest, keys = cost, condition, found
        return rarest, keys

    def _register(self, name: str, groups: tuple[tuple[Condition, ...], ...]) -> Registration:
        """Make an alternative and let the keys lead to it by which the fewest other rules are found."""
        conditions = groups[0] if len(groups) == 1 else tuple([item for group in groups for item in group])
        rarest, keys = self._rarest(conditions)
        if rarest is None:
            alternative = Alternative(name, groups, conditions)
            self.everywhere = (*self.everywhere, alternative)
            return alternative, EVERYWHERE, ()
        usages = self.registry.usages
        asked = [item for item in conditions if item is not rarest] if is_sure(rarest.leaf) else [*conditions]
        if len(asked) > 1:
            # The cheap first, and of these the ones that fail most.
            asked.sort(key=lambda item: (item.leaf.predicates != (), -len(usages[item.field.slot].values)))
        alternative = Alternative(name, groups, asked)
        slot = rarest.field.slot
        table = self._table(slot)
        for key in keys:
            table.register(key, alternative)
        usage = usages[slot]
        if not usage.registered:
            self.ways_changed = True
        usage.registered += len(keys)
        return alternative, slot, keys

    def _unregister(self, alternative: Alternative, slot: int, keys: tuple[Key, ...]) -> None:
        if slot == EVERYWHERE:
            self.everywhere = tuple(other for other in self.everywhere if other is not alternative)
            return
        table = self._table(slot)
        for key in keys:
            table.unregister(key, alternative)
        usage = self.registry.usages[slot]
        usage.registered -= len(keys)
        self.ways_changed = self.ways_changed or not usage.registered

    def _table(self, slot: int) -> Table:
        """The table of a slot, to be changed."""
        if slot not in self._touched:
            self._touched.add(slot)
            self.tables[slot] = self.tables[slot].copy()
        return self.tables[slot]

    def _condition(self, path: str, leaf: compiler.Leaf) -> Condition:
        """The condition of a leaf, counted once more."""
        slot = self.registry.slots.get(path)
        usage = self._usage(path) if slot is None else self.registry.usages[slot]
        condition = usage.conditions.get(leaf)
        if condition is None:
            other = None
            if leaf.predicates and isinstance(leaf.predicates[0], SameEvent):
                compared = self._usage(leaf.predicates[0].path)
                compared.uses += 1
                other = compared.field
            condition = usage.conditions[leaf] = Condition(usage.field, leaf, other)
        condition.uses += 1
        usage.uses += 1
        crowded = usage.count(leaf, 1)
        if crowded:
            self._crowded += [(usage.field.slot, key) for key in crowded]
        return condition

    def _release(self, condition: Condition) -> None:
        usage = self.registry.usages[condition.field.slot]
        usage.count(condition.leaf, -1)
        condition.uses -= 1
        if not condition.uses:
            del usage.conditions[condition.leaf]
            if condition.other is not None:
                self._drop(self.registry.usages[condition.other.slot])
        self._drop(usage)

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

    def _drop(self, usage: Usage) -> None:
        """Count one use less."""
        usage.uses -= 1
        if not usage.uses:
            del self.registry.slots[usage.field.path]
            self.registry.free.append(usage.field.slot)
