"""A pattern as what it demands: alternatives of groups of fields, read off its JSON."""

from __future__ import annotations

import json
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.addresses import address
from ml_event_provider.rules.patterns.index import PatternIndex
from ml_event_provider.rules.patterns.operators import RESERVED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Two patterns whose alternatives multiply to more than these are not looked at together.
MAX_ALTERNATIVES: Final = 1000

#: Every number; there is no shorter form.
NUMBERS: Final = ({"numeric": ["<", 0]}, {"numeric": [">=", 0]})


class Demand:
    """The list of one field: its elements are alternatives."""

    __slots__ = ("_hash", "_index", "absent", "comparisons", "elements", "key", "plain")

    def __init__(self, elements: Iterable[Any]) -> None:
        named = {canonical(element): element for element in elements}
        self.elements: Final = tuple(named.values())
        self.key: Final = frozenset(named)
        self._hash = hash(self.key)
        #: Whether the field may be missing.
        self.absent: Final = any(operator(element) == ("exists", False) for element in self.elements)
        #: The comparisons with other fields: pairs (sign, path).
        self.comparisons: Final = tuple(
            (element["compare-field"][0], element["compare-field"][1])
            for element in self.elements
            if operator(element)[0] == "compare-field"
        )
        #: The elements that ask about a value of this field alone.
        self.plain: Final = tuple(
            element
            for element in self.elements
            if operator(element)[0] != "compare-field" and operator(element) != ("exists", False)
        )
        self._index: PatternIndex | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Demand) and self.key == other.key

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        shown = [json.dumps(element, ensure_ascii=False) for element in self.elements[:4]]
        return ", ".join(shown) + (f" or {len(self.elements) - 4} others" if len(self.elements) > 4 else "")

    @property
    def only_absent(self) -> bool:
        """Whether the field must be missing."""
        return self.absent and len(self.elements) == 1

    def accepts(self, value: Any) -> bool:
        """Whether a plain value fulfils one of the elements; comparisons with other fields do not count."""
        if not self.plain:
            return False
        if self._index is None:
            self._index = PatternIndex({"demand": {"value": list(self.plain)}})
        return bool(self._index.match({"value": value}))

    def fixed(self) -> list[Any] | None:
        """All values that fulfil it, if they can be listed."""
        values = []
        for element in self.plain:
            name, asked = operator(element)
            if name == "numeric" and asked[0] == "=":
                values.append(asked[1])
            elif name == "exactly":
                values.append(asked)
            elif name or is_address(element):
                return None
            else:
                values.append(element)
        return None if self.comparisons else values

    def blocks(self) -> list[IPv4Network | IPv6Network] | None:
        """The blocks of IP addresses that fulfil it, if it asks for nothing else."""
        found = [block(element) for element in self.plain]
        return None if self.comparisons or None in found else [item for item in found if item is not None]

    def relaxed(self) -> Demand:
        """Without comparisons: all values that may fulfil it, whatever the other fields have."""
        if not self.comparisons:
            return self
        more: list[Any] = []
        for sign, _ in self.comparisons:
            more += [{"exists": True}] if sign in ("=", "!=") else NUMBERS
        return Demand([*self.plain, *more, *([{"exists": False}] if self.absent else [])])


#: Demands by path, which one element of each array must fulfil together.
Group = dict[str, Demand]
#: Groups that must all be fulfilled, each for itself.
Alternative = tuple[Group, ...]


def operator(element: Any) -> tuple[str, Any]:
    """The name and the argument of an element that is an operator; ``("", element)`` of a value."""
    if isinstance(element, dict):
        ((name, asked),) = element.items()
        return name, asked
    return "", element


def is_address(element: Any) -> bool:
    """Whether the element is a text that compares as an IP address."""
    return isinstance(element, str) and address(element) is not None


def block(element: Any) -> IPv4Network | IPv6Network | None:
    """The block of IP addresses that an element asks for, or ``None``."""
    name, asked = operator(element)
    text = asked if name == "cidr" or is_address(element) else None
    if text is None:
        return None
    start, _, bits = text.partition("/")
    found = address(start)
    assert found is not None
    version, number = found
    return ip_network((number, int(bits or (32 if version == 4 else 128))), strict=False)


def canonical(element: Any) -> str:
    """The same text for elements that are the same but for how they are written."""
    name, asked = operator(element)
    if name == "exactly" and not is_address(asked):
        element = asked
    if name == "numeric" and asked[0] == "=":
        element = asked[1]
    return json.dumps(_number(element), sort_keys=True)


def _number(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    if isinstance(value, list):
        return [_number(item) for item in value]
    if isinstance(value, dict):
        return {name: _number(item) for name, item in value.items()}
    return value


def alternatives(pattern: Mapping[str, Any]) -> tuple[Alternative, ...]:
    """What a pattern demands.

    :raises InvalidPattern: if the pattern is wrong.
    """
    PatternIndex.check(pattern)
    return _cached(json.dumps(pattern))


@lru_cache(1024)
def _cached(text: str) -> tuple[Alternative, ...]:
    return tuple(tuple(group for group in found if group) for found in _fields(json.loads(text), ""))


def both(one: Sequence[Alternative], other: Sequence[Alternative]) -> list[Alternative] | None:
    """What two patterns together demand; ``None`` if that is too much to look at."""
    if len(one) * len(other) > MAX_ALTERNATIVES:
        return None
    return [(*left, *right) for left, right in product(one, other)]


def _fields(fields: Mapping[str, Any], prefix: str) -> list[Alternative]:
    """The first group of each alternative holds what stands outside any ``$and``."""
    choices: list[list[Alternative]] = []
    for name, value in fields.items():
        if name == "$or" and _objects(value, 2):
            choices.append([found for branch in value for found in _fields(branch, prefix)])
        elif name == "$and":
            for part in value:
                found = _fields(part, prefix) if _objects(value, 1) else [({prefix[:-1]: Demand([part])},)]
                choices.append([({}, *groups) for groups in found])
        elif isinstance(value, dict):
            choices.append(_fields(value, f"{prefix}{name}."))
        else:
            choices.append([({prefix + name: Demand(value)},)])
    result = []
    for chosen in product(*choices):
        first: Group = {}
        for groups in chosen:
            first.update(groups[0])
        result.append((first, *(group for groups in chosen for group in groups[1:])))
    return result


def _objects(value: Any, least: int) -> bool:
    """Whether ``$or`` or ``$and`` has objects of fields rather than operators."""
    return len(value) >= least and all(isinstance(item, dict) and not RESERVED.intersection(item) for item in value)
