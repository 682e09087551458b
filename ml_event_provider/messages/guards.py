"""How templates are compiled, so that what they do is counted and goes through the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.visitor import NodeTransformer

if TYPE_CHECKING:
    from jinja2.compiler import Frame


class Guards(NodeTransformer):
    """Puts a filter around what loops iterate and around containers that a template writes down."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.iter = _filter(node.iter, "_steps")
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        # The list is weighed together with all that it holds.
        node.items = [
            item.node if isinstance(item, nodes.Filter) and item.name == "_checked" and item.node else item
            for item in node.items
        ]
        return _filter(node, "_checked")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, "_checked")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, "_checked") if node.ctx == "load" else node


def _filter(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(cast("nodes.Expr", node), name, [], [], None, None, lineno=node.lineno)


class Generator(CodeGenerator):
    """Jinja's compiler with ``~`` going through the environment, which limits sizes and knows the dialect."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


def code_in(source: str) -> int:
    """How many characters of a template stand in expressions and statements."""
    return sum(
        len(part) if (end := part.find(closing)) < 0 else end
        for opening, closing in (("{{", "}}"), ("{%", "%}"))
        for part in source.split(opening)[1:]
    )
