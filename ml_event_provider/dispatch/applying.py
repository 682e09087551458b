"""Brings the store's rules, and what stands beside them, to what files say: as a plan first, field by field."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ml_event_provider import config
from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules import Rule, RuleSet
from ml_event_provider.rules.calendars import Calendar
from ml_event_provider.rules.files import KINDS, Definitions
from ml_event_provider.rules.linting import Surroundings
from ml_event_provider.rules.linting.quotas import check as over_quota
from ml_event_provider.rules.linting.reading import Reading
from ml_event_provider.rules.loops import find_loops
from ml_event_provider.rules.scope import ResourceGroup
from ml_event_provider.rules.silences import Silence
from ml_event_provider.store import airflow_tables, definitions
from ml_event_provider.store.definitions import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ml_event_provider.store.choice import Names
    from ml_event_provider.store.definitions import Stored


_SECTIONS: Final[dict[str, tuple[Kind, type[Any]]]] = {
    "resource_groups": (Kind.GROUP, ResourceGroup),
    "calendars": (Kind.CALENDAR, Calendar),
    "silences": (Kind.SILENCE, Silence),
    "rules": (Kind.RULE, Rule),
}
#: Nothing that is known.
NOTHING: Final = Definitions([], [], [], [])


class FieldChange(NamedTuple):
    """A field that becomes another; ``None`` is absent."""

    path: str
    before: Any
    after: Any


class Change(NamedTuple):
    """What becomes of one definition: created, changed, unchanged or deleted; ``note`` is what is worth knowing."""

    kind: str
    workspace: str
    name: str
    what: str
    fields: list[FieldChange]
    note: str = ""


def apply(connection: Any, wanted: Definitions, *, managed_by: str, author: str, prune: bool = False) -> list[Change]:
    """Create and change definitions, and delete those of ``managed_by`` that are not wanted any more.

    A rule that somebody switched off or on by hand stays so until its own ``enabled`` changes. Only workspaces that
    ``wanted`` names are pruned. What would not work is refused before anything is written: references to nothing,
    more than the quotas allow, rules whose actions cause their own events.

    :raises InvalidRule: listing what is wrong with them.
    """
    wanted = in_workspaces(wanted)
    definitions.lock_changes(connection)
    changes: list[Change] = []
    for section, (kind, _) in _SECTIONS.items():
        stored = {(one.workspace, one.name): one for one in definitions.find(connection, kind)}
        named = {(one.workspace, one.name): written(one) for one in getattr(wanted, section)}
        notes = [_switched_by_hand(connection, one, stored.get(place)) for place, one in named.items()]
        done = definitions.put_all(connection, [*named.values()], managed_by=managed_by, kind=kind, author=author)
        for (place, definition), note, what in zip(named.items(), notes, done, strict=True):
            before = stored[place].definition if place in stored else {}
            fields = list(differences(before, definition)) if what != "unchanged" else []
            changes.append(Change(KINDS[section], *place, what, fields, note))
        if prune:
            spaces = {one.workspace for name in Definitions._fields for one in getattr(wanted, name)}
            for place, known in sorted(stored.items()):
                if place not in named and known.managed_by == managed_by and known.workspace in spaces:
                    definitions.remove(connection, known.name, workspace=known.workspace, kind=kind, author=author)
                    changes.append(Change(KINDS[section], *place, "deleted", []))
    check(connection, {one.workspace for one in wanted.rules}, known=wanted)
    return changes


def _switched_by_hand(connection: Any, definition: dict[str, Any], known: Stored | None) -> str:
    """Let a rule be as somebody switched it since ``enabled`` was last applied; say so, or nothing."""
    if known is None or known.kind != Kind.RULE or known.enabled == definition.get("enabled", True):
        return ""
    versions = definitions.history(connection, known.name, workspace=known.workspace)
    applied = next((one for one in reversed(versions) if one.change not in ("enabled", "disabled")), None)
    if applied is None or applied.definition is None:
        return ""
    if applied.definition.get("enabled", True) != definition.get("enabled", True):
        return ""
    word, other = ("on", "disable") if known.enabled else ("off", "enable")
    definition.pop("enabled", None)
    if not known.enabled:
        definition["enabled"] = False
    return f"stays switched {word}, as by hand; `airflow ml-events rules {other} {known.name}` ends that"


def check(connection: Any, workspaces: Iterable[str], *, known: Definitions = NOTHING) -> None:
    """See whether what is stored now, in this transaction, can work together.

    :param known: as :func:`read` takes it.
    :raises InvalidRule: listing what cannot.
    """
    stored = read(connection, known=known)
    compiled = RuleSet(
        stored.rules, groups=stored.resource_groups, calendars=stored.calendars, silences=stored.silences
    )
    problems = [f"{name}: {problem}" for name, problem in compiled.broken.items()]
    around = Surroundings(quota=config.quota, connection_types=airflow_tables.connections(connection))
    consumers = airflow_tables.asset_consumers(connection)
    for workspace in sorted(set(workspaces)):
        rules = [one for one in stored.rules if one.workspace == workspace]
        readings = [Reading(rule, compiled.groups(workspace)) for rule in rules]
        problems += [f"{one.rule or workspace}: {one.field}: {one.text}" for one in over_quota(readings, around)]
        loops = find_loops(rules, groups=compiled.groups(workspace).values(), asset_consumers=consumers)
        problems += [one.text for one in loops]
    if problems:
        raise InvalidRule("\n".join(problems))


def read(
    connection: Any, *, workspace: Names = "", problems: list[str] | None = None, known: Definitions = NOTHING
) -> Definitions:
    """All that is stored and can be used.

    :param problems: gets what cannot be used, and why.
    :param known: definitions that were validated before: those that are stored as they are need not be again.
    """
    found = Definitions([], [], [], [])
    for section, (kind, model) in _SECTIONS.items():
        before = {(one.workspace, one.name): one for one in getattr(known, section)}
        for one in definitions.find(connection, kind, workspace=workspace):
            same = before.get((one.workspace, one.name))
            try:
                whole = same is not None and written(same) == one.definition
                getattr(found, section).append(same if whole else model.model_validate(one.definition))
            except ValueError as error:
                # The dispatcher says so too, each time it reads the definitions.
                if problems is not None:
                    problems.append(f"{one.name}: cannot be used: {error}")
    return found


def in_workspaces(found: Definitions) -> Definitions:
    """The definitions; what names no workspace belongs to ``[ml_events] workspace``.

    :raises InvalidRule: if two of one kind and workspace have one name then.
    """
    placed = Definitions(
        _in_workspace(found.rules),
        _in_workspace(found.resource_groups),
        _in_workspace(found.calendars),
        _in_workspace(found.silences),
    )
    for section in Definitions._fields:
        for (workspace, name), count in Counter((one.workspace, one.name) for one in getattr(placed, section)).items():
            if count > 1:
                raise InvalidRule(
                    f"{count} {KINDS[section]}s of workspace {workspace!r} are named {name!r}: rename all but one"
                )
    return placed


def _in_workspace(part: list[Any]) -> list[Any]:
    ours = {"workspace": config.workspace()}
    return [one if "workspace" in one.model_fields_set else one.model_copy(update=ours) for one in part]


def written(one: Any) -> dict[str, Any]:
    """What the store keeps of a definition: what was written, not what is the default anyway."""
    chosen = one.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    return {"name": one.name, "workspace": one.workspace, **chosen}


def differences(before: Any, after: Any, path: str = "") -> Iterator[FieldChange]:
    """The fields in which two definitions differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            yield from differences(before.get(name), after.get(name), f"{path}.{name}".lstrip("."))
    elif before != after:
        yield FieldChange(path, before, after)


def settings(found: Definitions) -> Mapping[str, Any]:
    """What a rule set needs beside rules."""
    return {"groups": found.resource_groups, "calendars": found.calendars, "silences": found.silences}
