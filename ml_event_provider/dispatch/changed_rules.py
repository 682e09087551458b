"""What becomes of the alerts that last when rules are changed, renamed, switched off or deleted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ml_event_provider.exceptions import NotFound
from ml_event_provider.rules.model import Rule
from ml_event_provider.store import cancelling, definitions, states

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from ml_event_provider.dispatch.rules import Compiled
    from ml_event_provider.rules.engine import Place

log = logging.getLogger(__name__)

#: What a rule is called and what is said of it: a rule that differs in nothing else is the same one.
_NAMES = frozenset({"name", "description", "tags"})


def follow_renamed(connection: Any, workspace: str, compiled: Compiled, now: datetime) -> dict[str, set[str]]:
    """What is remembered for a rule that is gone goes to one that differs from it in its name only, and is new.

    So does what it had still to send. Return the targets that are to be told anew that an alert lasts, by its id.
    """
    unheard: dict[str, set[str]] = {}
    known = states.rules(connection, workspace)
    new = {rule.name: rule for rule in compiled.rules.rules() if rule.name not in known}
    for name in sorted(known - compiled.enabled) if new else ():
        former = last(connection, workspace, name)
        same = next((one for one in new.values() if former is not None and _meaning(one) == _meaning(former)), None)
        if same is not None and not _stands(connection, workspace, name):
            log.info("Rule %s of workspace %s is called %s now: its alerts go on", name, workspace, same.name)
            states.rename_rule(connection, workspace, name, same.name)
            since = definitions.history(connection, name, workspace=workspace)[-1].changed_at
            unheard |= cancelling.follow_renamed(connection, workspace, name, same.name, since=since, now=now)
            del new[same.name]
    return unheard


def gone(connection: Any, workspace: str, enabled: Collection[str]) -> Iterable[tuple[Rule, list[Place], str]]:
    """The rules that are switched off or deleted while alerts of theirs last: as they were, those alerts, and why."""
    by_rule: dict[str, list[Place]] = {}
    for place in states.open_places(connection, workspace):
        if place.rule not in enabled:
            by_rule.setdefault(place.rule, []).append(place)
    for name, places in sorted(by_rule.items()):
        rule = last(connection, workspace, name)
        if rule is not None:
            stands = _stands(connection, workspace, name)
            yield rule, places, f"the rule was {'switched off' if stands else 'deleted'}"


def last(connection: Any, workspace: str, name: str) -> Rule | None:
    """A rule as it was stored last, if it can be read."""
    try:
        versions = definitions.history(connection, name, workspace=workspace)
    except NotFound:
        return None
    found = next((one.definition for one in reversed(versions) if one.definition is not None), None)
    try:
        return None if found is None else Rule.model_validate(found)
    except ValueError as error:
        log.error("Rule %s of workspace %s cannot be read as it was: %s", name, workspace, error)
        return None


def _stands(connection: Any, workspace: str, name: str) -> bool:
    try:
        definitions.get(connection, name, workspace=workspace)
    except NotFound:
        return False
    return True


def _meaning(rule: Rule) -> str:
    return rule.model_dump_json(exclude=set(_NAMES), by_alias=True)
