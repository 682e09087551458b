"""A pattern's JSON as a list of alternatives, each a set of conditions that must all hold."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ml_event_provider.rules.patterns.addresses import address
from ml_event_provider.rules.patterns.errors import InvalidPattern, shown
from ml_event_provider.rules.patterns.operators import OPERATORS, RESERVED, predicate
from ml_event_provider.rules.patterns.predicates import Equal, Predicate, Present, SameEvent
from ml_event_provider.rules.patterns.values import ABSENT, Plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_FIELDS: Final = 256
MAX_ALTERNATIVES: Final = 1000
MAX_DEPTH: Final = 100
_COMBINATIONS: Final = frozenset({"$and", "$or"})


class Leaf(NamedTuple):
    """What one field must be: one of ``values``, or such that one of ``predicates`` holds.

    A missing field is ``Leaf((ABSENT,))`` and nothing else; a comparison with another field stands alone.
    """

    values: tuple[Plain, ...] = ()
    predicates: tuple[Predicate, ...] = ()


#: Fields by path that one array element at each level must fulfil together.
Group = dict[str, Leaf]
#: Groups that must all be fulfilled, each for itself. The first holds the fields outside any ``$and``.
Alternative = tuple[Group, ...]

MISSING_FIELD: Final = Leaf((ABSENT,))


def compile_pattern(pattern: Any) -> list[Alternative]:
    """The alternatives of a pattern: the event matches if one of them holds.

    :raises InvalidPattern: if the pattern is wrong or too large.
    """
    if not isinstance(pattern, dict):
        raise InvalidPattern("", f"an event pattern is a JSON object, not {shown(pattern)}")
    return [
        found if all(found) else tuple([group for group in found if group])
        for found in _Compiler().fields(pattern, "", 0)
    ]


def parse_json(text: str) -> dict[str, Any]:
    """The pattern in a JSON text.

    :raises InvalidPattern: if it is no JSON object, has a key twice or text behind its end.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidPattern("", f"the key {twice!r} stands twice in one object")
        return found

    def constant(name: str) -> Any:
        raise InvalidPattern("", f"{name} is no JSON value")

    try:
        pattern = json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except InvalidPattern:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidPattern("", f"not valid JSON: {error}") from None
    if not isinstance(pattern, dict):
        raise InvalidPattern("", f"an event pattern is a JSON object, not {shown(pattern)}")
    return pattern


class _Compiler:
    """Walks one pattern; ``prefix`` is the path of the enclosing object with a dot behind it."""

    def __init__(self) -> None:
        self.count = 0

    def fields(
        self, found: Mapping[Any, Any], prefix: str, depth: int, so_far: list[Alternative] | None = None
    ) -> list[Alternative]:
        """The alternatives of an object's fields, together with those of the fields before, which may be changed."""
        where = prefix[:-1]
        if not found:
            raise InvalidPattern(where, "an object without fields is not allowed")
        if depth > MAX_DEPTH:
            raise InvalidPattern(where, f"objects are nested more than {MAX_DEPTH} deep")
        result: list[Alternative] = [({},)] if so_far is None else so_far
        for name, value in found.items():
            if not isinstance(name, str):
                raise InvalidPattern(where, f"the field name {shown(name)} must be a string; put it in quotes")
            if name in _COMBINATIONS and (combined := self.combination(name, value, prefix, depth)) is not None:
                result = _both(where, result, combined)
            elif isinstance(value, list):
                path = prefix + name
                leaves = self.leaf(path, value)
                if len(leaves) == 1 == len(result) and path not in result[0][0]:
                    result[0][0][path] = leaves[0]
                else:
                    result = _both(where, result, [({path: leaf},) for leaf in leaves])
            elif isinstance(value, dict):
                _check_operator_object(prefix + name, value)
                result = self.fields(value, f"{prefix}{name}.", depth + 1, result)
            else:
                raise InvalidPattern(
                    prefix + name,
                    f"a field is a list of allowed values or an object of further fields, not {shown(value)};"
                    f" write [{shown(value)}]",
                )
        return result

    def combination(self, name: str, value: Any, prefix: str, depth: int) -> list[Alternative] | None:
        """The alternatives of ``$or`` or ``$and``; ``None`` for what is a field of another or of that name."""
        if name == "$and":
            return self.all_of(value, prefix, depth)
        if name == "$or":
            if is_combination(value, 2):
                return [found for item in value for found in self.fields(item, prefix, depth + 1)]
            _check_or(prefix[:-1], value)
        return None

    def all_of(self, value: Any, prefix: str, depth: int) -> list[Alternative]:
        """``$and``: objects of fields, or what one list field must contain, each matched for itself."""
        where = prefix[:-1]
        if not isinstance(value, list) or not value:
            raise InvalidPattern(where, f"wants a list that is not empty, not {shown(value)}", operator="$and")
        fields = is_combination(value, 1)
        if not fields and not prefix:
            raise InvalidPattern(where, "wants objects of fields here", operator="$and")
        result: list[Alternative] = [({},)]
        for item in value:
            found = (
                self.fields(item, prefix, depth + 1)
                if fields
                else [({where: leaf},) for leaf in self.leaf(where, [item])]
            )
            result = _both(where, result, [({}, *groups) for groups in found])
        return result

    def leaf(self, path: str, elements: list[Any]) -> list[Leaf]:
        """What a field must be, as alternatives: one but for those that exclude or do not fit each other."""
        if not elements:
            raise InvalidPattern(path, "an empty list matches nothing; write the allowed values")
        if len(path) > MAX_DEPTH and path.count(".") > MAX_DEPTH:
            raise InvalidPattern(path[:60], f"a path has at most {MAX_DEPTH} dots")
        self.count += 1
        if self.count > MAX_FIELDS:
            raise InvalidPattern(path, f"a pattern has at most {MAX_FIELDS} fields")
        if len(elements) == 1 and type(elements[0]) is str and address(elements[0]) is None:
            return [Leaf((elements[0],))]
        values: dict[Plain, None] = {}
        others: dict[Predicate, None] = {}
        for element in elements:
            if type(element) is str and address(element) is None:
                values[element] = None
                continue
            asked = predicate(path, element)
            if isinstance(asked, Equal):
                values[asked.value] = None
            else:
                others[asked] = None
        if len(values) + len(others) == 1 or (not others and ABSENT not in values):
            return [Leaf((*values,), (*others,))]
        return [*_leaves(values, others)]


