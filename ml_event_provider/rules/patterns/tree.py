"""The paths that rules look at, and their tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: A node with more children than this may have many more than an object has fields.
_WIDE: Final = 8


class Field:
    """One path, with its number. A dot in an event's field name is the same as a nested object."""

    __slots__ = ("name", "outer", "path", "slot", "steps")

    def __init__(self, path: str, slot: int) -> None:
        self.path = path
        self.slot = slot
        names = path.split(".")
        self.name = names[-1]
        #: Of a path of two names, the first.
        self.outer = names[0] if len(names) == 2 else None
        #: At each level: the name of the path there, the names with dots that are on it as well, and the path
        #: so far.
        self.steps = tuple(
            (
                name,
                tuple(".".join(names[at:end]) for end in range(at + 2, len(names) + 1)),
                ".".join(names[:at]),
            )
            for at, name in enumerate(names)
        )


class Node:
    """One field name of the tree of paths. ``slot`` is the number of the path that ends here, or -1."""

    __slots__ = ("children", "dotted", "fields", "slot", "wide")

    def __init__(self) -> None:
        self.slot = -1
        self.children: dict[str, Node] = {}
        #: Name, slot and node of each child; no node if nothing is below.
        self.fields: tuple[tuple[str, int, Node | None], ...] = ()
        self.wide = False
        #: All fields two or more levels below, by their dotted name.
        self.dotted: dict[str, Node] = {}


def build(paths: Mapping[str, int]) -> Node:
    """The tree of some paths with their slots."""
    root = Node()
    nodes = [root]
    for path, slot in paths.items():
        node = root
        passed: list[tuple[Node, str]] = []
        for name in path.split("."):
            passed = [(above, f"{done}.{name}") for above, done in passed]
            child = node.children.get(name)
            if child is None:
                child = node.children[name] = Node()
                nodes.append(child)
            for above, done in passed:
                above.dotted[done] = child
            passed.append((node, name))
            node = child
        node.slot = slot
    for node in nodes:
        node.fields = tuple([_field(name, child) for name, child in node.children.items()])
        node.wide = len(node.fields) > _WIDE
    return root


def _field(name: str, node: Node) -> tuple[str, int, Node | None]:
    return name, node.slot, node if node.children else None


def fields_of(node: Node, document: Mapping[str, Any]) -> Iterable[tuple[str, int, Node | None]]:
    """The fields of a wide node that are worth looking up in an object."""
    if len(node.fields) <= 2 * len(document):
        return node.fields
    children = node.children
    return [_field(name, children[name]) for name in document if name in children]
