"""Reads from an event only the fields that rules look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.values import Plain, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Where a value stands: pairs (array, index of the element). Values that agree on all arrays they share combine.
Membership = tuple[tuple[int, int], ...]

_MISSING: Final = object()


class Node:
    """One field of the tree of paths. ``slot`` numbers the path that ends here, or is -1."""

    __slots__ = ("children", "count", "dotted", "fields", "slot")

    def __init__(self) -> None:
        self.slot = -1
        #: How many paths end here or below.
        self.count = 0
        self.children: dict[str, Node] = {}
        self.fields: tuple[tuple[str, int, Node], ...] = ()
        #: All fields two or more levels below, by their dotted name.
        self.dotted: dict[str, Node] = {}


def build(paths: Mapping[str, int]) -> Node:
    """The tree of paths with their slots. A dot in an event's field name is the same as a nested object."""
    root = Node()
    for path, slot in paths.items():
        node = root
        passed: list[tuple[Node, str]] = []
        for name in path.split("."):
            node.count += 1
            passed = [(above, f"{done}.{name}") for above, done in passed]
            child = node.children.setdefault(name, Node())
            for above, done in passed:
                above.dotted[done] = child
            passed.append((node, name))
            node = child
        node.slot = slot
        node.count += 1
    _finish(root)
    return root


def _finish(root: Node) -> None:
    todo = [root]
    while todo:
        node = todo.pop()
        node.fields = tuple((name, child.slot, child) for name, child in node.children.items())
        todo.extend(node.children.values())


def fields_of(node: Node, document: Mapping[str, Any]) -> Iterable[tuple[str, int, Node]]:
    """The fields of a node that are worth looking up in an object."""
    fields = node.fields
    if len(fields) <= 8 or len(fields) <= 2 * len(document):
        return fields
    children = node.children
    return [(name, children[name].slot, children[name]) for name in document if name in children]


class Reader:
    """Collects the values of one event that stand in arrays or under dotted names, with their memberships."""

    __slots__ = ("arrays", "emit")

    def __init__(self, emit: Callable[[int, Plain, Membership], None]) -> None:
        self.emit = emit
        self.arrays = 0

    def read(self, node: Node, value: Any, membership: Membership = ()) -> None:
        """Emit all values at and below a node, in an order that depends on the paths only."""
        if isinstance(value, list | tuple):
            self._array(node, value, membership)
        elif not isinstance(value, Mapping):
            if node.slot >= 0:
                self.emit(node.slot, plain(value), membership)
        elif node.children:
            for name, _, child in fields_of(node, value):
                below = value.get(name, _MISSING)
                if below is not _MISSING:
                    self.read(child, below, membership)
            if node.dotted and not value.keys().isdisjoint(node.dotted):
                for name in sorted(value.keys() & node.dotted.keys()):
                    self.read(node.dotted[name], value[name], membership)

    def _array(self, node: Node, array: Any, membership: Membership) -> None:
        # With one path below, no two fields can be taken from different elements.
        told = node.count > 1
        todo = [(array, membership)]
        while todo:
            array, membership = todo.pop()
            number, self.arrays = self.arrays, self.arrays + 1
            for index, item in enumerate(array):
                where = (*membership, (number, index)) if told else membership
                if isinstance(item, list | tuple):
                    todo.append((item, where))
                else:
                    self.read(node, item, where)
