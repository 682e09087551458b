"""How many rules use each value and key of a field: by this the rarest key is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ml_event_provider.rules.patterns.alternatives import Condition
    from ml_event_provider.rules.patterns.compiler import Leaf
    from ml_event_provider.rules.patterns.keys import Key, Route
    from ml_event_provider.rules.patterns.tree import Field
    from ml_event_provider.rules.patterns.values import Plain

#: When the rules that use a key need so many more bits to be counted, those registered under it are looked at again:
#: at 16, 256, 4,096, ….
_CROWDED: Final = 4
#: What a key without selectivity costs, in rules: more than any that has some.
_HOPELESS: Final = 1 << 40
_ONE_SIDED: Final = 16


class Usage:
    """The conditions of one field, and the counts."""

    __slots__ = ("compared", "conditions", "field", "keys", "registered", "values")

    def __init__(self, field: Field) -> None:
        self.field = field
        self.conditions: dict[Leaf, Condition] = {}
        #: How many conditions of other fields are comparisons with this one.
        self.compared = 0
        #: How many keys lead from it to alternatives.
        self.registered = 0
        #: How many rules could be found by each value, and by the hash of each other key, wherever they are
        #: registered. The hash takes less memory; two keys of one hash only look less rare.
        self.values: dict[Plain, int] = {}
        self.keys: dict[int, int] = {}

    def count(self, leaf: Leaf, routes: Iterable[Iterable[Route]], change: int) -> list[Key]:
        """Count the keys of a leaf that so many rules more use, or less; those that are used by many since then."""
        crowded: list[Key] = []
        values = self.values
        for value in leaf.values:
            number = values[value] = values.get(value, 0) + change
            if not number:
                del values[value]
            elif number > 15 and _is_crowded(number - change, number):
                crowded.append(("=", 0, value))
        keys = self.keys
        for ways in routes:
            for way in ways:
                for key in way:
                    kind = key[0]
                    if kind == "?":
                        continue
                    counted = hash(kind if kind in "<>" else key)
                    number = keys[counted] = keys.get(counted, 0) + change
                    if not number:
                        del keys[counted]
                    elif number > 15 and _is_crowded(number - change, number):
                        crowded.append(key)
        return crowded

    def cost(self, leaf: Leaf, routes: Iterable[Iterable[Route]]) -> int:
        """What it costs to find rules by a leaf: about how many others are found."""
        values = self.values
        cost = 0
        for value in leaf.values:
            cost += values[value]
        for ways in routes:
            cost += min([self._cost(way) for way in ways])
        return cost

    def best(self, leaf: Leaf, routes: Iterable[Sequence[Route]]) -> tuple[Key, ...]:
        """The keys of a leaf by which the fewest rules are found."""
        if len(leaf.values) == 1 and not leaf.predicates:
            return (("=", 0, leaf.values[0]),)
        keys: dict[Key, None] = {("=", 0, value): None for value in leaf.values}
        for ways in routes:
            way = ways[0] if len(ways) == 1 else min(ways, key=self._cost)
            keys.update(dict.fromkeys(way))
        return tuple(keys)

    def _cost(self, way: Route) -> int:
        """About how many useless verifications a rule under these keys causes."""
        cost = 0
        for key in way:
            kind, _, what = key
            if kind == "?":
                return _HOPELESS
            if kind in "<>":
                cost += _ONE_SIDED + self.keys[hash(kind)]
            elif kind == "=":
                cost += self.values.get(what, 0)
            else:
                size = len(what) if isinstance(what, str) else 8
                cost += 2 * self.keys[hash(key)] + 16 // (1 + size)
        return cost


def _is_crowded(before: int, now: int) -> bool:
    return (now.bit_length() - 1) // _CROWDED > (max(before, 1).bit_length() - 1) // _CROWDED
