"""Alternatives in smaller parts: fields that cannot stand in one array, and ``$or`` branches that are one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_event_provider.rules.analysis.demands import Demand
from ml_event_provider.rules.analysis.values import search

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ml_event_provider.rules.analysis.demands import Alternative, Group
    from ml_event_provider.rules.analysis.fields import Field, World


def split(alternative: Alternative, world: World) -> list[Group]:
    """The same demands in groups as small as can be.

    Fields that share no array may as well be asked about apart.
    """
    parts: list[Group] = []
    for group in alternative:
        found: list[tuple[frozenset[str], Group]] = []
        for path, demand in group.items():
            arrays = touched(path, demand, world)
            # A comparison keeps both fields together, whatever they share.
            arrays |= {path, *(other for _, other in demand.comparisons)}
            joined = {path: demand}
            apart = []
            for others, members in found:
                if arrays.isdisjoint(others):
                    apart.append((others, members))
                else:
                    arrays |= others
                    joined = {**members, **joined}
            found = [*apart, (arrays, joined)]
        parts += [members for _, members in found]
    return parts


def touched(path: str, demand: Demand, world: World) -> frozenset[str]:
    """The arrays of whose elements one is chosen for the demand."""
    return world.field(path).arrays.union(*(world.field(other).arrays for _, other in demand.comparisons))


def always_absent(path: str, group: Group, world: World) -> bool:
    """Whether a group asks that the field be missing everywhere, not just from an array's element."""
    arrays = world.field(path).arrays
    return group[path].only_absent and all(
        other == path or demand.only_absent or arrays.isdisjoint(touched(other, demand, world))
        for other, demand in group.items()
    )


def trivial(demand: Demand, field: Field) -> bool:
    """Whether whatever an event may have at the field fulfils the demand."""
    if field.absent and not demand.absent:
        return False
    found = search(field.bounds, [certain(demand)], field.kinds)
    return found.certain and not found.values


def certain(demand: Demand) -> Demand:
    """The demand without comparisons, which hold or not whatever the value is."""
    return Demand(demand.plain)


def merged(alternatives: Iterable[Sequence[Group]]) -> list[list[Group]]:
    """The same alternatives in fewer: two become one where only the demand on one field tells them apart."""
    found = [list(groups) for groups in alternatives]
    changed = len(found) > 1
    while changed:
        changed = False
        for number, one in enumerate(found):
            for other in found[number + 1 :]:
                joined = _joined(one, other)
                if joined is not None:
                    found[number] = one = joined
                    found.remove(other)
                    changed = True
    return found


def _joined(one: Sequence[Group], other: Sequence[Group]) -> list[Group] | None:
    left = [group for group in one if group not in other]
    right = [group for group in other if group not in one]
    if not left:
        return list(one)
    if not right:
        return list(other)
    if len(left) > 1 or len(right) > 1 or left[0].keys() != right[0].keys() or len(left[0]) > 1:
        return None
    ((path, demand),) = left[0].items()
    both = Demand([*demand.elements, *right[0][path].elements])
    return [{path: both} if group is left[0] else group for group in one]
