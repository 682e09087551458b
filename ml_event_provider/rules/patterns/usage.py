"""How many rules use each value, key and predicate of a field: by this the rarest key is chosen."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from ml_event_provider.rules.patterns.keys import Key, Route, routes
from ml_event_provider.rules.patterns.predicates import AnythingBut, Present, SameEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ml_event_provider.rules.patterns.alternatives import Condition
    from ml_event_provider.rules.patterns.predicates import Predicate
    from ml_event_provider.rules.patterns.values import Plain

#: What a key without selectivity costs, in rules: more than any that has some.
_HOPELESS: Final = 1 << 40
_ONE_SIDED: Final = 16


class Usage:
    """The counts of one field."""

    __slots__ = ("comparisons", "keys", "known", "path", "predicates", "sizes", "uses")

    def __init__(self, path: str) -> None:
        self.path = path
        #: How many conditions of rules look at the field.
        self.uses = 0
        self.comparisons = 0
        #: How many rules could be found by each key, wherever they are registered.
        self.keys: dict[Key, int] = {}
        self.known: dict[Plain, int] = {}
        self.predicates: dict[Predicate, int] = {}
        #: How many registered keys there are of each kind and size.
        self.sizes: Counter[tuple[str, int]] = Counter()

    def cost(self, key: Key) -> int:
        """About how many useless verifications a rule under this key causes."""
        kind = key[0]
        if kind == "=":
            return self.known.get(key[1], 0)
        if kind == "?":
            return _HOPELESS
        if kind in (">", "<"):
            return _ONE_SIDED + self.keys.get((kind, None), 0)
        size = len(key[1]) if isinstance(key[1], str) else 8
        return 2 * self.keys.get(key, 0) + 16 // (1 + size)

    def cost_of_way(self, way: Route) -> int:
        """The cost of registering under all keys of a route."""
        return sum([self.cost(key) for key in way])

    def rank(self, condition: Condition) -> tuple[int, int]:
        """The cost of finding rules by a condition; of equal ones, more different values are better."""
        cost = sum([self.known.get(value, 0) for value in condition.leaf.values])
        if condition.leaf.predicates:
            cost += sum(min(map(self.cost_of_way, choices)) for choices in ways(condition)) - cost
        return cost, -len(self.known) - len(self.keys)


def change_count(counts: dict[Plain, int] | dict[Predicate, int], key: object, change: int) -> bool:
    """Count up or down; whether the key is new or gone."""
    table: dict[object, int] = counts  # type: ignore[assignment]
    number = table.get(key, 0) + change
    if number:
        table[key] = number
        return change > 0 and number == 1
    del table[key]
    return True


def ways(condition: Condition) -> Iterator[list[tuple[Key, ...]]]:
    """For each thing that a condition allows, the ways to find it."""
    for value in condition.leaf.values:
        yield [(("=", value),)]
    for predicate in condition.leaf.predicates:
        yield routes(predicate)


def named_values(condition: Condition) -> Iterable[Plain]:
    """The values that a condition names."""
    if not condition.leaf.predicates:
        return condition.leaf.values
    named = {value for item in condition.leaf.predicates if isinstance(item, AnythingBut) for value in item.values}
    return named.union(condition.leaf.values)


def counted_keys(condition: Condition) -> Iterator[Key]:
    """The keys to count for a condition, besides the values that it names."""
    for predicate in condition.leaf.predicates:
        if not isinstance(predicate, AnythingBut | Present | SameEvent):
            for way in routes(predicate):
                for key in way:
                    yield (key[0], None) if key[0] in (">", "<") else key
