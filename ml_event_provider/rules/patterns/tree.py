"""The tree of the paths that rules look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


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
