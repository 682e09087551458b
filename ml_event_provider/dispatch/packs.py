"""Switches packs on and off: their rules, and a record of the parameters that were given.

The record is a definition of its own, with a history like a rule's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ml_event_provider.dispatch.applying import Change, apply
from ml_event_provider.exceptions import InvalidRule, NotFound
from ml_event_provider.rules.files import Definitions
from ml_event_provider.rules.packs import Pack, find_pack, packs
from ml_event_provider.store import definitions
from ml_event_provider.store.definitions import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.rules import Rule
    from ml_event_provider.store.choice import Names
    from ml_event_provider.store.definitions import Stored

#: Who manages a pack's rules, as the store calls it.
MANAGED_BY: Final = "pack"


class Enabled(NamedTuple):
    """A pack that is switched on, with the parameters that were given."""

    workspace: str
    name: str
    parameters: dict[str, Any]


def enabled(connection: Any, workspace: Names = "") -> list[Enabled]:
    """The packs that are switched on, by workspace and name."""
    return [
        Enabled(one.workspace, one.name, one.definition["parameters"])
        for one in definitions.find(connection, Kind.PACK, workspace=workspace)
    ]


def known(connection: Any, name: str, *, workspace: str) -> Pack:
    """The built-in pack of that name, or the pack from a file that is switched on under it.

    :raises NotFound: if there is neither.
    """
    stored = _record(connection, name, workspace)
    if stored is not None and stored.definition["pack"] is not None:
        return Pack.model_validate(stored.definition["pack"])
    return find_pack(name)


def enable(connection: Any, pack: Pack, given: Mapping[str, Any], *, workspace: str, author: str) -> list[Change]:
    """Make a pack's rules; say of each whether it was created, changed, unchanged or deleted.

    Parameters that were given before and are not given again stay as they were, and so does a rule of the pack that
    was switched off.

    :raises InvalidRule: if the parameters cannot be used, or a rule of one of the names is not of this pack.
    """
    own = pack.name not in packs()
    if not own and pack != find_pack(pack.name):
        raise InvalidRule(f"a built-in pack is named {pack.name!r}: give your pack another name")
    before = _record(connection, pack.name, workspace)
    # A later version of the pack may have lost some.
    remembered = {} if before is None else before.definition["parameters"]
    parameters = {**{name: one for name, one in remembered.items() if name in pack.parameters}, **given}
    rules = pack.expand(parameters, workspace=workspace)
    record = {
        "name": pack.name,
        "workspace": workspace,
        "pack": written(pack) if own else None,
        "parameters": parameters,
    }
    definitions.put(connection, record, managed_by=MANAGED_BY, kind=Kind.PACK, author=author)
    ours = {one.name: one for one in _rules_of(connection, pack.name, workspace)}
    gone = sorted(ours.keys() - {rule.name for rule in rules})
    for name in gone:
        definitions.remove(connection, name, workspace=workspace, author=author)
    off = {name for name, one in ours.items() if not one.enabled}
    kept = [rule.model_copy(update={"enabled": False}) if rule.name in off else rule for rule in rules]
    done = _apply(connection, kept, author=author)
    return [*done, *(Change("rule", workspace, name, "deleted", []) for name in gone)]


def disable(connection: Any, name: str, *, workspace: str, author: str) -> list[str]:
    """Delete a pack's rules and its record, not their history; say which rules they were.

    :raises NotFound: if it is not switched on.
    """
    if _record(connection, name, workspace) is None:
        on = ", ".join(one.name for one in enabled(connection, workspace)) or "none"
        raise NotFound(f"no pack {name!r} is switched on in workspace {workspace!r}; switched on: {on}")
    gone = [one.name for one in _rules_of(connection, name, workspace)]
    for rule in gone:
        definitions.remove(connection, rule, workspace=workspace, author=author)
    definitions.remove(connection, name, workspace=workspace, kind=Kind.PACK, author=author)
    return gone


def _record(connection: Any, name: str, workspace: str) -> Stored | None:
    found = definitions.find(connection, Kind.PACK, workspace=workspace)
    return next((one for one in found if one.name == name), None)


def _rules_of(connection: Any, name: str, workspace: str) -> list[Stored]:
    return [
        one
        for one in definitions.find(connection, workspace=workspace)
        if one.managed_by == MANAGED_BY and f"pack:{name}" in one.definition.get("tags", ())
    ]


def written(pack: Pack) -> dict[str, Any]:
    """A pack as it would stand in a file."""
    return {
        **pack.model_dump(mode="json", exclude_unset=True, exclude={"rules"}),
        "rules": [{**({"when": one.when} if one.when else {}), **one.rule} for one in pack.rules],
    }


def _apply(connection: Any, rules: list[Rule], *, author: str) -> list[Change]:
    """Keep the rules; one of another hand is not overwritten."""
    made = {(rule.workspace, rule.name) for rule in rules}
    for one in definitions.find(connection):
        if (one.workspace, one.name) in made and one.managed_by != MANAGED_BY:
            raise InvalidRule(
                f"workspace {one.workspace!r} has a rule {one.name!r} that is managed by {one.managed_by!r}: rename or"
                " delete it first"
            )
    return apply(connection, Definitions(rules, [], [], []), managed_by=MANAGED_BY, author=author)
