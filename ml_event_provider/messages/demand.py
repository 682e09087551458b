"""What a template has and asks for, told from its source, so that nothing is rendered that nobody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from jinja2 import meta, nodes

if TYPE_CHECKING:
    from jinja2 import Environment, Template

    from ml_event_provider.messages.lookup import Folders
    from ml_event_provider.messages.sandbox import Sandbox


class _Seen(NamedTuple):
    """The blocks of a file, and the files that it extends, includes or imports; None where that cannot be told."""

    blocks: frozenset[str]
    others: tuple[str | None, ...]


class Blocks:
    """Which blocks the templates of one sandbox have, with those that they extend."""

    def __init__(self, sandbox: Sandbox, folders: Folders) -> None:
        self._sandbox = sandbox
        self._folders = folders
        # A changed file is another template.
        self._seen: WeakKeyDictionary[Template, _Seen] = WeakKeyDictionary()

    def may_have(self, name: str, block: str) -> bool:
        """Whether a template may have a block.

        :raises TemplateProblem: and what else Jinja raises, if it cannot be used.
        """
        found = self._folders.recent().blocks
        if (name, block) not in found:
            found[name, block] = self._look_for(name, block)
        return found[name, block]

    def _look_for(self, name: str, block: str) -> bool:
        waiting, known = [name], set[str]()
        while waiting:
            name = waiting.pop()
            if name in known:
                continue
            known.add(name)
            template = self._sandbox.get_template(name)
            seen = self._seen.get(template)
            if seen is None:
                seen = self._seen[template] = self._look(name, template)
            if block in seen.blocks or None in seen.others:
                return True
            waiting += [other for other in seen.others if other is not None]
        return False

    def _look(self, name: str, template: Template) -> _Seen:
        source, *_ = self._folders.get_source(self._sandbox, name)
        tree = self._sandbox.parse(source, name)
        return _Seen(frozenset(template.blocks), tuple(meta.find_referenced_templates(tree)))


def variables(environment: Environment, source: str, wanted: frozenset[str]) -> frozenset[str]:
    """Which of the wanted variables a template uses; all of them where another template has a part in it.

    :raises TemplateSyntaxError: if it is no template.
    """
    tree = environment.parse(source)
    if any(True for _ in tree.find_all((nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport))):
        return wanted
    return wanted & frozenset(node.name for node in tree.find_all(nodes.Name))
