"""How many rules use each value and key of a field: by this the rarest key is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ml_event_provider.rules.patterns.keys import Key, routes

if TYPE_CHECKING:
    from ml_event_provider.rules.patterns.alternatives import Condition
    from ml_event_provider.rules.patterns.compiler import Leaf
    from ml_event_provider.rules.patterns.tree import Field
    from ml_event_provider.rules.patterns.values import Plain

#: When so many rules use a key, those registered under it are looked at again.
_CROWDED: Final = frozenset({16, 256, 4096, 65_536})
#: What a key without selectivity costs, in rules: more than any that has some.
_HOPELESS: Final = 1 << 40
_ONE_SIDED: Final = 16


class Usage:
    """The conditions of one field, and the counts."""

    __slots__ = ("conditions", "field", "keys", "registered", "uses", "values")

    def __init__(self, field: Field) -> None:
        self.field = field
        self.conditions: dict[Leaf, Condition] = {}
        #: How many conditions of rules look at the field.
        self.uses = 0
        #: How many keys lead from it to alternatives.
        self.registered = 0
        #: How many rules could be found by each value or other key, wherever they are registered.
        self.values: dict[Plain, int] = {}
        self.keys: dict[Key, int] = {}

    def count(self, leaf: Leaf, change: int) -> list[Key] | None:
        """Count the keys of a leaf that came or goes; those that are used by many since then."""
        crowded: list[Key] | None = None
        values = self.values
        for value in leaf.values:
            number = values[value] = values.get(value, 0) + change
            if not number:
                del values[value]
            elif number in _CROWDED:
                crowded = [*(crowded or ()), ("=", 0, value)]
        for predicate in leaf.predicates:
            for way in routes(predicate):
                for key in way:
                    kind = key[0]
                    if kind == "?":
                        continue
                    counted = (kind, 0, None) if kind in "<>" else key
                    number = self.keys[counted] = self.keys.get(counted, 0) + change
                    if not number:
                        del self.keys[counted]
                    elif number in _CROWDED:
                        crowded = [*(crowded or ()), key]
        return crowded

    def best(self, leaf: Leaf) -> tuple[tuple[int, int], tuple[Key, ...]]:
        """What it costs to find rules by a leaf, and the keys to do so.

        Of equal costs, the field with more different values is better.
        """
        variety = -len(self.values) - len(self.keys)
        if not leaf.predicates and len(leaf.values) == 1:
            value = leaf.values[0]
            return (self.values.get(value, 0), variety), (("=", 0, value),)
        cost = sum([self.values.get(value, 0) for value in leaf.values])
        keys: dict[Key, None] = {("=", 0, value): None for value in leaf.values}
        for predicate in leaf.predicates:
            choices = routes(predicate)
            costs = [sum([self._cost(key) for key in way]) for way in choices]
            least = min(costs)
            cost += least
            keys.update(dict.fromkeys(choices[costs.index(least)]))
        return (cost, variety), tuple(keys)

    def _cost(self, key: Key) -> int:
        """About how many useless verifications a rule under this key causes."""
        kind, _, what = key
        if kind == "=":
            return self.values.get(what, 0)
        if kind == "?":
            return _HOPELESS
        if kind in "<>":
            return _ONE_SIDED + self.keys.get((kind, 0, None), 0)
        size = len(what) if isinstance(what, str) else 8
        return 2 * self.keys.get(key, 0) + 16 // (1 + size)
