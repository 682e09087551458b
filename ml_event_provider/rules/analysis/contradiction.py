"""Patterns that no event can match, and patterns that every event matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_event_provider.rules.analysis.demands import NUMBERS, Demand, alternatives
from ml_event_provider.rules.analysis.fields import Field, World, worlds
from ml_event_provider.rules.analysis.groups import always_absent, merged, split, trivial
from ml_event_provider.rules.analysis.values import search

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from ml_event_provider.rules.analysis.demands import Alternative, Group


def never_matches(pattern: Mapping[str, Any], *, schemas: bool = True) -> str | None:
    """Why no event can match the pattern, or ``None`` if one may.

    With ``schemas``, events are CloudEvents as ``Event`` makes them, with data as the catalogue says; types
    that begin with ``airflow.`` or ``ml.`` are the catalogue's, and no further field is a dotted spelling of
    one that the catalogue has. Else events are any JSON objects.

    :raises InvalidPattern: if the pattern is wrong.
    """
    return contradiction(alternatives(pattern), schemas=schemas)


def always_matches(
    pattern: Mapping[str, Any], ignoring: Collection[str] = ("workspace",), *, schemas: bool = True
) -> bool:
    """Whether every event matches the pattern, demands on the fields ``ignoring`` aside.

    It may be that every event matches and this is not found out; never the other way round.

    :raises InvalidPattern: if the pattern is wrong.
    """
    world = World(schemas)
    return any(
        all(
            path in ignoring or trivial(demand, world.field(path)) for group in groups for path, demand in group.items()
        )
        for groups in merged(split(each, world) for each in alternatives(pattern))
    )


def contradiction(found: Iterable[Alternative], *, schemas: bool) -> str | None:
    """Why none of the alternatives can be fulfilled, or ``None``."""
    reasons: dict[str, None] = {}
    for alternative in found:
        possible = worlds(alternative, schemas=schemas)
        if not possible:
            reasons[_no_type(alternative)] = None
        for world in possible:
            reason = conflict(alternative, world)
            if reason is None:
                return None
            reasons[reason] = None
    listed = [*reasons]
    if len(listed) == 1:
        return listed[0]
    return f"each way to match fails: {'; '.join(listed[:3])}{'; …' if len(listed) > 3 else ''}"


def _no_type(alternative: Alternative) -> str:
    demands = [group["type"] for group in alternative if "type" in group]
    reason = _field_conflict("type", demands, World(True).field("type"))
    return reason or f"type: the catalogue has no event type for {' and '.join(map(str, demands))}"


def conflict(alternative: Sequence[Group], world: World) -> str | None:
    """Why no event of the world fulfils all groups, or ``None``."""
    groups = split(tuple(alternative), world)
    demands: dict[str, list[Demand]] = {}
    for group in groups:
        for path, demand in group.items():
            demands.setdefault(path, []).append(demand)
            implied = _implied(demand)
            if implied is None:
                continue
            sign, other, asked = implied
            if other == path and sign not in ("=", "<=", ">="):
                return f"{path}: a value is compared with itself by {sign}"
            if other in group and group[other].only_absent:
                return f"{path}: is compared with {other}, which must be missing"
            demands.setdefault(other, []).append(asked)
    for path, asked_here in demands.items():
        reason = _field_conflict(path, asked_here, world.field(path))
        if reason is not None:
            return reason + (f" in {world.type}" if world.type and path.startswith("data.") else "")
    for group in groups:
        for path in group:
            if always_absent(path, group, world) and any(not demand.absent for demand in demands[path]):
                return f"{path}: must be there and be missing"
    return None


def _implied(demand: Demand) -> tuple[str, str, Demand] | None:
    """The sign and the other field of a demand that is but one comparison, and what it asks of the other."""
    if len(demand.elements) != 1 or not demand.comparisons:
        return None
    ((sign, other),) = demand.comparisons
    return sign, other, Demand([{"exists": True}] if sign in ("=", "!=") else NUMBERS)


def _field_conflict(path: str, demands: Sequence[Demand], field: Field) -> str | None:
    for demand in demands:
        if not _possible([demand], field):
            return _impossible(path, demand, field)
    if field.arrays or _possible(demands, field):
        return None
    for number, one in enumerate(demands):
        for other in demands[:number]:
            if not _possible([other, one], field):
                return _both(path, [other, one])
    return _both(path, demands)


def _possible(demands: Sequence[Demand], field: Field) -> bool:
    if field.absent and all(demand.absent for demand in demands):
        return True
    return search([demand.relaxed() for demand in [*demands, *field.bounds]], kinds=field.kinds).possible


def _impossible(path: str, demand: Demand, field: Field) -> str:
    if not search([demand.relaxed()]).possible and not demand.absent:
        return f"{path}: no value is {demand}"
    if demand.only_absent:
        return f"{path}: every event has it"
    if not field.kinds:
        return f"{path}: no event has a value there" + ("; it is an object" if path == "data" else "")
    return f"{path}: {demand} never matches; it is {field.words()}"


def _both(path: str, demands: Sequence[Demand]) -> str:
    listed = dict.fromkeys(f"[{demand}]" for demand in demands)
    return f"{path}: no value is of {' and of '.join(listed)}"
