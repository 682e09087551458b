"""Matches recorded events with the rules and creates their deliveries, in one transaction."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ml_event_provider.events.identity import change_id
from ml_event_provider.rules import Rule, RuleSet
from ml_event_provider.store import deliveries, events, rules
from ml_event_provider.store.deliveries import NewDelivery, NewNotification
from ml_event_provider.store.engine import transaction, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from ml_event_provider.events.model import Event

log = logging.getLogger(__name__)


class Rules:
    """The enabled rules of all workspaces, compiled; compiled again when the store's change."""

    def __init__(self) -> None:
        self._fingerprint: object = None
        self._compiled = RuleSet([])
        self._versions: dict[tuple[str, str], int] = {}

    def refresh(self, connection: Any) -> None:
        """Read the rules again if any changed. A rule that cannot be used is logged and left out."""
        fingerprint = rules.fingerprint(connection)
        if fingerprint == self._fingerprint:
            return
        usable: list[Rule] = []
        versions: dict[tuple[str, str], int] = {}
        for stored in rules.all_rules(connection):
            try:
                rule = Rule.model_validate(stored.definition)
            except ValueError as error:
                log.error("Rule %s of workspace %s cannot be used: %s", stored.name, stored.workspace, error)
                continue
            usable.append(rule)
            versions[stored.workspace, stored.name] = stored.version
        self._compiled = RuleSet(usable)
        for name, problem in self._compiled.broken.items():
            log.error("Rule %s cannot be used: %s", name, problem)
        self._versions = versions
        self._fingerprint = fingerprint

    def match(self, event: Event) -> list[Rule]:
        """The rules that match an event, by name."""
        return self._compiled.match(event)

    def version(self, rule: Rule) -> int:
        """The version under which a rule is stored."""
        return self._versions.get((rule.workspace, rule.name), 0)


def match_batch(compiled: Rules, *, limit: int, now: Callable[[], datetime] = utc_now) -> tuple[int, int]:
    """Match up to ``limit`` new events; return how many events there were and how many deliveries they gave.

    Taking the events, marking them matched and creating their deliveries is one transaction: whoever is killed in
    between has done nothing.
    """
    with transaction() as connection:
        compiled.refresh(connection)
        moment = now()
        taken = events.take_unmatched(connection, limit, now=moment)
        made = [
            notification_of(rule, compiled.version(rule), recorded.seq, recorded.event)
            for recorded in taken
            for rule in _matching(compiled, recorded.event)
        ]
        deliveries.create(connection, made, now=moment)
    return len(taken), sum(len(one.deliveries) for one in made)


def _matching(compiled: Rules, event: Event) -> list[Rule]:
    try:
        return compiled.match(event)
    except Exception:
        # An event that no rule can digest must not hold up the others; it stays recorded and can be replayed.
        log.exception("Event %s of type %s could not be matched", event.id, event.type)
        return []


def notification_of(rule: Rule, version: int, seq: int, event: Event) -> NewNotification:
    """What a rule says about an event. Its ids follow from rule and event: matching again changes nothing."""
    notification_id = change_id("notification", rule.workspace, rule.name, event.source, event.id)
    return NewNotification(
        id=notification_id,
        workspace=rule.workspace,
        rule=rule.name,
        rule_version=version,
        severity=str(rule.severity),
        event_seq=seq,
        deliveries=tuple(
            NewDelivery(
                id=change_id("delivery", notification_id, target.conn_id, position),
                conn_id=target.conn_id,
                template=target.template or rule.template,
                options=target.options,
            )
            for position, target in enumerate(rule.targets)
        ),
    )


def notify_directly(
    connection: Any,
    event: Event,
    targets: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    template: str | None,
    severity: str,
    name: str,
) -> tuple[bool, list[str]]:
    """Record an event and deliver it to given targets, without a rule; say whether it was new, and the deliveries' ids.

    The same event to the same targets under the same name is one notification, however often it is asked for.
    """
    notification_id = change_id("direct", event.workspace, name, event.source, event.id)
    new = events.record_one(connection, event)
    recorded = next(one for one in events.find(connection, event.id) if one.event.source == event.source)
    made = tuple(
        NewDelivery(
            id=change_id("delivery", notification_id, conn_id, position),
            conn_id=conn_id,
            template=template,
            options=options,
        )
        for position, (conn_id, options) in enumerate(targets)
    )
    notification = NewNotification(
        id=notification_id,
        workspace=event.workspace,
        rule=name,
        rule_version=0,
        severity=severity,
        event_seq=recorded.seq,
        deliveries=made,
    )
    deliveries.create(connection, [notification], now=utc_now())
    return new, [one.id for one in made]