def _leaves(values: dict[Plain, None], predicates: dict[Predicate, None]) -> Iterator[Leaf]:
    if ABSENT in values:
        yield MISSING_FIELD
    yield from (Leaf(predicates=(item,)) for item in predicates if isinstance(item, SameEvent))
    if Present() in predicates:
        yield Leaf(predicates=(Present(),))
        return
    named = tuple(value for value in values if value is not ABSENT)
    others = tuple(item for item in predicates if not isinstance(item, SameEvent))
    if named or others:
        yield Leaf(named, others)


def is_combination(value: Any, least: int) -> bool:
    """Whether a list holds objects of fields rather than operators."""
    return (
        isinstance(value, list)
        and len(value) >= least
        and all(isinstance(item, dict) and not RESERVED.intersection(item) for item in value)
    )


def _check_or(path: str, value: Any) -> None:
    """Refuse what was meant as ``$or`` and is none; event-ruler takes the rest as a field of that name."""
    problem = ""
    if not isinstance(value, list | dict):
        problem = f"wants a list of objects, not {shown(value)}"
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        names = [name for item in value if isinstance(item, dict) for name in item]
        lists = any(
            isinstance(item, dict) and any(isinstance(v, dict | list) for n, v in item.items() if n not in RESERVED)
            for item in value
        )
        if lists:
            reserved = sorted(RESERVED.intersection(names))
            if reserved:
                problem = f"has {reserved[0]!r} as a field, which is the name of an operator"
            elif len(value) < 2:
                problem = "wants two objects or more"
            else:
                problem = f"wants objects only, not {shown(next(i for i in value if not isinstance(i, dict)))}"
    if problem:
        raise InvalidPattern(path, problem, operator="$or")


def _check_operator_object(path: str, value: Mapping[Any, Any]) -> None:
    """Refuse one operator that stands where a list of operators is meant.

    What may be an object with a field of such a name is one.
    """
    if len(value) == 1:
        (name, operand), *_ = value.items()
        if name in OPERATORS and _is_operand(path, name, value):
            raise InvalidPattern(path, f"stands outside a list; write [{shown({name: operand})}]", operator=name)


def _is_operand(path: str, name: str, value: Mapping[Any, Any]) -> bool:
    if not isinstance(value[name], list | dict):
        return True
    # Lists of values are what a field of that name would have; only a comparison's form is none.
    if name != "numeric":
        return False
    try:
        predicate(path, value)
    except InvalidPattern:
        return False
    return True


def _both(path: str, left: list[Alternative], right: list[Alternative]) -> list[Alternative]:
    """All combinations of two lists of alternatives. The left one may be changed."""
    if len(left) == 1 and len(right) == 1:
        one, other = left[0], right[0]
        if one[0].keys().isdisjoint(other[0]):
            one[0].update(other[0])
            return left if len(other) == 1 else [(*one, *other[1:])]
    if len(left) * len(right) > MAX_ALTERNATIVES:
        raise InvalidPattern(
            path,
            f"$or, exists and compare-field multiply to over {MAX_ALTERNATIVES} alternatives; split it",
        )
    result = []
    for one, other in product(left, right):
        twice = one[0].keys() & other[0].keys()
        if twice:
            raise InvalidPattern(
                min(twice),
                "the field stands twice in one pattern; join its lists, or use $and for both to hold",
            )
        result.append(({**one[0], **other[0]}, *one[1:], *other[1:]))
    return result
