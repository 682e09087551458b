"""All checks of some rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_event_provider.rules.linting import (
    alerts,
    conditions,
    keys,
    likeness,
    matching,
    quotas,
    references,
    silencing,
)
from ml_event_provider.rules.linting.reading import Reading
from ml_event_provider.rules.linting.remarks import Surroundings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_event_provider.rules.linting.remarks import Remark
    from ml_event_provider.rules.model import Rule
    from ml_event_provider.rules.scope import ResourceGroup


def lint(rules: Sequence[Rule], around: Surroundings | None = None) -> list[Remark]:
    """What seems wrong with the rules: those about one rule first, in the order of the rules.

    Give all rules of a workspace at once: some checks look at all of them.
    """
    around = Surroundings() if around is None else around
    groups: dict[str, dict[str, ResourceGroup]] = {}
    for group in around.groups:
        groups.setdefault(group.workspace, {})[group.name] = group
    readings = [Reading(rule, groups.get(rule.workspace, {})) for rule in rules]
    found: list[Remark] = []
    for reading in readings:
        found += matching.check(reading)
        found += references.check(reading, around)
        found += keys.check(reading)
        found += conditions.check(reading)
        found += alerts.check(reading, around)
    found += quotas.check(readings, around)
    found += likeness.check(readings)
    found += references.unused(readings, around)
    found += silencing.check(readings, around)
    order = {(rule.workspace, rule.name): number for number, rule in reversed(list(enumerate(rules)))}
    return sorted(dict.fromkeys(found), key=lambda remark: order.get((remark.workspace, remark.rule), len(order)))
