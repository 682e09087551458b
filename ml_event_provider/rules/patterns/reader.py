"""Reads an event: to which alternatives its values lead, and where the values of one field stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.tree import Field, Node, fields_of
from ml_event_provider.rules.patterns.values import Plain, plain

if TYPE_CHECKING:
    from ml_event_provider.rules.patterns.alternatives import Alternative, Branch
    from ml_event_provider.rules.patterns.table import Table

#: Where a value stands: pairs (array, index of the element), in their order. An array is told by the path to it,
#: its depth in other arrays and its identity. Values that agree on all arrays they share combine.
Array = tuple[str, int, int]
Place = tuple[tuple[Array, int], ...]

_MISSING: Final = object()
_ARRAYS: Final = (list, tuple)
_MANY: Final = 10_000


def follow(node: Node, document: Mapping[str, Any], tables: list[Table], found: list[Alternative | Branch]) -> None:
    """Collect the alternatives to which the values below a node lead."""
    get = document.get
    for name, slot, child in node.fields if not node.wide else fields_of(node, document):
        value = get(name, _MISSING)
        kind = type(value)
        if kind is str:
            if slot >= 0:
                found += tables[slot].of_text(value)
        elif kind is dict:
            if child is not None:
                follow(child, value, tables, found)
        elif value is not _MISSING:
            follow_any(node.children[name], value, tables, found)
    if node.dotted and not document.keys().isdisjoint(node.dotted):
        for name in document.keys() & node.dotted.keys():
            follow_any(node.dotted[name], document[name], tables, found)


def follow_any(node: Node, value: Any, tables: list[Table], found: list[Alternative | Branch]) -> None:
    """The same for any JSON value at a node: of an array, all elements."""
    todo = [value]
    crowded = 2 * len(found) + _MANY
    while todo:
        value = todo.pop()
        if len(found) > crowded:
            # The elements of an array lead to the same ones again and again.
            found[:] = dict.fromkeys(found)
            crowded = 2 * len(found) + _MANY
        if isinstance(value, _ARRAYS):
            todo.extend(value)
        elif isinstance(value, Mapping):
            follow(node, value, tables, found)
        elif node.slot >= 0:
            table = tables[node.slot]
            value = plain(value)
            found += table.of_text(value) if isinstance(value, str) else table.of_other(value)


def places(field: Field, document: Any, start: int = 0) -> list[tuple[Plain, Place]]:
    """All values of a field with their places, in what stands at the first ``start`` names of its path."""
    found: list[tuple[Plain, Place]] = []
    steps = field.steps
    todo: list[tuple[Any, int, Place]] = [(document, start, ())]
    while todo:
        value, at, place = todo.pop()
        while at < len(steps) and (type(value) is dict or (type(value) is not str and isinstance(value, Mapping))):
            name, dotted, _ = steps[at]
            if dotted:
                for count, other in enumerate(dotted, 2):
                    if other in value:
                        todo.append((value[other], at + count, place))
            value = value.get(name, _MISSING)
            at += 1
        if type(value) is str:
            if at == len(steps):
                found.append((value, place))
        elif isinstance(value, _ARRAYS):
            # An event made in Python may have one list under two names.
            array = (field.path if at == len(steps) else steps[at][2]), len(place), id(value)
            last = at == len(steps) - 1
            for index, item in enumerate(value):
                there = (*place, (array, index))
                inner = item.get(field.name) if last and type(item) is dict else None
                if type(inner) is str:
                    found.append((inner, there))
                else:
                    todo.append((item, at, there))
        elif at == len(steps) and value is not _MISSING and not isinstance(value, Mapping):
            found.append((plain(value), place))
    return found
