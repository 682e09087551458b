"""The rules of each workspace as they stand in the store, compiled."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from ml_event_provider.rules import Rule, RuleSet
from ml_event_provider.rules.calendars import Calendar
from ml_event_provider.rules.scope import ResourceGroup
from ml_event_provider.rules.silences import Silence
from ml_event_provider.store import definitions, states
from ml_event_provider.store.definitions import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from ml_event_provider.events.model import Event

log = logging.getLogger(__name__)


class Compiled(NamedTuple):
    """All that was read of a workspace's rules at one moment. Never changed: a newer one takes its place."""

    #: The store's last change when it was read: of all, and of this workspace.
    fingerprint: str
    changes: str
    rules: RuleSet
    #: The versions under which the rules are stored, by name.
    versions: Mapping[str, int]
    #: All enabled rules, also those that cannot be used at present.
    enabled: frozenset[str]
    #: Why what cannot be used cannot, by its kind and name.
    unusable: Mapping[str, str]

    def match(self, event: Event) -> list[Rule]:
        """The rules whose own events include this one, by name."""
        return self.rules.match(event)

    def version(self, rule: Rule) -> int:
        """The version under which a rule is stored."""
        return self.versions.get(rule.name, 0)


class Rules:
    """The enabled rules with what stands beside them, by workspace; compiled again when the store's change.

    What is read takes the place of what was known when it is complete. Where anything fails, all stays as it was,
    and the next call tries again.
    """

    def __init__(self) -> None:
        self._known: dict[str, Compiled] = {}
        #: The workspaces whose changes are yet to be noted in what their rules remember; and the store's changes
        #: when that was asked last.
        self._to_note: set[str] = set()
        self._seen: str | None = None
        self._changes: dict[str, str] = {}

    def of(self, connection: Any, workspace: str) -> Compiled:
        """A workspace's rules as they are now. What cannot be used is logged and left out."""
        known = self._known.get(workspace)
        fingerprint = definitions.fingerprint(connection)
        while known is None or known.fingerprint != fingerprint:
            changes = definitions.changes(connection, workspace=workspace).get(workspace, "")
            if known is not None and known.changes == changes:
                known = known._replace(fingerprint=fingerprint)
            else:
                known = _compiled(connection, workspace, fingerprint, changes)
            # Between two statements others may commit: what was read is whole if nothing changed meanwhile.
            fingerprint = definitions.fingerprint(connection)
        before = self._known.get(workspace)
        if before is None or before.changes != known.changes:
            for name, problem in known.unusable.items():
                log.error("%s of workspace %s cannot be used: %s", name, workspace, problem)
        self._known[workspace] = known
        return known

    def to_note(self, connection: Any) -> set[str]:
        """The workspaces whose rules changed since :meth:`noted`; at first all of them.

        For these, what is remembered of rules that are gone is to be forgotten, and what is expected from the
        beginning to be awaited.
        """
        fingerprint = definitions.fingerprint(connection)
        if fingerprint != self._seen:
            changes = definitions.changes(connection)
            changed = {name for name, mark in changes.items() if self._changes.get(name) != mark}
            # Where the database is an older one that was restored.
            changed |= self._changes.keys() - changes.keys()
            if self._seen is None:
                changed |= states.workspaces(connection)
            self._to_note |= changed
            self._changes, self._seen = changes, fingerprint
        return set(self._to_note)

    def is_to_note(self, workspace: str) -> bool:
        """Whether a workspace's changes are yet to be noted."""
        return workspace in self._to_note

    def noted(self, workspace: str, compiled: Compiled) -> None:
        """What follows from a workspace's rules, as they were compiled, is noted in the store."""
        if self._changes.get(workspace, "") == compiled.changes:
            self._to_note.discard(workspace)

    @property
    def unusable(self) -> dict[str, dict[str, str]]:
        """Why rules, groups, calendars and silences cannot be used: by workspace, by kind and name."""
        return {name: dict(one.unusable) for name, one in list(self._known.items()) if one.unusable}


def _compiled(connection: Any, workspace: str, fingerprint: str, changes: str) -> Compiled:
    versions: dict[str, int] = {}
    unusable: dict[str, str] = {}

    def read(kind: Kind, model: type[BaseModel]) -> list[Any]:
        usable: list[Any] = []
        for stored in definitions.find(connection, kind, workspace=workspace):
            try:
                usable.append(model.model_validate(stored.definition))
            except ValueError as error:
                unusable[f"{kind} {stored.name}"] = str(error)
                continue
            if kind is Kind.RULE:
                versions[stored.name] = stored.version
        return usable

    enabled = definitions.enabled_rules(connection, workspace)
    rules = RuleSet(
        read(Kind.RULE, Rule),
        groups=read(Kind.GROUP, ResourceGroup),
        calendars=read(Kind.CALENDAR, Calendar),
        silences=read(Kind.SILENCE, Silence),
    )
    for name in enabled - set(versions):
        unusable.setdefault(f"{Kind.RULE} {name}", "its definition cannot be read; apply it again, or delete it")
    for name, problem in rules.broken.items():
        unusable[name if name.startswith("silence ") else f"{Kind.RULE} {name}"] = problem
    return Compiled(fingerprint, changes, rules, versions, enabled, unusable)
