"""What the index must know to change: who uses which field, condition and key. A match never reads this."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from ml_event_provider.rules.patterns.alternatives import Alternative, Condition
from ml_event_provider.rules.patterns.keys import Key, Route, size_of
from ml_event_provider.rules.patterns.predicates import AnythingBut, Present, SameEvent
from ml_event_provider.rules.patterns.table import MAX_TOLD_APART, Table
from ml_event_provider.rules.patterns.usage import Usage, change_count, counted_keys, named_values, ways

if TYPE_CHECKING:
    from ml_event_provider.rules.patterns import compiler

#: When so many rules use a key, those registered under it are looked at again.
_CROWDED: Final = frozenset({4, 32, 256, 2048, 16_384})


#: An alternative, the slot of its keys and the keys that it is registered under.
Registration = tuple[Alternative, int, tuple[Key, ...]]


class Registry:
    """All rules by name, with what they use."""

    def __init__(self) -> None:
        self.rules: dict[str, tuple[Registration, ...]] = {}
        self.slots: dict[str, int] = {}
        self.usages: list[Usage] = []
        self.free: list[int] = []
        self.conditions: dict[tuple[int, compiler.Leaf], Condition] = {}

    def edit(self, tables: list[Table]) -> Edit:
        """Begin a change of the index that has these tables."""
        return Edit(self, tables.copy())


class Edit:
    """One change: some rules are removed and added, then ``tables`` is what the new snapshot reads."""

    def __init__(self, registry: Registry, tables: list[Table]) -> None:
        self.registry = registry
        self._tables = tables
        self._touched: set[int] = set()
        self.paths_changed = False
        self._crowded: list[tuple[int, Key]] = []

    @property
    def tables(self) -> list[Table]:
        """The tables, those that changed without memories."""
        for slot in self._touched:
            self._tables[slot].forget()
        return self._tables

    def _table(self, slot: int) -> Table:
        """The table of a slot, to be changed."""
        if slot not in self._touched:
            self._touched.add(slot)
            self._tables[slot] = self._tables[slot].copy()
        return self._tables[slot]

    def add(self, name: str, alternatives: list[compiler.Alternative]) -> None:
        """Add a rule that is not there."""
        registrations = []
        for groups in alternatives:
            bound = tuple(tuple(self._condition(path, leaf) for path, leaf in group.items()) for group in groups)
            alternative = Alternative(name, bound)
            slot, keys = self._rarest(alternative)
            self._register(slot, keys, alternative)
            registrations.append((alternative, slot, keys))
        self.registry.rules[name] = tuple(registrations)
        for slot, key in self._crowded:
            self._spread(slot, key)
        self._crowded.clear()

    def _spread(self, slot: int, key: Key) -> None:
        """Find rarer keys for the alternatives that were registered under a key before it became common."""
        for alternative in self._tables[slot].bucket(key):
            rules = self.registry.rules
            found = rules[alternative.name]
            number = next(at for at, each in enumerate(found) if each[0] is alternative)
            _, old_slot, old_keys = found[number]
            new_slot, new_keys = self._rarest(alternative)
            if (new_slot, new_keys) != (old_slot, old_keys):
                self._unregister(old_slot, old_keys, alternative)
                self._register(new_slot, new_keys, alternative)
                moved = (alternative, new_slot, new_keys)
                rules[alternative.name] = (*found[:number], moved, *found[number + 1 :])

    def remove(self, name: str) -> bool:
        """Remove a rule, if it is there."""
        registrations = self.registry.rules.pop(name, None)
        if registrations is None:
            return False
        for alternative, slot, keys in registrations:
            self._unregister(slot, keys, alternative)
            for condition in alternative.conditions:
                self._release(condition)
        return True

    def _unregister(self, slot: int, keys: tuple[Key, ...], alternative: Alternative) -> None:
        usage = self.registry.usages[slot]
        table = self._table(slot)
        for key in keys:
            table.unregister(key, alternative)
            self._count_size(usage, table, key, -1)

    def _register(self, slot: int, keys: tuple[Key, ...], alternative: Alternative) -> None:
        usage = self.registry.usages[slot]
        table = self._table(slot)
        for key in keys:
            table.register(key, alternative)
            self._count_size(usage, table, key, 1)

    def _count_size(self, usage: Usage, table: Table, key: Key, change: int) -> None:
        kind = key[0]
        if kind in ("=", "?", ">", "<"):
            return
        size = kind, size_of(key)
        usage.sizes[size] += change
        if usage.sizes[size] == (1 if change > 0 else 0):
            if change < 0:
                del usage.sizes[size]
            used: dict[str, list[int]] = {}
            for kind, number in sorted(usage.sizes):
                used.setdefault(kind, []).append(number)
            table.exponents = tuple(used.pop("~", ()))
            table.sizes = {kind: tuple(numbers) for kind, numbers in used.items()}

    def _rarest(self, alternative: Alternative) -> tuple[int, tuple[Key, ...]]:
        """The slot and keys by which the fewest other rules are found."""
        usages = self.registry.usages
        # A field may be absent from one array element and present in another: its key would not be seen.
        conditions = [item for item in alternative.conditions if not item.absent] or alternative.conditions
        rarest = conditions[0]
        if len(conditions) > 1:
            rarest = min(conditions, key=lambda item: usages[item.slot].rank(item))
        usage = usages[rarest.slot]
        keys: list[Key] = []
        for choices in ways(rarest):
            best: Route = min(choices, key=usage.cost_of_way)
            keys.extend(best)
        return rarest.slot, tuple(dict.fromkeys(keys))

    def _condition(self, path: str, leaf: compiler.Leaf) -> Condition:
        """The condition of a leaf, counted once more."""
        slot = self._slot(path)
        condition = self.registry.conditions.get((slot, leaf))
        if condition is None:
            asked = leaf.predicates[0] if leaf.predicates else None
            other = self._slot(asked.path) if isinstance(asked, SameEvent) else -1
            condition = self.registry.conditions[slot, leaf] = Condition(slot, leaf, other)
            self._tell_apart(condition, 1)
        condition.uses += 1
        usage = self.registry.usages[slot]
        usage.uses += 1
        for value in named_values(condition):
            if change_count(usage.known, value, 1):
                self._table(slot).name(value, named=True)
            elif usage.known[value] in _CROWDED:
                self._crowded.append((slot, ("=", value)))
        for key in counted_keys(condition):
            usage.keys[key] = usage.keys.get(key, 0) + 1
            if usage.keys[key] in _CROWDED:
                self._crowded.append((slot, key))
        return condition

    def _release(self, condition: Condition) -> None:
        registry = self.registry
        usage = registry.usages[condition.slot]
        for value in named_values(condition):
            if change_count(usage.known, value, -1):
                self._table(condition.slot).name(value, named=False)
        for key in counted_keys(condition):
            usage.keys[key] -= 1
            if not usage.keys[key]:
                del usage.keys[key]
        usage.uses -= 1
        condition.uses -= 1
        if condition.uses:
            return
        del registry.conditions[condition.slot, condition.leaf]
        self._tell_apart(condition, -1)
        for slot in (condition.slot, condition.other):
            if slot >= 0 and not registry.usages[slot].uses and not registry.usages[slot].comparisons:
                self._free(slot)

    def _tell_apart(self, condition: Condition, change: int) -> None:
        """Let the fields' tables know that a condition looks at them, or no longer does."""
        slot = condition.slot
        usage = self.registry.usages[slot]
        if condition.other >= 0:
            for each in {slot, condition.other}:
                self.registry.usages[each].comparisons += change
                self._table(each).single = self.registry.usages[each].comparisons > 0
            return
        for predicate in condition.leaf.predicates:
            plain = isinstance(predicate, Present) or (isinstance(predicate, AnythingBut) and not predicate.predicates)
            if not plain and change_count(usage.predicates, predicate, change):
                # More than the table tells apart need not be there.
                self._table(slot).predicates = tuple(islice(usage.predicates, MAX_TOLD_APART + 1))

    def _slot(self, path: str) -> int:
        registry = self.registry
        slot = registry.slots.get(path)
        if slot is None:
            if registry.free:
                slot = registry.free.pop()
                registry.usages[slot] = Usage(path)
                self._tables[slot] = Table()
            else:
                slot = len(registry.usages)
                registry.usages.append(Usage(path))
                self._tables.append(Table())
            self._touched.add(slot)
            registry.slots[path] = slot
            self.paths_changed = True
        return slot

    def _free(self, slot: int) -> None:
        registry = self.registry
        path = registry.usages[slot].path
        if registry.slots.pop(path, None) is not None:
            registry.free.append(slot)
            self._tables[slot] = Table()
            self._touched.add(slot)
            self.paths_changed = True
