"""Reads from an event only the fields that rules look at, as entries of their tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.patterns.tree import Node, fields_of
from ml_event_provider.rules.patterns.values import plain

if TYPE_CHECKING:
    from ml_event_provider.rules.patterns.alternatives import Entry, Membership
    from ml_event_provider.rules.patterns.table import Table

_MISSING: Final = object()


def read(
    node: Node, document: Mapping[str, Any], tables: list[Table], cells: list[Any], readers: list[ArrayReader]
) -> None:
    """Fill the cells of an object's fields.

    The first value in an array or under a dotted name makes a reader.
    """
    get = document.get
    for name, slot, child in node.fields if len(node.fields) <= 8 else fields_of(node, document):
        value = get(name, _MISSING)
        kind = type(value)
        if kind is str:
            if slot >= 0:
                table = tables[slot]
                cells[slot] = table.memo.get(value) or table.entry(value)
        elif kind is dict:
            if child.fields:
                read(child, value, tables, cells, readers)
        elif value is _MISSING:
            continue
        elif kind is int or kind is float or kind is bool or value is None:
            if slot >= 0:
                known = plain(value)
                table = tables[slot]
                cells[slot] = table.memo.get(known) or table.entry(known)
        else:
            _reader(tables, readers).read(child, value, ())
    if node.dotted and not document.keys().isdisjoint(node.dotted):
        for name in sorted(document.keys() & node.dotted.keys()):
            _reader(tables, readers).read(node.dotted[name], document[name], ())


def _reader(tables: list[Table], readers: list[ArrayReader]) -> ArrayReader:
    if not readers:
        readers.append(ArrayReader(tables))
    return readers[0]


class ArrayReader:
    """Collects an event's values in arrays or under dotted names, with their places in arrays."""

    __slots__ = ("arrays", "found", "tables")

    def __init__(self, tables: list[Table]) -> None:
        self.tables = tables
        self.found: dict[int, list[tuple[Entry, Membership]]] = {}
        self.arrays = 0

    def read(self, node: Node, value: Any, where: Membership) -> None:
        """Collect all values at and below a node."""
        if isinstance(value, list | tuple):
            # With one path below, no two fields can be taken from different elements.
            told = node.count > 1
            todo = [(value, where)]
            while todo:
                array, where = todo.pop()
                number = self.arrays
                self.arrays += 1
                for index, item in enumerate(array):
                    place = (*where, (number, index)) if told else where
                    if type(item) is dict:
                        if node.fields:
                            self._object(node, item, place)
                    elif type(item) is list:
                        todo.append((item, place))
                    else:
                        self.read(node, item, place)
        elif isinstance(value, Mapping):
            self._object(node, value, where)
        elif node.slot >= 0:
            self._collect(node.slot, plain(value), where)

    def _collect(self, slot: int, value: Any, where: Membership) -> None:
        table = self.tables[slot]
        pair = table.memo.get(value) or table.entry(value), where
        pairs = self.found.get(slot)
        if pairs is None:
            self.found[slot] = [pair]
        else:
            pairs.append(pair)

    def _object(self, node: Node, document: Mapping[str, Any], where: Membership) -> None:
        get = document.get
        tables, found = self.tables, self.found
        for name, slot, child in node.fields if len(node.fields) <= 8 else fields_of(node, document):
            value = get(name, _MISSING)
            if type(value) is str:
                if slot >= 0:
                    table = tables[slot]
                    pair = table.memo.get(value) or table.entry(value), where
                    if slot in found:
                        found[slot].append(pair)
                    else:
                        found[slot] = [pair]
            elif value is not _MISSING:
                self.read(child, value, where)
        if node.dotted and not document.keys().isdisjoint(node.dotted):
            for name in sorted(document.keys() & node.dotted.keys()):
                self.read(node.dotted[name], document[name], where)

    def fill(self, cells: list[Any], blank: list[Entry]) -> int:
        """Put the values into the cells; how many there are in cells with several."""
        count = 0
        for slot, pairs in self.found.items():
            if cells[slot] is not blank[slot]:
                pairs.append((cells[slot], ()))
            # Values with places differ at least by these.
            unique = (*pairs,) if pairs[-1][1] else tuple(dict.fromkeys(pairs))
            if len(unique) == 1 and not unique[0][1]:
                cells[slot] = unique[0][0]
            else:
                cells[slot] = unique
                count += len(unique)
        return count
